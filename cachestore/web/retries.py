"""When a failure is worth another attempt: temporary ones, a few times, within a deadline, and never unasked."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from cachestore.errors import Cancelled, TrackError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

_T = TypeVar("_T")
LONGEST_RETRY_AFTER = 60.0


class Retries:
    """Tries again up to `times` after a temporary failure, and not beyond `total_timeout` seconds.

    `clock` (seconds) and `wait` (on an event, so many seconds; whether it was set) are there for tests.
    """

    def __init__(
        self,
        times: int,
        total_timeout: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._times = times
        self._total_timeout = total_timeout
        self._wait = wait
        self.clock = clock

    def deadline(self) -> float:
        """Return when something that begins now has to be done, by the clock."""
        return self.clock() + self._total_timeout

    def run(
        self,
        attempt: Callable[[], _T],
        *,
        deadline: float,
        cancel: threading.Event,
        advanced: Callable[[], bool] = lambda: False,
        hopeless: Callable[[TrackError], bool] = lambda _: False,
    ) -> _T:
        """Return what `attempt` returns in the end, or raise its last error, or Cancelled.

        Attempts are counted anew whenever `advanced` returns True. A Retry-After (RFC 9110 §10.2.3) is obeyed; when it
        is longer than a minute, or than the time left, or `hopeless` says so, the failure stands.
        """
        try:
            return attempt()  # most need nothing of what follows
        except TrackError as error:
            failed = [error]
        from tenacity import Retrying, stop_after_attempt  # slow to import, and most runs never need it

        def again() -> _T:
            if failed:
                raise failed.pop()
            return attempt()

        def worth_it(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            if advanced():
                state.attempt_number = 1
            if not isinstance(error, TrackError) or not error.retryable or hopeless(error):
                return False
            return error.retry_after <= LONGEST_RETRY_AFTER

        return Retrying(
            retry=worth_it,
            stop=lambda state: (
                stop_after_attempt(self._times + 1)(state) or self.clock() + state.upcoming_sleep >= deadline
            ),
            wait=lambda state: _asked_to_wait(state) + _backoff(state),
            sleep=lambda seconds: self.pause(seconds, cancel),
            reraise=True,
        )(again)

    def pause(self, seconds: float, cancel: threading.Event) -> None:
        """Wait. Raise Cancelled as soon as `cancel` is set."""
        if self._wait(cancel, seconds):
            raise Cancelled


def _backoff(state: RetryCallState) -> float:
    """Return some seconds, more each time, with full jitter."""
    from tenacity import wait_random_exponential

    return wait_random_exponential(multiplier=0.5, max=30)(state)


def _asked_to_wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after if isinstance(error, TrackError) else 0.0
