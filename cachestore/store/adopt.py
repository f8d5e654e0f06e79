"""Bytes that are here already, indexed again as a bundle knows them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore import links
from cachestore.blobs import witness_of
from cachestore.links import LinkMode
from cachestore.store.publish import add_blob

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from cachestore.blobs import Blobs, Witness
    from cachestore.entry import Entry
    from cachestore.rows import TrackRow
    from cachestore.store.ledger import Ledger


def adopt(ledger: Ledger, blobs: Blobs, boot: str, entry: Entry, path: Path, seen: Witness) -> bool:
    """Write the rows of `entry`, whose bytes were found at `path` when it had the witness `seen`.

    `path` is the place of the blob, or a file that is linked there. Return False, and write nothing, when anything was
    changed since. Raise LinkError when no link can be made.
    """
    before = ledger.entry(entry.key)
    if before is not None and before.digest != entry.digest:
        return False
    place = blobs.path(entry.digest)
    if path == place:
        info = blobs.stat(entry.digest)
    elif blobs.stat(entry.digest) is None:
        info, boot = _linked(path, place, seen), ""
    else:
        info = None
    if info is None or (path == place and witness_of(info) != seen):
        return False
    _write(ledger, replace(entry, pinned=before.pinned) if before else entry, info, boot)
    return True


def _linked(path: Path, place: Path, seen: Witness) -> os.stat_result | None:
    """Link `path` to `place`, and return its stat, None when it is not the file that was seen.

    The link gives the file another ctime, so that a change right before it would not show: the caller has it hashed
    again at its next use.
    """
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    links.link(path, place, LinkMode.HARDLINK)
    info = place.lstat()
    if witness_of(info)._replace(ctime_ns=seen.ctime_ns) == seen:
        return info
    place.unlink()
    return None


def _write(ledger: Ledger, entry: Entry, info: os.stat_result, boot: str) -> None:
    add_blob(ledger, entry.digest, info, boot, (entry.key,))
    ledger.put_track(entry.address, _with(ledger, ledger.track(entry.address), entry))
    ledger.put_entry(entry)


def _with(ledger: Ledger, track: TrackRow, entry: Entry) -> TrackRow:
    """Return the row of the track with `entry`: the current one if it was confirmed after the one that is."""
    version = entry.version.hex
    if version in track.kept:
        return track
    current = ledger.entry(f"{entry.address}@{track.kept[0]}") if track.kept else None
    if current is None or current.validated_at < entry.validated_at:
        return track.with_current(version)
    return replace(track, kept=(*track.kept, version))
