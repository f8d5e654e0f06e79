"""Finished bodies in: a rename and its rows in one transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cachestore.blobs import equal_bytes, hash_file, is_file, witness_of
from cachestore.entry import Entry
from cachestore.errors import DigestCollision
from cachestore.rows import BLOB, ENTRY, TRACK, BlobRow, TrackRow, entry_from_row, entry_to_row, get_as
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from cachestore.blobs import Blobs, Witness
    from cachestore.index.writer import Transaction
    from cachestore.media import Media
    from cachestore.track import Track


@dataclass(frozen=True, slots=True)
class Incoming:
    """A finished body on its way into the store; `path` lies on the store's filesystem and is given up to it."""

    track: Track
    version: Version | None
    path: Path
    digest: str
    size: int
    media: Media


def compare(blobs: Blobs, item: Incoming) -> Witness | None:
    """Return the witness of a blob that has the same bytes, None if there is none.

    All bytes are compared: xxh3 finds accidents, not attackers. A blob that is there but damaged does not count. Raise
    DigestCollision when it is whole and has other bytes.
    """
    info = blobs.stat(item.digest)
    if info is None or not is_file(info):
        return None
    try:
        if equal_bytes(item.path, blobs.path(item.digest)):
            return witness_of(info)
        is_whole = hash_file(blobs.path(item.digest)) == item.digest
    except FileNotFoundError:  # evicted meanwhile
        return None
    if is_whole:
        raise DigestCollision(item.digest)
    return None


def publish(rows: Transaction, blobs: Blobs, boot: str, item: Incoming) -> Entry:
    """Give the body its place among the blobs, unless it is there already, write its rows and return its entry."""
    info = blobs.stat(item.digest)
    if info is None:
        info = blobs.publish(item.path, item.digest)
    else:
        item.path.unlink(missing_ok=True)
    entry = _entry(rows, item)
    track = get_as(rows, TRACK + entry.address, TrackRow.from_row) or TrackRow()
    rows.set(BLOB + item.digest, _blob_row(rows, entry, info, boot).to_row())
    rows.set(TRACK + entry.address, track.with_current(entry.version.hex).to_row())
    rows.set(ENTRY + entry.key, entry_to_row(entry))
    return replace(entry, pinned=entry.pinned or track.pinned)


def _blob_row(rows: Transaction, entry: Entry, info: os.stat_result, boot: str) -> BlobRow:
    before = get_as(rows, BLOB + entry.digest, BlobRow.from_row)
    keys = dict.fromkeys((*(before.keys if before else ()), entry.key))
    return BlobRow(info.st_size, info.st_blocks * 512, witness_of(info), boot, tuple(keys))


def _entry(rows: Transaction, item: Incoming) -> Entry:
    """Return the entry to store: its version gets our digest when the same validator stands for other bytes."""
    now = time.time()
    entry = Entry(
        source=item.track.source,
        id=item.track.id,
        version=item.version or Version(VersionKind.DIGEST, item.digest),
        digest=item.digest,
        size=item.size,
        media_type=item.media.media_type,
        ext=item.media.ext,
        label=item.track.label,
        stored_at=now,
        validated_at=now,
        used_at=now,
    )
    before = get_as(rows, ENTRY + entry.key, entry_from_row)
    if before is not None and before.digest != item.digest:
        entry = replace(entry, version=replace(entry.version, digest=item.digest))
        before = get_as(rows, ENTRY + entry.key, entry_from_row)
    return replace(entry, pinned=before.pinned) if before else entry
