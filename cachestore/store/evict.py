"""Entries out: rows and the unlink of a blob in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cachestore.blobs import is_file
from cachestore.rows import BLOB, ENTRY, TRACK, BlobRow, TrackRow, entry_from_row, entry_to_row, get_as

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cachestore.blobs import Blobs
    from cachestore.entry import Entry
    from cachestore.index.writer import Transaction
    from cachestore.track import Track


@dataclass(frozen=True, slots=True)
class Eviction:
    """What became of an entry that was to go: the bytes of disk that it freed, or why it stayed."""

    key: str
    freed: int = 0
    kept_because: str = ""


def evict(rows: Transaction, blobs: Blobs, quarantine: Path, key: str, may_go: Callable[[Entry], str]) -> Eviction:
    """Remove an entry, and its blob with its last key, unless `may_go` says why it must stay; a track's pin stays."""
    entry = get_as(rows, ENTRY + key, entry_from_row)
    if entry is None:
        return Eviction(key, kept_because="gone already")
    track = get_as(rows, TRACK + entry.address, TrackRow.from_row) or TrackRow()
    is_pinned = entry.pinned or (track.pinned and track.kept[:1] == (entry.version.hex,))
    if reason := may_go(replace(entry, pinned=is_pinned)):
        return Eviction(key, kept_because=reason)
    rows.delete(ENTRY + key)
    track = track.without(entry.version.hex)
    if track.kept or track.pinned:
        rows.set(TRACK + entry.address, track.to_row())
    else:
        rows.delete(TRACK + entry.address)
    return Eviction(key, freed=_release(rows, blobs, quarantine, entry))


def _release(rows: Transaction, blobs: Blobs, quarantine: Path, entry: Entry) -> int:
    """Take the entry's key off its blob, remove the blob with its last key, and return the bytes that freed."""
    row = get_as(rows, BLOB + entry.digest, BlobRow.from_row)
    if row is None:
        return 0
    keys = tuple(key for key in row.keys if key != entry.key)
    if keys:
        rows.set(BLOB + entry.digest, replace(row, keys=keys).to_row())
        return 0
    info = blobs.stat(entry.digest)
    rows.delete(BLOB + entry.digest)
    if info is not None and not is_file(info):
        blobs.move(entry.digest, quarantine)
        return 0
    blobs.remove(entry.digest)
    return row.cost if info is not None and info.st_nlink == 1 else 0


def retire(rows: Transaction, blobs: Blobs, quarantine: Path, digest: str) -> None:
    """Take a damaged blob out of service: its entries keep their rows and are misses until its bytes come again.

    Its last name goes to quarantine; where a bundle has the file too, only the cache's name is dropped, and the bundle
    keeps what was made of it.
    """
    if row := get_as(rows, BLOB + digest, BlobRow.from_row):
        rows.set(BLOB + digest, replace(row, cost=0, boot="").to_row())
    info = blobs.stat(digest)
    if info is not None and is_file(info) and info.st_nlink > 1:
        blobs.remove(digest)
    elif info is not None:
        blobs.move(digest, quarantine)


def set_pinned(rows: Transaction, track: Track, entries: list[Entry], *, pinned: bool) -> None:
    """Pin or unpin a track, which follows its newest version, or the one version that `track` names."""
    if track.version is None:
        row = get_as(rows, TRACK + track.address, TrackRow.from_row) or TrackRow()
        rows.set(TRACK + track.address, replace(row, pinned=pinned).to_row())
    for entry in entries if track.version is not None or not pinned else ():
        if stored := get_as(rows, ENTRY + entry.key, entry_from_row):
            rows.set(ENTRY + entry.key, entry_to_row(replace(stored, pinned=pinned)))
