"""Our own commands on stores of more and more entries: each should take as much longer as it has more to do."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

from tests.benchmarks.case import Contender, Row
from tests.benchmarks.filled import Filled, filled, has
from tests.benchmarks.measure import Command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.workplace import Workplace

_COMMANDS = ("info", "ls --json", "verify --quick", "prune --dry-run --max-size HALF")


class Growing:
    """Commands on one store of `entries`."""

    def __init__(self, work: Workplace, entries: int) -> None:
        self._work = work
        self._entries = entries

    @cached_property
    def store(self) -> Filled:
        """The store."""
        return filled(self._work, self._work.folder / f"growth-{self._entries}", self._entries)

    def export(self, place: Path) -> Command:
        """Export all."""
        argv = self._work.ours.command(*self.store.options, "export", "--offline", self.store.mix, place / "bundle")
        return Command(argv, has(place / "bundle" / "media", self._entries))

    def command(self, words: str, _: Path) -> Command:
        """Run another command."""
        half = str(self._entries * 2048)
        return Command(self._work.ours.command(*self.store.options, *words.replace("HALF", half).split()))


def _growth(step: int, work: Workplace) -> Row:
    entries = work.scale.growth[step]
    do = Growing(work, entries)
    return Row(
        title=f"Commands on a store of {entries:,} entries",
        base="export --offline",
        contenders=(
            Contender("export --offline", work.ours, do.export, "of all entries to a new folder", kind="ours"),
            *(
                Contender(words.removesuffix(" --max-size HALF"), work.ours, partial(do.command, words), kind="ours")
                for words in _COMMANDS
            ),
        ),
        files=entries,
    )


ROWS: dict[str, Callable[[Workplace], Row]] = {f"growth-{step + 1}": partial(_growth, step) for step in range(3)}
