"""The event protocol for programs (`--events ndjson`): one JSON object a line on stdout, flushed.

Every object has `v`, `seq`, `ts` and `type`. `start` comes when the number of rows is known, `end` always comes last,
also after a failure or a cancel; a command that fails before it knows its rows writes `end` alone.
"""

from __future__ import annotations

import json
import math
import os
import select
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Self

import click

from cachestore.cli.failures import explain
from cachestore.cli.output import discard
from cachestore.cli.signals import GRACE
from cachestore.errors import Cancelled
from cachestore.events import State, TrackEvent, WarningEvent

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from cachestore.events import Event

_MIN_INTERVAL = 0.2  # seconds between two progress events of one track
_TICK = 0.05  # seconds
_PIECE: int = getattr(select, "PIPE_BUF", 512)  # bytes that can be written without waiting to what has room at all
_STDOUT = 1
_RESULTS = {0: "ok", 3: "partial", 129: "cancelled", 130: "cancelled", 143: "cancelled"}


class EventStream:
    """Write what a run tells as NDJSON; leaving the context writes `end`.

    A reader is waited for; once `cancel` is set, no longer than a moment, and then nothing more is written.
    """

    def __init__(self, out: BinaryIO, cancel: threading.Event, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._has_room = _room_of(out)
        self._cancel = cancel
        self._until = math.inf
        self._clock = clock
        self._seq = 0
        self._told_at: dict[int, float] = {}
        self._skipped = False
        self._reader_gone = False

    def start(self, rows: int) -> None:
        """Write the `start` object."""
        self._write("start", rows=rows)

    def __call__(self, event: Event) -> None:
        """Write `event`, unless it is progress that comes too soon. Raise Cancelled when nobody reads any more."""
        if isinstance(event, WarningEvent):
            self._write("warning", code=event.code, message=event.message)
            return
        self._skipped |= event.state is State.SKIPPED
        if not self._is_too_soon(event):
            self._write("track", **_facts(event))

    def end(self, exit_code: int, message: str | None = None) -> None:
        """Write the `end` object; `message` is the sentence of a failure."""
        with suppress(Cancelled):  # it is too late to cancel
            self._write("end", result=_RESULTS.get(exit_code, "failed"), exit_code=exit_code, message=message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        error = exc_info[1]
        if isinstance(error, BaseException):
            self.end(*_ending(error))
        else:
            self.end(3 if self._skipped else 0)

    def _is_too_soon(self, event: TrackEvent) -> bool:
        if event.state is not State.DOWNLOADING:
            return False
        now = self._clock()
        if now - self._told_at.get(event.index, -_MIN_INTERVAL) < _MIN_INTERVAL:
            return True
        self._told_at[event.index] = now
        return False

    def _write(self, kind: str, **facts: object) -> None:
        if self._reader_gone:
            return
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = {name: fact for name, fact in facts.items() if fact is not None}
        # As ASCII: readers that split lines at U+2028, and file names that are not UTF-8, need the escapes.
        line = json.dumps({"v": 1, "seq": self._seq, "ts": stamp, "type": kind} | known, separators=(",", ":"))
        self._seq += 1
        try:
            self._send(f"{line}\n".encode())
        except BrokenPipeError:
            self._leave()
            raise Cancelled from None

    def _send(self, line: bytes) -> None:
        for start in range(0, len(line), _PIECE):
            if not self._is_awaited():
                self._leave()  # without an error: whoever was to be cancelled is
                return
            self._out.write(line[start : start + _PIECE])
            self._out.flush()

    def _is_awaited(self) -> bool:
        """Wait until there is room for a piece, and return False when a cancel has waited for that long enough."""
        while not self._has_room(max(0.0, min(_TICK, self._until - time.monotonic()))):
            if time.monotonic() >= self._until:
                return False
            if self._cancel.is_set():
                self._until = min(self._until, time.monotonic() + GRACE)
        return True

    def _leave(self) -> None:
        self._reader_gone = True
        discard(self._out)


def own_stdout() -> BinaryIO:
    """Return stdout for the events alone: what a plugin prints, or its children, goes to stderr until the process ends.

    It is not given back: threads that a plugin has left may still print when `end` is told.
    """
    with suppress(OSError):  # it is no file, or there is no stderr
        if sys.stdout.fileno() == _STDOUT:
            sys.stdout.flush()
            ours = os.dup(_STDOUT)
            os.dup2(sys.stderr.fileno(), _STDOUT)
            return open(ours, "wb")  # noqa: PTH123 - it stays open as long as the process
    return sys.stdout.buffer


def _room_of(out: BinaryIO) -> Callable[[float], bool]:
    """Return what waits so many seconds until `out` takes a piece, and tells whether it does.

    A write that waits for its reader would go on after a signal. Where that cannot be asked, the write waits.
    """
    try:
        poll = select.poll()
        poll.register(out.fileno(), select.POLLOUT)
    except (OSError, AttributeError):  # no file; Windows
        return lambda _: True
    return lambda seconds: bool(poll.poll(seconds * 1000))


def _facts(event: TrackEvent) -> dict[str, object]:
    facts: dict[str, object] = {
        "index": event.index,
        "track": event.track,
        "label": event.label,
        "state": event.state,
        "origin": event.origin,
        "bytes": event.received,
        "total": event.total,
        "elsewhere": True if event.elsewhere else None,
        "stale": True if event.stale else None,
    }
    if event.error is not None:
        facts |= {
            "code": event.error.code,
            "retryable": event.error.retryable,
            "message": str(event.error),
        }
    return facts


def _ending(error: BaseException) -> tuple[int, str | None]:
    """Return the exit code that the process will answer with, and the sentence for it."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code, None
    if isinstance(error, click.ClickException):
        return error.exit_code, error.format_message()
    if isinstance(error, Exception):
        sentence, exit_code = explain(error)
        return exit_code, sentence
    return 130, None
