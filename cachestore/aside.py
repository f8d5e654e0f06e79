"""Asking on a thread that can be left behind: nothing else ends the wait for a plugin that does not return."""

from __future__ import annotations

from concurrent.futures import Future, wait
from threading import Thread, current_thread, main_thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_TICK = 0.05  # seconds


def begun(ask: Callable[[], _T]) -> Future[_T]:
    """Return what is going to be what `ask` returns, or raises, on a daemon thread of its own."""
    answer: Future[_T] = Future()
    Thread(target=_settle, args=(answer, ask), name="source", daemon=True).start()
    return answer


def awaited(answer: Future[_T], check: Callable[[], None]) -> _T:
    """Return or raise what `answer` brings, or raise what `check` does, which is called twenty times a second."""
    while not wait([answer], _TICK).done:
        check()
    return answer.result()


def is_interrupt(error: BaseException) -> bool:
    """Return whether a person pressed Ctrl-C: Python tells no thread but the main one."""
    return isinstance(error, KeyboardInterrupt) and current_thread() is main_thread()


def _settle(answer: Future[_T], ask: Callable[[], _T]) -> None:
    try:
        answer.set_result(ask())
    except BaseException as error:  # noqa: BLE001 - raised again where the answer is waited for
        answer.set_exception(error)
