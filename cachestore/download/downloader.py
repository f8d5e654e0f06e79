"""The retries of a download, over all that can be retried: connecting, headers, and the middle of a body."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from tenacity import Retrying, stop_after_attempt
from tenacity.wait import wait_random_exponential

from cachestore.download.flights import Flights
from cachestore.download.transfer import Transfer
from cachestore.errors import Cancelled, TrackError
from cachestore.partials import claim

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import httpx
    from tenacity import RetryCallState

    from cachestore.download.transfer import Body, NotModified
    from cachestore.track import Origin, Track
    from cachestore.version import Version

_BACKOFF = wait_random_exponential(multiplier=0.5, max=30)  # seconds, full jitter
_LONGEST_RETRY_AFTER = 60.0


class Downloader:
    """Downloads tracks into partials of `folder`, from several threads at once.

    `max_size` bounds a body in bytes; `retries` is how often a track is tried again, counted anew whenever new bytes
    arrive. `now` (Unix time) and `wait` (on an event, so many seconds; whether it was set) are there for tests.
    """

    def __init__(
        self,
        client: httpx.Client,
        folder: Path,
        *,
        max_size: int,
        retries: int,
        now: Callable[[], float] = time.time,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._flights = Flights(client)
        self._folder = folder
        self._max_size = max_size
        self._retries = retries
        self._now = now
        self._wait = wait

    def get(
        self,
        track: Track,
        origin: Origin,
        known: Sequence[Version],
        *,
        on_progress: Callable[[int, int | None], None],
        cancel: threading.Event,
    ) -> Body | NotModified:
        """Return the bytes of a track, unless the server has one of the `known` versions.

        `on_progress` is told the bytes received and the total, None if unknown: at the start of a body, then for every
        chunk. Raise TrackError, NoSpace, and Cancelled once `cancel` is set or `abort` was called.
        """
        with claim(self._folder, track.address) as partial:
            partial.adopt(cancel)
            transfer = Transfer(
                flights=self._flights,
                track=track,
                origin=origin,
                known=known,
                partial=partial,
                max_size=self._max_size,
                on_progress=on_progress,
                cancel=cancel,
                now=self._now,
            )
            return self._retrying(transfer)(transfer.attempt)

    def abort(self) -> None:
        """End everything that waits for the network, for good; set the cancel event first, which ends other waits."""
        self._flights.abort()

    def _retrying(self, transfer: Transfer) -> Retrying:
        def worth_it(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            if transfer.advanced():
                state.attempt_number = 1
            return isinstance(error, TrackError) and error.retryable and transfer.retry_after <= _LONGEST_RETRY_AFTER

        def pause(seconds: float) -> None:
            if self._wait(transfer.cancel, seconds):
                raise Cancelled

        return Retrying(
            retry=worth_it,
            stop=stop_after_attempt(self._retries + 1),
            wait=lambda state: transfer.retry_after + _BACKOFF(state),
            sleep=pause,
            reraise=True,
        )
