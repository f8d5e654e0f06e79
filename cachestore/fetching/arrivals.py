"""Bodies that have arrived, published in groups: a transaction costs more than what each of them adds to it."""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from cachestore.blobs import checked
from cachestore.errors import CacheStoreError, Cancelled, DigestCollision, TrackError
from cachestore.fetching.mishaps import is_of_blob, removed, unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cachestore.entry import Entry
    from cachestore.fetching.reports import Arrived
    from cachestore.store.publish import Incoming
    from cachestore.store.writer import Store

_MOST = 24  # about ten milliseconds under the lock of the index
_PATIENCE = 0.05  # seconds that a body waits for others
_SYNC = 0.5  # seconds to give back what was not published


class Arrivals:
    """The bodies of the run `run_id` that are not published yet.

    `settle` hears what becomes of each, by its number.
    """

    def __init__(self, store: Store, settle: Callable[[int, Entry | TrackError], None]) -> None:
        self._store = store
        self.run_id = ""
        self._settle = settle
        self._waiting: list[Arrived] = []
        self._since = 0.0

    def add(self, report: Arrived) -> None:
        """Take a body in."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(report)

    @property
    def patience(self) -> float | None:
        """Return in how many seconds what is here is to be published though more may come, None if nothing is."""
        if not self._waiting:
            return None
        return 0.0 if len(self._waiting) >= _MOST else max(0.0, self._since + _PATIENCE - time.monotonic())

    def publish(self) -> None:
        """Publish one group together, or each by itself where that fails for one of them: then only that one does.

        One collides with another, is gone, or has the bytes of a blob that cannot be read. Raise NoSpace, Busy,
        Cancelled, or OSError.
        """
        group = self._waiting[:_MOST]
        if not group:
            return
        try:
            self._put(group)
        except (DigestCollision, OSError):
            for report in group:
                self._put_alone(report)

    def publish_soon(self, deadline: float) -> None:
        """Publish what is done by `deadline` on the monotonic clock, and give the rest back."""

        def raise_if_late() -> None:
            if time.monotonic() > deadline:
                raise Cancelled

        with suppress(CacheStoreError), checked(raise_if_late):
            for report in [*self._waiting]:
                with suppress(Cancelled, OSError):
                    self._put_alone(report)
        self._leave(time.monotonic() + _SYNC)

    def _put(self, arrived: Sequence[Arrived]) -> None:
        """Publish together, or nothing. Raise DigestCollision, FileNotFoundError, NoSpace, Busy or Cancelled."""
        entries = self._store.put([report.incoming for report in arrived], self.run_id)
        self._release(arrived)
        for report, entry in zip(arrived, entries, strict=True):
            self._settle(report.number, entry)

    def _put_alone(self, report: Arrived) -> None:
        try:
            self._put([report])
        except DigestCollision as error:
            self._drop(report, TrackError(report.incoming.track.address, report.incoming.track.label, str(error)))
        except OSError as error:
            self._drop(report, self._failure_of(report.incoming, error))

    def _failure_of(self, item: Incoming, error: OSError) -> TrackError:
        """Return the failure of the track of a body that cannot be published. Raise what is not of its file alone."""
        if is_of_blob(error, self._store.blobs.path(item.digest)):
            problem = "its bytes are in the cache already, and that file cannot be read or put away"
            return unusable(item.track, error, problem, "mend that, or move the file away")
        if isinstance(error, FileNotFoundError) and not item.path.exists():
            return removed(item.track, item.path.parent)
        raise error

    def _drop(self, report: Arrived, error: TrackError) -> None:
        report.incoming.path.unlink(missing_ok=True)
        self._release([report])
        self._settle(report.number, error)

    def _release(self, arrived: Sequence[Arrived]) -> None:
        for report in arrived:
            report.partial.release()
            self._waiting.remove(report)

    def _leave(self, deadline: float) -> None:
        """Give back what was not published. A disk that is too slow for that leaves it as a crash would."""
        for report in self._waiting:
            leaving = Thread(target=report.partial.leave, daemon=True)
            leaving.start()
            leaving.join(max(0.0, deadline - time.monotonic()))
