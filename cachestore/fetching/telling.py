"""The events of a fetch: every row of a track hears the same, and exactly one terminal state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.errors import TrackError
from cachestore.events import Provenance, State, TrackEvent, WarningEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cachestore.entry import Entry
    from cachestore.events import Event
    from cachestore.fetching.decide import Hit
    from cachestore.fetching.wanted import Wanted
    from cachestore.store.evict import Retired
    from cachestore.track import Track


class Teller:
    """Turn what happens to a track into events of its rows; when its end was told, there are no more of them."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event

    def state(self, wanted: Wanted, state: State) -> None:
        """Tell that a track has reached a state that has no more to it."""
        for row in self._rows(wanted):
            self._on_event(TrackEvent(row, wanted.track.address, wanted.track.label, state))

    def progress(self, wanted: Wanted, state: State, received: int, total: int | None) -> None:
        """Tell how many bytes of a track have arrived."""
        for row in self._rows(wanted):
            track = wanted.track
            event = TrackEvent(row, track.address, track.label, state, Provenance.NETWORK, received, total)
            self._on_event(event)

    def elsewhere(self, wanted: Wanted, received: int, total: int | None) -> None:
        """Tell how far another process is that downloads the track."""
        for row in self._rows(wanted):
            track = wanted.track
            event = TrackEvent(
                row, track.address, track.label, State.DOWNLOADING, None, received, total, elsewhere=True
            )
            self._on_event(event)

    def outcome(self, wanted: Wanted, outcome: Hit | TrackError) -> None:
        """Tell how a track ended."""
        for row in self._rows(wanted):
            track = wanted.track
            if isinstance(outcome, TrackError):
                event = TrackEvent(row, track.address, track.label, State.FAILED, error=outcome)
            else:
                size, origin = outcome.entry.size, wanted.origin(row)
                event = TrackEvent(row, track.address, track.label, State.DONE, origin, size, size, stale=outcome.stale)
            self._on_event(event)
        if wanted.told and isinstance(outcome, TrackError):
            message = (
                f"{wanted.track.label} gave way to another track, and could not be brought again: {outcome.reason}"
            )
            self._on_event(WarningEvent("not_kept", message))
        wanted.told = True

    @staticmethod
    def _rows(wanted: Wanted) -> list[int]:
        return [] if wanted.told else wanted.rows

    def cancelled(self, all_wanted: Iterable[Wanted]) -> None:
        """Tell that every track without an outcome was cancelled."""
        for wanted in all_wanted:
            if wanted.outcome is None:
                self.state(wanted, State.CANCELLED)

    def damaged(self, entry: Entry, retired: Retired) -> None:
        """Warn that a cached file is gone or was changed, and name the bundles that share it, or where it is now."""
        shared = ", ".join(retired.bundles)
        where = f"; it may have been changed through a bundle that shares the file: {shared}" if shared else ""
        where += f"; it is kept at {retired.quarantined}" if retired.quarantined else ""
        message = f"the cached file of {entry.label} is missing or was changed and is not used{where}"
        self._on_event(WarningEvent("damaged", message))

    def stale(self, wanted: Wanted, error: TrackError) -> None:
        """Warn that a kept version is used though no server confirmed it."""
        message = f"{wanted.track.label}: the cached version is used, it could not be confirmed: {error.reason}"
        self._on_event(WarningEvent("stale", message))

    def waiting_for_room(self, track: Track) -> None:
        """Warn that a track waits until other runs need less of the store."""
        message = f"{track.label} waits for room in the store, which other exports need now"
        self._on_event(WarningEvent("waiting_for_room", message))

    def version_reused(self, entry: Entry) -> None:
        """Warn that a server sent other bytes under a version that it had used before."""
        message = f"{entry.label}: the server changed the bytes without changing their version {entry.version.value}"
        self._on_event(WarningEvent("version_reused", message))
