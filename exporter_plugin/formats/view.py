"""What formats are given: a bundle that is being made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.blobs import check_now
from exporter_plugin.facts import Facts, facts_of
from exporter_plugin.naming import safe_stem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter_plugin.outcome import Outcome, Placed


@dataclass(frozen=True, slots=True)
class BundleView:
    """A bundle as formats see it: its name, and what became of the rows of the mix in order.

    `locate` says where the bytes of one of its files lie while it is made, under whatever name: what is new is staged,
    what is kept is at its place.
    """

    name: str
    outcomes: Sequence[Outcome]
    locate: Callable[[str], Path] = Path
    _facts: dict[str, Facts] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def stem(self) -> str:
        """Return the name as that of a file, without an extension and safe on every filesystem."""
        return safe_stem(self.name)

    @property
    def has_positions(self) -> bool:
        """Return whether the mix says where on a timeline its tracks are."""
        return any(outcome.row.start is not None for outcome in self.outcomes)

    def facts(self, placed: Placed) -> Facts:
        """Return what the header of a row's file says of its sound; each file is read once, when it is asked for."""
        if placed.file not in self._facts:
            check_now()
            self._facts[placed.file] = facts_of(self.locate(placed.file), placed.file.rpartition(".")[2])
        return self._facts[placed.file]

    def length(self, placed: Placed) -> float | None:
        """Return how many seconds a row's file has: what its header says, else the most that the mix says of it.

        It is None if nobody knows.
        """
        row = placed.row
        said = max(row.file_length or 0.0, row.offset + row.duration if row.duration else 0.0)
        return self.facts(placed).duration or said or None

    def duration(self, placed: Placed) -> float | None:
        """Return for how many seconds a row plays: what the mix says, but no more than its file has from its offset on.

        It is 0 if the file ends before its offset, None if nobody knows.
        """
        row, length = placed.row, self.length(placed)
        if length is None or (row.duration and not self.facts(placed).duration):
            return row.duration or None
        left = max(0.0, length - row.offset)
        return min(row.duration or left, left)
