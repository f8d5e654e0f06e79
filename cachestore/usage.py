"""What the store costs: the figures of `info`, and those that the bound is measured by."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cachestore.root import Root
    from cachestore.store.reader import StoreReader


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
        partial_bytes=_cost_of_files(store.root.partials),
        quarantine_bytes=_cost_of_files(store.root.quarantine),
        hits=meta.hits,
        misses=meta.misses,
        oldest_used_at=next((row.used_at for _, row in store.least_recently_used()), None),
    )


def unfinished_bytes(root: Root) -> int:
    """Return the bytes of disk that partials and quarantine cost."""
    return _cost_of_files(root.partials) + _cost_of_files(root.quarantine)


def _cost_of_files(folder: Path) -> int:
    """Return the bytes of disk that the files directly in `folder` cost, 0 when there is no such folder."""
    try:
        with os.scandir(folder) as files:
            return sum(file.stat(follow_symlinks=False).st_blocks * 512 for file in files)
    except FileNotFoundError:
        return 0
