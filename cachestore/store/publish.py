"""Finished bodies in: a rename and its rows in one transaction."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from cachestore.blobs import equal_bytes, hash_file, is_file, witness_of
from cachestore.entry import Entry
from cachestore.errors import DigestCollision
from cachestore.rows import BLOBS, ENTRIES, NO_FILE, TRACKS, BlobRow
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cachestore.blobs import Blobs, Witness
    from cachestore.media import Media
    from cachestore.store.ledger import Ledger
    from cachestore.store.values import Values
    from cachestore.track import Track


class Incoming(NamedTuple):
    """A finished body on its way into the store; `path` lies on the store's filesystem and is given up to it.

    `place` is a hash of the path and query that delivered them.
    """

    track: Track
    version: Version | None
    path: Path
    digest: str
    size: int
    media: Media
    place: str = ""


def compare(blobs: Blobs, item: Incoming, info: os.stat_result) -> Witness | None:
    """Return the witness of the blob with the stat `info` if it has the same bytes, else None.

    All bytes are compared: xxh3 finds accidents, not attackers. A blob that is there but damaged does not count. Raise
    DigestCollision when it is whole and has other bytes, FileNotFoundError when the body itself is gone.
    """
    if not is_file(info):
        return None
    try:
        if equal_bytes(item.path, blobs.path(item.digest)):
            return witness_of(info)
        is_whole = hash_file(blobs.path(item.digest)) == item.digest
    except FileNotFoundError:  # the blob was evicted meanwhile
        if not item.path.exists():
            raise
        return None
    if is_whole:
        raise DigestCollision(item.digest)
    return None


def distinct(incoming: Sequence[Incoming]) -> list[Incoming]:
    """Return one body of each digest. Raise DigestCollision when others of the same digest have other bytes."""
    firsts: dict[str, Incoming] = {}
    for item in incoming:
        first = firsts.setdefault(item.digest, item)
        if first is not item and not equal_bytes(first.path, item.path):
            raise DigestCollision(item.digest)
    return [*firsts.values()]


def read_ahead(ledger: Ledger, incoming: Sequence[Incoming]) -> None:
    """Read the rows that `publish` will look at, all at once."""
    ledger.read(BLOBS, {item.digest for item in incoming})
    ledger.read(TRACKS, {item.track.address for item in incoming})
    ledger.read(ENTRIES, {f"{item.track.address}@{_version(item).hex}" for item in incoming})


def publish(
    ledger: Ledger,
    blobs: Blobs,
    boot_of: Callable[[os.stat_result], str],
    item: Incoming,
    seen: dict[str, os.stat_result | None],
) -> Entry:
    """Give the body its place among the blobs, unless it is there already, write its rows and return its entry.

    A body that is not needed stays at its path. `seen` has the blob's stat, or gets it; `boot_of` says of it in which
    boot it is known to be whole.
    """
    info = seen[item.digest]
    if info is None:
        info = seen[item.digest] = blobs.publish(item.path, item.digest)
    entry = _entry(ledger, item)
    add_blob(ledger, item.digest, info, boot_of(info), (entry.key,))
    track = ledger.track(entry.address)
    ledger.put_track(entry.address, track.with_current(entry.version.hex))
    ledger.put_entry(entry)
    return replace(entry, pinned=True) if track.pinned else entry


def take_back(ledger: Ledger, blobs: Blobs, item: Incoming) -> None:
    """Give a body whose rows could not be written its path again, unless another process uses the blob by now."""
    if ledger.blob(item.digest) is None:
        with suppress(FileNotFoundError):
            blob = blobs.path(item.digest)
            blob.chmod(0o600)  # it will be written to
            blob.rename(item.path)


def add_blob(values: Values, digest: str, info: os.stat_result, boot: str, keys: tuple[str, ...]) -> None:
    """Write the row of a blob as its stat has it, with `keys` besides those it has."""
    before = values.blob(digest) or BlobRow(0, 0, NO_FILE, "", keys, info.st_mtime)
    row = before.seen(info, boot)
    if info.st_nlink > 1 and info.st_ino != before.witness.inode:
        values.look_again()
    missing = [key for key in keys if key not in row.keys]
    values.put_blob(digest, row._replace(keys=(*row.keys, *missing)) if missing else row)


def _version(item: Incoming) -> Version:
    return item.version or Version(VersionKind.DIGEST, item.digest)


def _entry(ledger: Ledger, item: Incoming) -> Entry:
    """Return the entry to store: its version gets our digest when the same validator stands for other bytes."""
    now = time.time()
    entry = Entry(
        source=item.track.source,
        id=item.track.id,
        version=_version(item),
        digest=item.digest,
        size=item.size,
        media_type=item.media.media_type,
        ext=item.media.ext,
        label=item.track.label,
        stored_at=now,
        validated_at=now,
        used_at=now,
        place=item.place,
    )
    before = ledger.entry(entry.key)
    if before is not None and before.digest != item.digest:
        entry = replace(entry, version=replace(entry.version, digest=item.digest))
        before = ledger.entry(entry.key)
    return replace(entry, pinned=before.pinned) if before else entry
