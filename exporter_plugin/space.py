"""Whether copies fit on the disk of a bundle, asked before the first of them is made."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.errors import NoSpace
from cachestore.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(eq=False)
class NoSpaceForCopies(NoSpace):
    """What is to be copied is larger than what is free; both in bytes."""

    needed: int = 0
    free: int = 0

    def __str__(self) -> str:
        figures = f"{format_size(self.needed)} are to be copied and {format_size(self.free)} are free"
        return f"no space for the bundle at {self.path}: {figures}; free space there or name a folder on another disk"


class Space:
    """The disk of the bundle at `path`, and what is to be copied to `folder` there: bytes by identity, if known."""

    def __init__(self, path: Path, folder: Path, sizes: Mapping[str, int]) -> None:
        self._path = path
        self._folder = folder
        self._sizes = dict(sizes)
        self._total = sum(sizes.values())

    def take(self, identity: str, size: int) -> None:
        """Count a file of `size` bytes as copied. Raise NoSpaceForCopies when it and all others do not fit."""
        others = self._total - self._sizes.pop(identity, 0)
        free = shutil.disk_usage(self._folder).free
        if free < others + size:
            raise NoSpaceForCopies(self._path, needed=others + size, free=free)
        self._total = others
