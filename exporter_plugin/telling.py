"""The events of an export: rows of the mix, each with exactly one terminal state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.events import Provenance, State, TrackEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.errors import TrackError
    from cachestore.events import Event, OnEvent
    from exporter_plugin.row import Row


class Teller:
    """Turn what happens to rows into events for `on_event`; a row that failed has the state `on_failure`."""

    def __init__(self, rows: Sequence[Row], on_failure: State, on_event: OnEvent) -> None:
        self._rows = rows
        self._on_failure = on_failure
        self._on_event = on_event
        self._open = set(range(len(rows)))

    def state(self, index: int, state: State, origin: Provenance | None = None) -> None:
        """Tell that a row has reached a state on its way."""
        self._tell(TrackEvent(index, self._rows[index].address, self._rows[index].label, state, origin))

    def done(self, index: int, origin: Provenance | None, size: int) -> None:
        """Tell that the file of a row, of `size` bytes, is in its place."""
        row = self._rows[index]
        self._tell(TrackEvent(index, row.address, row.label, State.DONE, origin, size, size))

    def failed(self, index: int, error: TrackError) -> None:
        """Tell that a row has no file."""
        row = self._rows[index]
        self._tell(TrackEvent(index, row.address, row.label, self._on_failure, error=error))

    def close(self) -> None:
        """Tell that all rows which are still open were cancelled."""
        for index in sorted(self._open):
            self.state(index, State.CANCELLED)

    def of_fetch(self, indexes: Sequence[int]) -> OnEvent:
        """Return who hears the events of a fetch of the rows `indexes`: what is done there is to be linked here."""

        def tell(event: Event) -> None:
            if not isinstance(event, TrackEvent):
                self._on_event(event)
                return
            index = indexes[event.index]
            if event.error is not None:
                self.failed(index, event.error)
                return
            state = State.LINKING if event.state is State.DONE else event.state
            row = self._rows[index]
            self._tell(replace(event, index=index, track=row.address, label=row.label, state=state))

        return tell

    def _tell(self, event: TrackEvent) -> None:
        if event.index in self._open:
            if event.state.terminal:
                self._open.remove(event.index)
            self._on_event(event)
