"""Progress for logs, pipes and cron: plain lines on stderr, one for each settled row, and few for long downloads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import click

from cachestore.cli.output import plain
from cachestore.events import Provenance, State, TrackEvent, WarningEvent
from cachestore.quantities import format_age, format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachestore.events import Event

_FIRST, _LONGEST = 30.0, 300.0  # seconds until the first line of a long download, and at most between two of them
_DONE = {Provenance.NETWORK: "downloaded", Provenance.CACHE: "cached", Provenance.LOCAL: "local", None: "done"}


def outcome(event: TrackEvent) -> str:
    """Return the word for how a settled row ended: ``downloaded``, ``cached``, ``local``, ``failed``, ..."""
    return _DONE[event.origin] if event.state is State.DONE else str(event.state)


def line(event: TrackEvent) -> str:
    """Return a settled row for a person: ``downloaded  Artist - Title  4.2 MB`` or ``failed      Title: reason``."""
    text = f"{outcome(event):<10}  {plain(event.label)}"
    if event.error is not None:
        return f"{text}: {plain(event.error.reason)}"
    size = event.total if event.total is not None else event.received
    return text if size is None else f"{text}  {format_size(size)}"


def elsewhere(event: TrackEvent) -> str:
    """Return how far another process is: ``another export is downloading this, 43 %``, or bytes without a total."""
    told = "another export is downloading this"
    if event.received is None:
        return told
    return f"{told}, {_percent(event.received, event.total) if event.total else format_size(event.received)}"


def underway(event: TrackEvent, speed: float) -> str:
    """Return a row that is not settled for a person; `speed` in bytes a second.

    ``downloading Title  43 %, 52.1 MB of 120 MB, 2.1 MB/s, 32 s left`` or ``waiting     Title: another export is ...``.
    """
    if event.elsewhere:
        return f"waiting     {plain(event.label)}: {elsewhere(event)}"
    received, total = event.received or 0, event.total
    figures = [_percent(received, total), f"{format_size(received)} of {format_size(total)}"] if total else []
    figures += [] if total else [format_size(received)]
    figures += [f"{format_size(speed)}/s"] if speed > 0 else []
    figures += [f"{format_age((total - received) / speed)} left"] if speed > 0 and total else []
    return f"downloading {plain(event.label)}  {', '.join(figures)}"


def _percent(received: int, total: int) -> str:
    return f"{min(100, 100 * received // total)} %"


@dataclass(frozen=True, slots=True)
class _Told:
    """What the log was last told of a download: when, of how many bytes; the next line is due after `pause` seconds."""

    elsewhere: bool
    at: float
    received: int
    pause: float


class Lines:
    """Print rows as they settle and, seldom, how long downloads go; when quiet, only failures and warnings.

    `clock` counts seconds.
    """

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._rows = 0
        self._settled = 0
        self._told: dict[str, _Told] = {}  # by track: rows of one track share its lines

    def start(self, rows: int) -> None:
        """Take the number of rows to count up to."""
        self._rows = rows

    def __call__(self, event: Event) -> None:
        """Print `event` if it settles a row or warns, or if a line of a long download is due."""
        if isinstance(event, WarningEvent):
            click.echo(f"warning: {plain(event.message)}", err=True)
        elif event.state.terminal:
            self._settle(event)
        elif event.state is State.DOWNLOADING and not self._quiet:
            self._advance(event)

    def _advance(self, event: TrackEvent) -> None:
        now, received, told = self._clock(), event.received or 0, self._told.get(event.track)
        if told is None or told.elsewhere != event.elsewhere:
            pause, speed, is_due = _FIRST, 0.0, event.elsewhere
        elif now - told.at < told.pause:
            return
        else:
            pause, speed, is_due = min(2 * told.pause, _LONGEST), (received - told.received) / (now - told.at), True
        self._told[event.track] = _Told(event.elsewhere, now, received, pause)
        if is_due:
            self._print(underway(event, speed))

    def _settle(self, event: TrackEvent) -> None:
        self._told.pop(event.track, None)
        self._settled += 1
        # A cancel is one fact, told once by the command, not by each of its rows.
        if event.error is not None or (not self._quiet and event.state is not State.CANCELLED):
            self._print(line(event), f"[{self._settled:>{len(str(self._rows))}}/{self._rows}]")

    def _print(self, text: str, count: str = "") -> None:
        """Print `text` behind the `count` of a settled row, or where that would be."""
        width = 2 * len(str(self._rows)) + 3
        click.echo(f"{count:<{width}} {text}", err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what was printed."""
