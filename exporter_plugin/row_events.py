"""The events of an export: rows of the mix, each with exactly one terminal state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.events import State, TrackEvent
from exporter_plugin.outcome import Hole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.events import Event, OnEvent, Provenance, WarningEvent
    from exporter_plugin.outcome import Outcome
    from exporter_plugin.row import Row


class RowEvents:
    """Tell `on_event` what becomes of `rows`; one that fails has the state `on_failure`."""

    def __init__(self, rows: Sequence[Row], on_failure: State, on_event: OnEvent) -> None:
        self._rows = rows
        self._open = set(range(len(rows)))
        self._on_failure = on_failure
        self._on_event = on_event

    def of_fetch(self, indexes: Sequence[int]) -> OnEvent:
        """Return who hears the events of a fetch of the rows `indexes`: what is done there is to be linked here."""
        states = {State.DONE: State.LINKING, State.FAILED: self._on_failure}

        def tell(event: Event) -> None:
            if isinstance(event, TrackEvent):
                index, state = indexes[event.index], states.get(event.state, event.state)
                is_same = index == event.index and state is event.state
                self._tell(event if is_same else replace(event, index=index, state=state))
            else:
                self._on_event(event)

        return tell

    def state(self, index: int, state: State, origin: Provenance | None = None) -> None:
        """Tell that a row has reached a state that has no more to it."""
        row = self._rows[index]
        self._tell(TrackEvent(index, row.address, row.label, state, origin))

    def settled(self, index: int, outcome: Outcome) -> None:
        """Tell how a row ended, unless its fetch did."""
        address, label = outcome.row.address, outcome.row.label
        if isinstance(outcome, Hole):
            self._tell(TrackEvent(index, address, label, self._on_failure, error=outcome.error))
        else:
            origin, size = outcome.origin, outcome.owned.size
            self._tell(TrackEvent(index, address, label, State.DONE, origin, size, size, stale=outcome.stale))

    def warn(self, warning: WarningEvent) -> None:
        """Tell a warning."""
        self._on_event(warning)

    def close(self) -> None:
        """Tell that all rows which are still open were cancelled."""
        for index in sorted(self._open):
            self.state(index, State.CANCELLED)

    def _tell(self, event: TrackEvent) -> None:
        if event.index in self._open:
            if event.state.terminal:
                self._open.remove(event.index)
            self._on_event(event)
