"""The end of standard input as a cancel: a program that started us and dies closes its end of the pipe."""

from __future__ import annotations

import os
import select
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 65536


@contextmanager
def set_on_stdin_eof(event: threading.Event) -> Iterator[None]:
    """Set `event` when standard input ends, at once if it has done so or is closed; what it says is dropped."""
    if sys.stdin is None or _has_ended(sys.stdin.fileno()):
        event.set()
        yield
        return
    woken, wake = os.pipe()
    watcher = threading.Thread(target=_watch, args=(sys.stdin.fileno(), woken, event), name="stdin", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        os.close(wake)  # and not waited for: what select saw another reader may have taken, and a read hangs


def _has_ended(stdin: int) -> bool:
    return bool(select.select([stdin], [], [], 0)[0]) and not _read(stdin)


def _watch(stdin: int, woken: int, event: threading.Event) -> None:
    """Read `stdin` to its end, or until the other end of `woken` is closed; then close that, too."""
    try:
        while woken not in select.select([stdin, woken], [], [])[0]:
            if not _read(stdin):
                event.set()
                return
    finally:
        os.close(woken)


def _read(stdin: int) -> bytes:
    try:
        return os.read(stdin, _CHUNK)
    except OSError:  # a terminal that was hung up
        return b""
