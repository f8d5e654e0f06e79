"""Who is told what a run does: a program (NDJSON), a person at a terminal (bars) or a log (lines)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import threading

    from cachestore.cli.context import Settings
    from cachestore.events import Event


class Reporter(Protocol):
    """A context that is called with the events of one run (an OnEvent)."""

    def start(self, rows: int) -> None:
        """Take the number of rows, once, before the first event."""

    def __call__(self, event: Event) -> None:
        """Tell `event`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


def reporter(
    settings: Settings, cancel: threading.Event, *, rows: int | None = None, events: str | None = None
) -> Reporter:
    """Return who is told: `events` "ndjson" a program on stdout, else bars or lines on stderr.

    A program that does not read is waited for until `cancel` is set.

    Leave `rows` out where it is not known yet and call `start(rows)` when it is: with the reporter as the outermost
    context, NDJSON has its `end` also when the mix cannot be read.
    """
    chosen = _choose(cancel, quiet=settings.quiet, events=events)
    if rows is not None:
        chosen.start(rows)
    return chosen


def _choose(cancel: threading.Event, *, quiet: bool, events: str | None) -> Reporter:
    if events == "ndjson":
        from cachestore.cli.ndjson import EventStream, own_stdout

        return EventStream(own_stdout(), cancel)
    if is_drawable() and not quiet:
        from cachestore.cli.bars import Bars

        return Bars()
    from cachestore.cli.lines import Lines

    return Lines(quiet=quiet)


def is_drawable() -> bool:
    """Return whether stderr is a terminal on which bars can be drawn."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
