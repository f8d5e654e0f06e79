"""Entries out: rows and the unlink of a blob in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from cachestore.blobs import is_file, witness_of
from cachestore.root import cost_of_file
from cachestore.rows import BLOBS, ENTRIES, TRACKS, TrackRow

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from cachestore.blobs import Blobs
    from cachestore.entry import Entry
    from cachestore.rows import BlobRow
    from cachestore.store.ledger import Ledger
    from cachestore.track import Track

GONE = "gone already"
LOCKED = "locked against removal"


@dataclass(frozen=True, slots=True)
class Eviction:
    """What became of an entry that was to go: the bytes of disk that it freed, or why it stayed.

    `key` is the digest where a blob without entries was to go.
    """

    key: str
    freed: int = 0
    kept_because: str = ""


MayGo = Callable[["Entry", "BlobRow | None"], str]


def read_entries(ledger: Ledger, keys: Sequence[str]) -> None:
    """Read all rows that evicting these entries asks for."""
    ledger.read(ENTRIES, keys)
    entries = [entry for key in keys if (entry := ledger.entry(key))]
    ledger.read(TRACKS, (entry.address for entry in entries))
    ledger.read(BLOBS, (entry.digest for entry in entries))


def evict(ledger: Ledger, blobs: Blobs, quarantine: Path, key: str, may_go: MayGo) -> Eviction:
    """Remove an entry, and its blob with its last key, unless `may_go` says why it must stay; a track's pin stays."""
    entry = ledger.entry(key)
    if entry is None:
        return Eviction(key, kept_because=GONE)
    track = ledger.track(entry.address)
    if track.pinned and track.kept[:1] == (entry.version.hex,):
        entry = replace(entry, pinned=True)
    if reason := may_go(entry, ledger.blob(entry.digest)):
        return Eviction(key, kept_because=reason)
    try:
        freed = _release(ledger, blobs, quarantine, entry)
    except PermissionError:
        return Eviction(key, kept_because=LOCKED)
    ledger.drop_entry(key)
    ledger.put_track(entry.address, track.without(entry.version.hex))
    return Eviction(key, freed=freed)


def remove(ledger: Ledger, blobs: Blobs, quarantine: Path, entry: Entry, may_go: MayGo, *, unpin: bool) -> Eviction:
    """Remove an entry as `evict` does; with `unpin` the pin of its track goes with the last of its versions."""
    eviction = evict(ledger, blobs, quarantine, entry.key, may_go)
    if unpin and not ledger.track(entry.address).kept:
        ledger.put_track(entry.address, TrackRow())
    return eviction


def _release(ledger: Ledger, blobs: Blobs, quarantine: Path, entry: Entry) -> int:
    """Take the entry's key off its blob, remove the blob with its last key, and return the bytes that freed."""
    row = ledger.blob(entry.digest)
    if row is None:
        return 0
    keys = tuple(key for key in row.keys if key != entry.key)
    if keys:
        ledger.put_blob(entry.digest, row._replace(keys=keys))
        return 0
    return _remove(ledger, blobs, quarantine, entry.digest)


def evict_unindexed(
    ledger: Ledger, blobs: Blobs, quarantine: Path, digest: str, may_go: Callable[[BlobRow], str]
) -> Eviction:
    """Remove a blob that a lost index has left behind, unless `may_go` says why it must stay, or it has entries now."""
    row = ledger.blob(digest)
    if row is None:
        return Eviction(digest, kept_because=GONE)
    if reason := "indexed since" if row.keys else may_go(row):
        return Eviction(digest, kept_because=reason)
    try:
        return Eviction(digest, freed=_remove(ledger, blobs, quarantine, digest))
    except PermissionError:
        return Eviction(digest, kept_because=LOCKED)


def _remove(ledger: Ledger, blobs: Blobs, quarantine: Path, digest: str) -> int:
    """Remove a blob and its row, and return the bytes that freed. Raise PermissionError, leaving both, if it is locked.

    Who locked a file of a bundle has locked the cache's name for it, too.
    """
    info = blobs.stat(digest)
    if info is not None and not is_file(info):
        blobs.move(digest, quarantine)
        ledger.drop_blob(digest)
        return 0
    blobs.remove(digest)
    ledger.drop_blob(digest)
    return cost_of_file(info) if info is not None and info.st_nlink == 1 else 0


class Retired(NamedTuple):
    """What became of a damaged blob: the `bundles` that share it, and where it is `quarantined`, None if it is not."""

    bundles: list[str]
    quarantined: Path | None


def retire(ledger: Ledger, blobs: Blobs, quarantine: Path, digest: str) -> Path | None:
    """Take a damaged blob out of service: its entries keep their rows and are misses until its bytes come again.

    Its last name goes to quarantine, and its path there is returned; where a bundle has the file too, only the cache's
    name is dropped, and the bundle keeps what was made of it.
    """
    row, info = ledger.blob(digest), blobs.stat(digest)
    if row is not None:
        ledger.put_blob(digest, row.put_away())
    if info is not None and is_file(info) and info.st_nlink > 1:
        blobs.remove(digest)
        return None
    return None if info is None else blobs.move(digest, quarantine, is_rot=_is_rot(row, info))


def _is_rot(row: BlobRow | None, info: os.stat_result) -> bool:
    """Return whether a blob with other bytes is the disk's work, and nobody's: who writes to a file changes its stat.

    A row without a boot tells that a change could be hidden.
    """
    return row is not None and row.boot != "" and witness_of(info) == row.witness


def set_pinned(ledger: Ledger, track: Track, entries: list[Entry], *, pinned: bool) -> None:
    """Pin or unpin a track, which follows its newest version, or the one version that `track` names."""
    if track.version is None:
        ledger.put_track(track.address, ledger.track(track.address)._replace(pinned=pinned))
    for entry in entries if track.version is not None or not pinned else ():
        if stored := ledger.entry(entry.key):
            ledger.put_entry(replace(stored, pinned=pinned))
