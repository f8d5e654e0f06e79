"""Progress for a person at a terminal: a bar for each track in flight, and one for the whole run.

Only what is worth keeping scrolls by: downloads and failures leave a line, cached and local rows are counted in the
total, so that 200 cached tracks do not push the screen away.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Column
from rich.text import Text

from cachestore.cli.lines import line, outcome
from cachestore.cli.output import plain
from cachestore.events import State, TrackEvent, WarningEvent

if TYPE_CHECKING:
    from rich.progress import TaskID

    from cachestore.events import Event

_STYLES = {"downloaded": "green", "failed": "red", "skipped": "yellow"}  # what leaves a line


class Bars:
    """Draw progress on stderr until the context is left; only the lines of downloads and failures stay."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        name = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._tracks = Progress(
            TextColumn("  {task.description}", markup=False, table_column=name),
            BarColumn(20),
            DownloadColumn(table_column=Column(justify="right", no_wrap=True)),
            TransferSpeedColumn(table_column=Column(justify="right", no_wrap=True, min_width=10)),
            console=self._console,
            expand=True,
        )
        self._total = Progress(
            MofNCompleteColumn(),
            BarColumn(20),
            TextColumn("{task.description}", markup=False),
            console=self._console,
        )
        self._all = self._total.add_task("", total=None)
        self._in_flight: dict[str, TaskID] = {}  # by track: rows of one track share its bar
        self._outcomes: Counter[str] = Counter()
        # What is printed on the same terminal scrolls by above the bars; stdout elsewhere is none of theirs.
        self._live = Live(
            Group(self._tracks, self._total),
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
        elif event.state is State.DOWNLOADING or event.track in self._in_flight:
            self._advance(event)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _advance(self, event: TrackEvent) -> None:
        if event.track not in self._in_flight:
            self._in_flight[event.track] = self._tracks.add_task(plain(event.label), total=None)
        self._tracks.update(self._in_flight[event.track], completed=event.received, total=event.total)

    def _settle(self, event: TrackEvent) -> None:
        task = self._in_flight.pop(event.track, None)
        if task is not None:
            self._tracks.remove_task(task)
        word = outcome(event)
        self._outcomes[word] += 1
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self._outcomes.items()))
        self._total.update(self._all, advance=1, description=counts)
        if word in _STYLES:
            self._console.print(Text(line(event), _STYLES[word]))
