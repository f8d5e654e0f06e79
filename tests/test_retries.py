"""Retries and pace: when another attempt is worth it, and when a body comes too slowly."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachestore.errors import (
    BadStatus,
    CacheStoreError,
    Cancelled,
    Corrupt,
    NoSpace,
    NotAudio,
    NotFound,
    TimedOut,
    TrackError,
    Truncated,
    Unauthorized,
    Unreachable,
)
from cachestore.web.pace import SLOWEST, Pace
from cachestore.web.retries import Retries

PLACE = ("studio:t42", "Opus")


@dataclass
class Trial:
    """Attempts that fail, and what is done about it; only waits let time pass, and `each_attempt` seconds."""

    failures: list[Exception]
    each_attempt: float = 0.0
    seconds: float = 1000.0
    tried: int = 0
    waits: list[float] = field(default_factory=list)
    cancel: threading.Event = field(default_factory=threading.Event)
    advances: list[bool] = field(default_factory=list)

    def run(self, times: int = 5, total_timeout: float = 10_000.0) -> str:
        retries = Retries(times, total_timeout, clock=lambda: self.seconds, wait=self._wait)
        return retries.run(
            self._attempt, deadline=retries.deadline(), cancel=self.cancel, advanced=lambda: self._next(self.advances)
        )

    def _attempt(self) -> str:
        self.tried += 1
        self.seconds += self.each_attempt
        if self.tried <= len(self.failures):
            raise self.failures[self.tried - 1]
        return "done"

    def _next(self, values: list[bool]) -> bool:
        return values.pop(0) if values else False

    def _wait(self, cancel: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.seconds += seconds
        return cancel.is_set()


def status(number: int, retry_after: float = 0.0) -> BadStatus:
    return BadStatus(*PLACE, "busy", status=number, retry_after=retry_after)


@pytest.mark.parametrize(
    "failure",
    [
        *(status(number) for number in (408, 425, 429, 500, 502, 503, 504)),
        Unreachable(*PLACE, "no"),
        TimedOut(*PLACE, "no"),
        Truncated(*PLACE, "no"),
        Corrupt(*PLACE, "no"),
    ],
)
def test_what_may_pass_is_tried_again(failure: TrackError) -> None:
    trial = Trial([failure])
    assert trial.run() == "done"
    assert trial.tried == 2


@pytest.mark.parametrize(
    "failure",
    [
        *(status(number) for number in (204, 302, 400, 402, 405, 416, 501, 505, 507, 599)),
        Unauthorized(*PLACE, "no"),
        NotFound(*PLACE, "no"),
        NotAudio(*PLACE, "no"),
        Cancelled(),
        NoSpace(Path()),
        CacheStoreError("no"),
        ValueError("no"),
    ],
)
def test_what_cannot_pass_is_not_tried_again(failure: Exception) -> None:
    trial = Trial([failure])
    with pytest.raises(type(failure)) as caught:
        trial.run()
    assert caught.value is failure
    assert (trial.tried, trial.waits) == (1, [])


def test_a_failure_may_say_of_itself_that_it_cannot_pass() -> None:
    failure = Truncated(*PLACE, "no")
    failure.retryable = False
    with pytest.raises(Truncated):
        Trial([failure]).run()


def test_the_last_failure_is_raised_when_the_attempts_are_used_up() -> None:
    trial = Trial([status(503), status(502), status(500)])
    with pytest.raises(BadStatus) as caught:
        trial.run(times=2)
    assert caught.value.status == 500
    assert trial.tried == 3


def test_no_retries_are_one_attempt() -> None:
    trial = Trial([status(503)])
    with pytest.raises(BadStatus):
        trial.run(times=0)
    assert (trial.tried, trial.waits) == (1, [])


def test_waits_grow_and_are_spread() -> None:
    trial = Trial([status(503)] * 12)
    trial.run(times=12)
    assert all(0 <= waited <= min(30, 0.5 * 2**tried) for tried, waited in enumerate(trial.waits))
    assert len(set(trial.waits)) == 12


@pytest.mark.parametrize("asked", [1.0, 60.0])
def test_a_server_is_left_alone_for_as_long_as_it_asks(asked: float) -> None:
    trial = Trial([status(429, asked)])
    trial.run()
    assert asked <= trial.waits[0] <= asked + 0.5


def test_a_server_that_asks_for_more_than_a_minute_is_not_waited_for() -> None:
    trial = Trial([status(429, 61.0)])
    with pytest.raises(BadStatus) as caught:
        trial.run()
    assert caught.value.retryable
    assert trial.waits == []


def test_attempts_are_counted_anew_whenever_there_was_an_advance() -> None:
    trial = Trial([status(503)] * 9, advances=[True, False, True, False, True, False, True, False, True])
    assert trial.run(times=2) == "done"
    assert max(trial.waits) <= 1.0


def test_without_an_advance_they_are_not() -> None:
    trial = Trial([status(503)] * 9, advances=[True, False, False])
    with pytest.raises(BadStatus):
        trial.run(times=2)
    assert trial.tried == 3


@settings(deadline=None)
@given(
    total=st.floats(0.1, 100),
    asked=st.lists(st.floats(0, 60), min_size=30, max_size=30),
    each_attempt=st.floats(0, 30),
    advances=st.lists(st.booleans(), max_size=30),
)
def test_no_attempt_begins_after_the_deadline(
    total: float, asked: list[float], each_attempt: float, advances: list[bool]
) -> None:
    trial = Trial([status(503, seconds) for seconds in asked], each_attempt, advances=advances)
    with pytest.raises(BadStatus):
        trial.run(times=20, total_timeout=total)
    assert trial.seconds - 1000.0 - each_attempt < total or trial.tried == 1
    assert trial.tried <= 30


def test_a_cancel_ends_a_wait_at_once() -> None:
    cancel = threading.Event()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(Retries(1, 1.0).pause, 60.0, cancel)
        started = time.monotonic()
        cancel.set()
        with pytest.raises(Cancelled):
            waiting.result(5)
    assert time.monotonic() - started < 1


def test_a_cancel_ends_the_wait_for_another_attempt() -> None:
    trial = Trial([status(503)])
    trial.cancel.set()
    with pytest.raises(Cancelled):
        trial.run()
    assert trial.tried == 1


# Pace


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_pace_is_looked_at_once_in_a_window_and_each_for_itself() -> None:
    clock = Clock()
    pace = Pace(10.0, clock)
    assert pace.is_kept(1)
    clock.seconds = 9.0
    assert pace.is_kept(1)
    clock.seconds = 10.0
    assert pace.is_kept(1 + 10 * SLOWEST)
    clock.seconds = 19.0
    assert pace.is_kept(1 + 10 * SLOWEST)
    clock.seconds = 20.0
    assert not pace.is_kept(20 * SLOWEST)


def test_what_came_at_once_does_not_make_up_for_what_drips() -> None:
    clock = Clock()
    pace = Pace(10.0, clock)
    assert pace.is_kept(10**9)
    clock.seconds = 10.0
    assert not pace.is_kept(10**9 + 10)


def test_a_body_may_take_its_time_to_begin() -> None:
    clock = Clock()
    pace = Pace(10.0, clock)
    clock.seconds = 12.0
    assert pace.is_kept(1)
    clock.seconds = 21.0
    assert pace.is_kept(1)
    clock.seconds = 22.0
    assert not pace.is_kept(1)
