"""Signals, and the end of standard input, become a cancel that every thread can wait for."""

from __future__ import annotations

import select
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

GRACE = 0.7  # seconds that a reader has after a cancel to make room for what is still to be told

_T = TypeVar("_T")
_WAKING = getattr(signal, "SIGURG", None)  # which by itself does nothing
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Cancel(threading.Event):
    """Set when the run is to stop; `signum` is the signal that asked for it, SIGINT when it was none."""

    signum: int = signal.SIGINT

    def __init__(self) -> None:
        super().__init__()
        self._farewell: threading.Thread | None = None

    def set(self) -> None:
        """Set the event, and soon after it wait for nobody any more who does not read what we write."""
        self._farewell = threading.Thread(target=_leave_silent_readers, name="farewell", daemon=True)
        self._farewell.start()
        super().set()

    def settle(self) -> None:
        """Wait until it is known who reads, so that what is said last finds room."""
        if self._farewell is not None:
            self._farewell.join()

    @property
    def exit_code(self) -> int:
        """Return 128 plus the number of the signal."""
        return 128 + self.signum

    @contextmanager
    def coded(self) -> Iterator[None]:
        """Give a Cancelled that leaves the block the exit code."""
        from cachestore.errors import Cancelled

        try:
            yield
        except Cancelled as cancelled:
            cancelled.exit_code = self.exit_code
            raise

    def result_of(self, ask: Callable[[], _T]) -> _T:
        """Return what `ask` returns, on a thread that a cancel leaves behind: what it reads may be a pipe, or a plugin.

        Raise what it raises, or Cancelled.
        """
        from cachestore.aside import awaited, begun

        return awaited(begun(ask), self._raise_if_set)

    def _raise_if_set(self) -> None:
        if self.is_set():
            from cachestore.errors import Cancelled

            raise Cancelled


@contextmanager
def cancel_on_signals(*, stdin_eof: bool = False) -> Iterator[Cancel]:
    """Give a Cancel that SIGINT, SIGTERM and SIGHUP set; a second SIGINT ends the process at once.

    With `stdin_eof` the end of standard input sets it, too. A Cancelled that leaves the block gets the exit code of the
    signal. Outside the main thread no signal is caught.
    """
    cancel = Cancel()
    with ExitStack() as watched:
        watched.enter_context(cancel.coded())
        watched.callback(cancel.settle)
        if threading.current_thread() is threading.main_thread():
            watched.enter_context(_caught(cancel))
        if stdin_eof:
            from cachestore.cli.stdin_eof import set_on_stdin_eof

            watched.enter_context(set_on_stdin_eof(cancel))
        yield cancel


@contextmanager
def _caught(cancel: Cancel) -> Iterator[None]:
    # A handler runs between any two instructions of the main thread, also while that holds the Event's own lock, and
    # would wait for itself in set(). SimpleQueue.put is reentrant, so another thread does the setting.
    arrived: SimpleQueue[int] = SimpleQueue()
    setter = threading.Thread(target=_set_when_asked, args=(cancel, arrived), name="cancel", daemon=True)
    setter.start()
    previous = {number: signal.signal(number, _handler(arrived)) for number in _SIGNALS if not _ignored(number)}
    if _WAKING is not None:
        previous[_WAKING] = signal.signal(_WAKING, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) is not signal.SIG_DFL:  # the second SIGINT stays the system's
                signal.signal(number, handler)
        arrived.put(0)
        setter.join()


def ignore_signals() -> None:
    """Let no signal end or cancel anything any more; nothing changes outside the main thread, where none is heard."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _ignored(number: int) -> bool:
    """Return whether `number` is to stay ignored: nohup asks for that."""
    return number != signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN


def _handler(arrived: SimpleQueue[int]) -> signal._HANDLER:
    def handle(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            # The second one is the system's: a handler of ours waits until the main thread runs Python again.
            signal.signal(number, signal.SIG_DFL)
        arrived.put(number)

    return handle


def _set_when_asked(cancel: Cancel, arrived: SimpleQueue[int]) -> None:
    while number := arrived.get():
        if not cancel.is_set():
            cancel.signum = number
            cancel.set()


def _leave_silent_readers() -> None:
    """Let what is still to be written go nowhere where nobody reads: a program may not read what it does not expect.

    Threads may wait in a write to it. After a signal that is tried again, on what has taken the reader's place.
    """
    from cachestore.cli.output import discard

    silent = [out for out in (sys.stdout, sys.stderr) if not _is_read(out)]
    for out in silent:
        discard(out)
    if not silent or _WAKING is None:
        return
    for thread in threading.enumerate():
        with suppress(ProcessLookupError):  # it has just ended
            signal.pthread_kill(thread.ident or 0, _WAKING)


def _is_read(out: TextIO) -> bool:
    """Return whether there is, or soon will be, room in `out`, or that cannot be told."""
    try:
        poll = select.poll()
        poll.register(out.fileno(), select.POLLOUT)
    except (OSError, ValueError, AttributeError):  # no file; Windows
        return True
    return bool(poll.poll(GRACE * 1000))
