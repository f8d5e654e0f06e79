"""What a sweep gives back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachestore.root import cost_of_file
from cachestore.rows import BlobRow, Totals

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(slots=True)
class Leftovers:
    """What a sweep gives back, in bytes of disk: `disk` in all, `partial` and `quarantine` of what max_size bounds.

    `partials` are the partials that go, `links` how many names go of each inode that has others, `unindexed` the blobs
    that come to count, `lost` what blobs count for too much that are gone, or cost something else by now.
    """

    disk: int = 0
    partial: int = 0
    quarantine: int = 0
    partials: set[Path] = field(default_factory=set)
    links: Counter[int] = field(default_factory=Counter)
    unindexed: list[tuple[str, BlobRow]] = field(default_factory=list)
    lost: Totals = field(default_factory=Totals)

    @property
    def bounded(self) -> int:
        """Return those of the bytes that max_size bounds."""
        return self.partial + self.quarantine + self.lost.exclusive

    @property
    def unindexed_cost(self) -> int:
        """Return the bytes of disk that come to count."""
        return sum(row.cost for _, row in self.unindexed)

    @property
    def change(self) -> Totals:
        """Return what is added to the totals."""
        return Totals.of(row for _, row in self.unindexed) - self.lost

    def add(self, files: Iterable[os.stat_result]) -> None:
        """Count files that go."""
        for info in files:
            if info.st_nlink > 1:
                self.links[info.st_ino] += 1
            if self.links.get(info.st_ino, 1) == info.st_nlink:  # all its names go
                self.disk += cost_of_file(info)
