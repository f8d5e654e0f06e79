"""What was measured, as it is kept in figures.json: the page and the plots are made of nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.case import By, Kind


@dataclass(slots=True)
class Figures:
    """All runs of one contender; `failed` says why there are none, or no more."""

    name: str
    peer: str
    leaves_out: str = ""
    kind: Kind = "peer"
    version: str = ""
    failed: str = ""
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    inner: list[float] = field(default_factory=list)

    def middle(self, by: By) -> float | None:
        """Return the median of its runs, None if there are none."""
        runs: list[float] = getattr(self, by)
        return median(runs) if runs and not self.failed else None

    @property
    def memory(self) -> float | None:
        """The most megabytes that any run had."""
        return max(self.rss) if self.rss and not self.failed else None


@dataclass(slots=True)
class RowFigures:
    """A row and what its contenders took, at a scale, on a day, under a load (of the minute before each round)."""

    title: str
    base: str
    by: By
    limit: float | None
    goal: str
    files: int
    size: int
    scale: str
    date: str
    rounds: int
    load: list[float] = field(default_factory=list)
    contenders: list[Figures] = field(default_factory=list)

    @property
    def aim(self) -> str:
        """The goal in words."""
        return self.goal or (f"{self.limit:.3g} x {self.base}" if self.limit else "none")

    def ratio(self, figures: Figures, by: By | None = None) -> float | None:
        """Return how many times the figure of the base this one is, by the measure of the row if none is given."""
        by = by or self.by
        base = next((other.middle(by) for other in self.contenders if other.name == self.base), None)
        own = figures.middle(by)
        return None if base is None or own is None or not base else own / base

    @property
    def ours(self) -> Figures:
        """The contender that the goal is about."""
        return next(figures for figures in self.contenders if figures.kind == "ours")


@dataclass(slots=True)
class Book:
    """Everything that is kept; a row that is measured again replaces what was there."""

    machine: dict[str, str] = field(default_factory=dict)
    rows: dict[str, RowFigures] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Book:
        """Read it; an empty one if there is none."""
        if not path.exists():
            return cls()
        kept = json.loads(path.read_text())
        rows = {name: _row(row) for name, row in kept["rows"].items()}
        return cls(kept["machine"], rows)

    def save(self, path: Path) -> None:
        """Write it, a row a line."""
        head = f'{{"machine": {json.dumps(self.machine)},\n"rows": {{\n'
        rows = [f"{json.dumps(name)}: {json.dumps(asdict(row))}" for name, row in self.rows.items()]
        path.write_text(head + ",\n".join(rows) + "\n}}\n")


def _row(kept: dict[str, object]) -> RowFigures:
    contenders = kept.pop("contenders")
    assert isinstance(contenders, list)
    return RowFigures(**kept, contenders=[Figures(**each) for each in contenders])  # type: ignore[arg-type]
