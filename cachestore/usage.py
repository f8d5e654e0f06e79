"""What the store costs: the figures of `info`, and those that the bound is measured by."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cachestore.root import Root
    from cachestore.store.reader import StoreReader

# What quarantine may take of max_size: what is damaged shall not starve what is sound.
QUARANTINE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts, and bytes: `logical` as files are long, the others in disk blocks.

    `exclusive` are blobs that only the cache has, `held` those that a bundle has too.
    """

    entries: int
    blobs: int
    pinned: int
    logical_bytes: int
    exclusive_bytes: int
    held_bytes: int
    partial_bytes: int
    quarantine_bytes: int
    hits: int
    misses: int
    oldest_used_at: float | None

    @property
    def bounded_bytes(self) -> int:
        """Return the bytes that `max_size` bounds: what the cache alone costs this disk."""
        return self.exclusive_bytes + self.partial_bytes + self.quarantine_bytes


def usage(store: StoreReader) -> Usage:
    """Return the figures of `store`, by its totals and what changed in bundles since."""
    totals = store.totals() + store.held_change().totals
    meta = store.meta()
    return Usage(
        entries=totals.entries,
        blobs=totals.blobs,
        pinned=len(store.pinned()),
        logical_bytes=totals.logical,
        exclusive_bytes=totals.exclusive,
        held_bytes=totals.held,
        partial_bytes=cost_of(store.root.partials),
        quarantine_bytes=cost_of(store.root.quarantine),
        hits=meta.hits,
        misses=meta.misses,
        oldest_used_at=next((row.used_at for _, row in store.least_recently_used()), None),
    )


def unfinished_bytes(root: Root) -> int:
    """Return the bytes of disk that partials and quarantine cost."""
    return cost_of(root.partials) + cost_of(root.quarantine)


def cost_of(path: Path) -> int:
    """Return the bytes of disk that a file costs, or all files below a folder, 0 when there is nothing."""
    return sum(info.st_blocks * 512 for info in files_below(path))


def files_below(path: Path) -> Iterator[os.stat_result]:
    """Yield the stat of a file, or of every file below a folder. No symlink is followed; what is gone is left out."""
    info = _stat(path)
    if info is None or not stat.S_ISDIR(info.st_mode):
        yield from () if info is None else (info,)
        return
    for parent, _, names in os.walk(path):
        yield from (info for name in names if (info := _stat(f"{parent}{os.sep}{name}")))


def _stat(path: Path | str) -> os.stat_result | None:
    with suppress(OSError):
        return os.lstat(path)
    return None
