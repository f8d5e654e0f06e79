"""The download of one track, once: by this process, or by another one that does it already."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from cachestore.download.transfer import Elsewhere, Transfer
from cachestore.partials import DownloadLock, Unfinished, claim, newest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cachestore.download.transfer import Body, NotModified, Renew, Watch
    from cachestore.partials import Partial
    from cachestore.track import Origin, Track
    from cachestore.version import Version
    from cachestore.web import Web

_SECONDS_BETWEEN_LOOKS = 0.25
_PATIENCE = 120.0


class Downloader:
    """Downloads tracks into partials of `folder`, from several threads at once; `max_size` bounds a body in bytes."""

    def __init__(self, web: Web, folder: Path, *, max_size: int) -> None:
        self._web = web
        self._folder = folder
        self._max_size = max_size

    def get(
        self,
        track: Track,
        origin: Origin,
        known: Sequence[Version],
        *,
        renew: Renew,
        watch: Watch,
        is_late: Callable[[], bool] = lambda: False,
    ) -> Body | NotModified | Elsewhere:
        """Return the bytes of a track, unless the server has one of the `known` versions.

        `renew` gives another origin when one was refused, `watch` is told what happens. While another process downloads
        the track, wait until it is done and return `Elsewhere`: what it brought is in the store. `is_late` says, once
        nobody else downloads it, whether it is there already. Raise TrackError, NoSpace, or Cancelled.
        """
        lock = DownloadLock.acquire(self._folder, track.address)
        if lock is not None and is_late():
            lock.release()
            return Elsewhere()
        if lock is None and not known:
            if self._waited_for_another(track, watch):
                return Elsewhere()
            lock = DownloadLock.without(self._folder)
        outcome = self._transfer(track, origin, known, lock, renew, watch)
        if isinstance(outcome, Elsewhere) and not self._waited_for_another(track, watch):
            outcome = self._transfer(track, origin, known, DownloadLock.without(self._folder), renew, watch)
        return outcome

    def _transfer(
        self,
        track: Track,
        origin: Origin,
        known: Sequence[Version],
        lock: DownloadLock | None,
        renew: Renew,
        watch: Watch,
    ) -> Body | NotModified | Elsewhere:
        """Transfer the body under `lock`, which goes to the `Body`; without one, only find out whether it is needed."""
        with self._claimed(track, lock) as partial:
            transfer = Transfer(
                web=self._web,
                track=track,
                origin=origin,
                known=known,
                partial=partial,
                max_size=self._max_size,
                renew=renew,
                watch=watch,
            )
            return self._web.retries.run(
                transfer.attempt, deadline=transfer.deadline, cancel=self._web.cancel, advanced=transfer.advanced
            )

    def _claimed(self, track: Track, lock: DownloadLock | None) -> AbstractContextManager[Partial | None]:
        return nullcontext() if lock is None else claim(self._folder, track.address, lock, self._web.cancel)

    def _waited_for_another(self, track: Track, watch: Watch) -> bool:
        """Wait while another process downloads `track`; return False when it stands still, so that we go alone."""
        clock = self._web.retries.clock
        before, since = None, clock()
        while (lock := DownloadLock.acquire(self._folder, track.address)) is None:
            theirs = newest(self._folder, track.address) or Unfinished(track.address, 0, None, 0.0)
            if theirs != before:
                before, since = theirs, clock()
                watch.elsewhere(theirs.received, theirs.total)
            if clock() - since > _PATIENCE:
                return False
            self._web.pause(_SECONDS_BETWEEN_LOOKS)
        lock.release()
        return True
