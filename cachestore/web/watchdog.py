"""Ending responses that take too long or bring nothing, whatever a server drips to keep a read from timing out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

_TICK = 0.5


@dataclass(slots=True)
class _Watched:
    """What has a deadline, and when it last brought something, or need have, both on the monotonic clock."""

    deadline: float
    moved: float


class Watchdog:
    """Calls `end` for what is past its deadline, and for responses that brought nothing for `longest_silence` seconds.

    Its thread runs while there is anything to watch, and ends at `stop` at the latest.
    """

    def __init__(self, longest_silence: float, end: Callable[[httpx.Request | httpx.Response], None]) -> None:
        self._longest_silence = longest_silence
        self._end = end
        self._watched: dict[httpx.Request | httpx.Response, _Watched] = {}
        self._lock = Lock()
        self._stopped = Event()
        self._thread: Thread | None = None

    def expect(self, request: httpx.Request, seconds: float) -> None:
        """Watch a request that waits for its answer, and end it after so many `seconds`."""
        until = time.monotonic() + seconds
        self._watch(request, _Watched(until, until))

    def until(self, response: httpx.Response, seconds: float) -> None:
        """Watch `response`, and end it after so many `seconds`."""
        now = time.monotonic()
        self._watch(response, _Watched(now + seconds, now))

    def _watch(self, flight: httpx.Request | httpx.Response, watched: _Watched) -> None:
        with self._lock:
            self._watched[flight] = watched
            if self._thread is None:
                self._thread = Thread(target=self._patrol, name="watchdog", daemon=True)
                self._thread.start()

    def progress(self, response: httpx.Response) -> None:
        """Take that `response` brought something."""
        with self._lock:
            if response in self._watched:
                self._watched[response].moved = time.monotonic()

    def forget(self, flight: httpx.Request | httpx.Response) -> None:
        """Watch it no more."""
        with self._lock:
            self._watched.pop(flight, None)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _patrol(self) -> None:
        while not self._stopped.wait(_TICK):
            now = time.monotonic()
            with self._lock:
                if not self._watched:
                    self._thread = None
                    return
                late = [flight for flight, watched in self._watched.items() if self._is_late(watched, now)]
            for flight in late:
                self._end(flight)

    def _is_late(self, watched: _Watched, now: float) -> bool:
        return now > watched.deadline or now - watched.moved > self._longest_silence
