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
        boot = boot if info is not None and info.st_nlink == 1 else ""  # by another name it may be edited just now
    elif blobs.stat(entry.digest) is None:
        info, boot = _linked(path, blobs.make_room(entry.digest), seen), ""
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
    links.link(path, place, LinkMode.HARDLINK)
    info = place.lstat()
    if witness_of(info)._replace(ctime_ns=seen.ctime_ns) == seen:
        return info
    place.unlink()
    return None


def _write(ledger: Ledger, entry: Entry, info: os.stat_result, boot: str) -> None:
    add_blob(ledger, entry.digest, info, boot, (entry.key,))
    ledger.keep(entry)
    ledger.put_entry(entry)
