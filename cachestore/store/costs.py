"""What files cost the disk, in bytes of its blocks."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from cachestore.root import cost_of_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cachestore.root import Root


def unfinished_bytes(root: Root) -> int:
    """Return the bytes of disk that partials and quarantine cost."""
    return cost_of(root.partials) + cost_of(root.quarantine)


def cost_of(path: Path) -> int:
    """Return the bytes of disk that a file costs, or all files below a folder, 0 when there is nothing."""
    return sum(map(cost_of_file, files_below(path)))


def files_below(path: Path) -> Iterator[os.stat_result]:
    """Yield the stat of a file, or of every file below a folder. No symlink is followed; what is gone is left out."""
    info = _stat(path)
    if info is None or not stat.S_ISDIR(info.st_mode):
        yield from () if info is None else (info,)
        return
    for parent, _, names in os.walk(path):
        yield from (info for name in names if (info := _stat(f"{parent}{os.sep}{name}")))


def inode_of(path: Path | str) -> int | None:
    """Return the inode of a file, None when it is gone."""
    info = _stat(path)
    return None if info is None else info.st_ino


def _stat(path: Path | str) -> os.stat_result | None:
    with suppress(OSError):
        return os.lstat(path)
    return None


def children(folder: Path) -> list[Path]:
    """Return what is directly in a folder, nothing when there is none."""
    with suppress(OSError):
        return list(folder.iterdir())
    return []
