"""Progress for a person at a terminal: a bar for each track in flight, and one for the whole run.

Only what is worth keeping scrolls by: downloads and failures leave a line, cached and local rows are counted in the
total, so that 200 cached tracks do not push the screen away.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from cachestore.cli.lines import elsewhere, line, outcome
from cachestore.cli.output import plain
from cachestore.events import State, TrackEvent, WarningEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import TaskID

    from cachestore.events import Event

_STYLES = {"downloaded": "green", "failed": "red", "skipped": "yellow"}  # what leaves a line


@dataclass(slots=True)
class _Bar:
    """A task and the Progress that draws it, with the bytes `received` so far."""

    owner: Progress
    task: TaskID
    received: int = 0


class Bars:
    """Draw progress on stderr until the context is left; only the lines of downloads and failures stay.

    `clock` counts seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._tracks = Progress(
            _name(),
            BarColumn(20),
            DownloadColumn(table_column=Column(justify="right", no_wrap=True)),
            TransferSpeedColumn(table_column=Column(justify="right", no_wrap=True, min_width=10)),
            TimeRemainingColumn(compact=True, table_column=Column(justify="right", no_wrap=True, min_width=5)),
            console=self._console,
            expand=True,
            get_time=clock,
        )
        told = TextColumn("{task.fields[told]}", markup=False, table_column=Column(no_wrap=True))
        self._elsewhere = Progress(_name(), told, console=self._console, expand=True)
        self._total = Progress(
            MofNCompleteColumn(),
            BarColumn(20),
            TextColumn("{task.description}", markup=False),
            console=self._console,
        )
        self._all = self._total.add_task("", total=None)
        self._in_flight: dict[str, _Bar] = {}  # by track: rows of one track share its bar
        self._outcomes: Counter[str] = Counter()
        # What is printed on the same terminal scrolls by above the bars; stdout elsewhere is none of theirs.
        self._live = Live(
            Group(self._tracks, self._elsewhere, self._total),
            console=self._console,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )

    def start(self, rows: int) -> None:
        """Take the number of rows for the total."""
        self._total.update(self._all, total=rows)

    def __call__(self, event: Event) -> None:
        """Draw `event`."""
        if isinstance(event, WarningEvent):
            self._console.print(Text(f"warning: {plain(event.message)}", "yellow"))
        elif event.state.terminal:
            self._settle(event)
        elif event.state is State.LINKING:  # rows are linked in the order of the mix, which may be much later
            self._remove(event.track)
        elif event.state is State.DOWNLOADING or event.track in self._in_flight:
            self._advance(event)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _advance(self, event: TrackEvent) -> None:
        owner = self._elsewhere if event.elsewhere else self._tracks
        bar = self._in_flight.get(event.track)
        if event.received is None and bar is not None:
            return
        received = event.received or 0
        # One that begins again, or is ours from now on, is a new bar: what came before says nothing of its speed.
        if bar is None or bar.owner is not owner or received < bar.received:
            self._remove(event.track)
            task = owner.add_task(plain(event.label), total=event.total, completed=received, told=elsewhere(event))
            bar = self._in_flight[event.track] = _Bar(owner, task)
        bar.received = received
        owner.update(bar.task, completed=received, total=event.total, told=elsewhere(event))

    def _remove(self, track: str) -> None:
        bar = self._in_flight.pop(track, None)
        if bar is not None:
            bar.owner.remove_task(bar.task)

    def _settle(self, event: TrackEvent) -> None:
        self._remove(event.track)
        word = outcome(event)
        self._outcomes[word] += 1
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self._outcomes.items()))
        self._total.update(self._all, advance=1, description=counts)
        if word in _STYLES:
            self._console.print(Text(line(event), _STYLES[word]))


def _name() -> TextColumn:
    column = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return TextColumn("  {task.description}", markup=False, table_column=column)
