"""The download of one track, once: by this process, or by another one that does it already."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from cachestore.download.outcome import BodyNeeded
from cachestore.download.transfer import Transfer
from cachestore.errors import TrackError
from cachestore.partials import DownloadLock, DownloadLocks, Remains, Unfinished, claim, newest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from cachestore.download.outcome import Body, NotModified, Room, Watch
    from cachestore.download.transfer import Renew
    from cachestore.partials import Partial
    from cachestore.track import Origin, Track
    from cachestore.version import Version
    from cachestore.web import Web

_SECONDS_BETWEEN_LOOKS = 0.25
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another process has just downloaded the track, or given it up: the store tells."""


class Downloader:
    """Downloads tracks into partials of `folder`, from several threads at once; `max_size` bounds a body in bytes."""

    def __init__(self, web: Web, folder: Path, *, max_size: int) -> None:
        self._web = web
        self._folder = folder
        self._remains = Remains(folder)
        self._max_size = max_size
        self._locks = DownloadLocks(folder)
        self._ours: WeakValueDictionary[str, DownloadLock] = WeakValueDictionary()

    def get(
        self,
        track: Track,
        origin: Origin,
        known: Mapping[Version, str],
        *,
        renew: Renew,
        watch: Watch,
        room: Room = lambda _whole, _size, _written: None,
        is_late: Callable[[], bool] = lambda: False,
    ) -> Body | NotModified | Elsewhere:
        """Return the bytes of a track, unless the server has one of the `known` versions where that is known from.

        `renew` gives another origin when one was refused, `watch` is told what happens, `room` lets a body grow. While
        another process downloads the track, wait until it is done and return `Elsewhere`: what it
        brought is in the store. `is_late` says, once nobody else downloads it, whether it is there already. Raise
        TrackError, NoSpace, Postponed, or Cancelled.
        """
        transfer = partial(
            Transfer,
            web=self._web,
            track=track,
            origin=origin,
            known=known,
            max_size=self._max_size,
            room=room,
            renew=renew,
            watch=watch,
        )
        with self._web.one_deadline():
            # Only a body needs the lock: what is known is asked about without, unless there is a rest to ask for.
            is_known = bool(known) and not self._remains.of(track.address)
            with ExitStack() as life:

                def claimed() -> Partial | None:
                    lock = self._lock(track, is_late)
                    return None if lock is None else life.enter_context(self._claimed(track, lock, room))

                mine = None if is_known else claimed()
                is_asked = mine is not None or known
                outcome = self._tried(transfer(partial=mine, claim=claimed)) if is_asked else BodyNeeded()
            if isinstance(outcome, BodyNeeded) and not self._waited_for_another(track, watch):
                with self._claimed(track, DownloadLock.without(self._folder), room) as mine:
                    outcome = self._tried(transfer(partial=mine, claim=lambda: None))
        return Elsewhere() if isinstance(outcome, BodyNeeded) else outcome

    def _lock(self, track: Track, is_late: Callable[[], bool]) -> DownloadLock | None:
        """Return the lock of a track, None while another process downloads it, or when one has just done so."""
        lock = self._acquired(track)
        if lock is not None and is_late():
            lock.release()
            return None
        return lock

    def _tried(self, transfer: Transfer) -> Body | NotModified | BodyNeeded:
        """Return what comes of a transfer with all its attempts."""
        try:
            return self._web.retried(transfer.origin.url, transfer.attempt, transfer.advanced)
        except TrackError as error:
            if not transfer.without_range(error):
                raise
        return self._web.retried(transfer.origin.url, transfer.attempt, transfer.advanced)

    @contextmanager
    def _claimed(self, track: Track, lock: DownloadLock, room: Room) -> Iterator[Partial]:
        address, cancel, remains = track.address, self._web.cancel, self._remains
        with claim(self._folder, address, lock, cancel, remains, take_room=lambda size: room(size, size, 0)) as mine:
            remains.expect(address)  # what this attempt leaves, another one may go on with
            yield mine

    def _waited_for_another(self, track: Track, watch: Watch) -> bool:
        """Wait while another process downloads `track`; return False when it stands still, so that we go alone."""
        clock = self._web.retries.clock
        self._remains.expect(track.address)
        before, since = None, clock()
        while (lock := self._acquired(track)) is None:
            theirs = newest(self._folder, track.address) or Unfinished(track.address, 0, None, 0.0)
            if theirs != before:
                before, since = theirs, clock()
                if not self._is_ours(track):
                    watch.elsewhere(theirs.received, theirs.total)
            if clock() - since > _PATIENCE:
                return False
            self._web.raise_if_late(track)
            self._web.pause(_SECONDS_BETWEEN_LOOKS)
        lock.release()
        return True

    def _acquired(self, track: Track) -> DownloadLock | None:
        lock = self._locks.acquire(track.address)
        if lock is not None:
            self._ours[track.address] = lock
        return lock

    def _is_ours(self, track: Track) -> bool:
        """Return whether another thread downloads the track, for a row that pins a version or for one that does not."""
        lock = self._ours.get(track.address)
        return lock is not None and lock.is_real
