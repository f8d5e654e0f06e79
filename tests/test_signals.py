"""Signals: they cancel a run, and the exit code says which one it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from cachestore.cli.signals import Cancel, cancel_on_signals
from cachestore.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_and_gives_the_exit_code(number: signal.Signals, code: int) -> None:
    def work() -> None:
        with cancel_on_signals() as cancel:
            signal.raise_signal(number)
            assert cancel.wait(10)
            raise Cancelled

    with pytest.raises(Cancelled) as caught:
        work()
    assert caught.value.exit_code == code


def test_the_first_signal_counts() -> None:
    with cancel_on_signals() as cancel:
        signal.raise_signal(signal.SIGTERM)
        assert cancel.wait(10)
        signal.raise_signal(signal.SIGHUP)
    assert cancel.exit_code == 143


def test_the_handlers_before_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with cancel_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_nothing_is_cancelled_without_a_signal() -> None:
    with cancel_on_signals() as cancel:
        pass
    assert not cancel.is_set()


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with cancel_on_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_thread_other_than_the_main_one_catches_no_signal() -> None:
    seen: list[tuple[Cancel, object]] = []

    def work() -> None:
        with cancel_on_signals() as cancel:
            seen.append((cancel, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen[0][1] is before


def test_a_signal_that_meets_the_main_thread_inside_the_event_does_not_lock_it_up() -> None:
    with cancel_on_signals() as cancel, cancel._cond:  # type: ignore[attr-defined]  # where Event.wait is for a moment
        signal.raise_signal(signal.SIGTERM)
    assert cancel.wait(10)


_STUBBORN = """
import sys
from cachestore.cli.signals import cancel_on_signals
with cancel_on_signals() as cancel:
    print("ready", flush=True)
    cancel.wait()
    print("cancelled", flush=True)
    sys.stdin.read()
"""


def _interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


def test_a_second_interrupt_ends_a_process_that_does_not_come_to_an_end() -> None:
    command = [sys.executable, "-c", _STUBBORN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        expect: Callable[[], str] = process.stdout.readline
        assert expect() == "ready\n"
        _interrupt(process)
        assert expect() == "cancelled\n"
        _interrupt(process)
        assert process.wait(10) == -signal.SIGINT
