"""Progress for logs, pipes and cron: one plain line on stderr for each row that is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import click

from cachestore.cli.output import plain
from cachestore.events import Provenance, State, TrackEvent, WarningEvent
from cachestore.quantities import format_size

if TYPE_CHECKING:
    from cachestore.events import Event

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


class Lines:
    """Print rows as they settle; when quiet, only those that fail, and warnings."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._rows = 0
        self._settled = 0

    def start(self, rows: int) -> None:
        """Take the number of rows to count up to."""
        self._rows = rows

    def __call__(self, event: Event) -> None:
        """Print `event` if it settles a row or warns."""
        if isinstance(event, WarningEvent):
            click.echo(f"warning: {plain(event.message)}", err=True)
        elif event.state.terminal:
            self._settle(event)

    def _settle(self, event: TrackEvent) -> None:
        self._settled += 1
        # A cancel is one fact, told once by the command, not by each of its rows.
        if event.error is not None or (not self._quiet and event.state is not State.CANCELLED):
            width = len(str(self._rows))
            click.echo(f"[{self._settled:>{width}}/{self._rows}] {line(event)}", err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what was printed."""
