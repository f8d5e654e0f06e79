"""What the store costs: the figures of `info`, and those that the bound is measured by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.store.costs import cost_of

if TYPE_CHECKING:
    from cachestore.store.reader import StoreReader

# What quarantine may take of max_size: what is damaged shall not starve what is sound.
QUARANTINE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts, and bytes: `logical` as files are long, the others in disk blocks.

    `exclusive` are blobs that only the cache has, `held` those that a bundle has too; `reserved` is what running
    downloads still have to write.
    """

    entries: int
    blobs: int
    pinned: int
    logical_bytes: int
    exclusive_bytes: int
    held_bytes: int
    partial_bytes: int
    quarantine_bytes: int
    reserved_bytes: int
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
        reserved_bytes=store.announced() + store.reserved(),
        hits=meta.hits,
        misses=meta.misses,
        oldest_used_at=next((row.used_at for _, row in store.least_recently_used()), None),
    )
