"""How far a long look at the store has come, for a person at a terminal."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Meter:
    """Draw on stderr how many of how many files were checked, until the context is left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("checked"),
            MofNCompleteColumn(),
            BarColumn(20),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._progress.add_task("", total=None)

    def __call__(self, checked: int, total: int) -> None:
        """Draw that `checked` of `total` files are done."""
        self._progress.update(self._task, completed=checked, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
