"""Looking at bundles: which blobs a folder has hard links to, without listing folders that have not changed."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from cachestore.rows import BUNDLES, STAMPS, Totals, batches
from cachestore.rows.content import holders_with
from cachestore.rows.registry import LOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Set
    from pathlib import Path

    from cachestore.blobs import Blobs
    from cachestore.rows import BlobRow, Bundle, StampsRow
    from cachestore.rows.registry import Stamp
    from cachestore.store.rows_reader import RowsReader

# A folder may change twice within one tick of its filesystem's clock, and look the same: such a stamp proves nothing.
_TICK = 2.0


@dataclass(frozen=True, slots=True)
class HeldChange:
    """What a look at the bundles would change: the blobs that come to be held and those that cease, and their cost."""

    gained: Mapping[str, int]
    lost: Mapping[str, int]

    @property
    def totals(self) -> Totals:
        """Return what the look would add to the totals."""
        cost = sum(self.gained.values()) - sum(self.lost.values())
        return Totals(exclusive=-cost, held=cost)

    def is_held(self, digest: str, row: BlobRow) -> bool:
        """Return whether a bundle has the file of the blob too, as things are now."""
        return digest in self.gained or (row.is_held and digest not in self.lost)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look at a bundle saw: its folders' stamps before they were listed, and the inode of each of its `files`.

    A file is known here by the digest that it was linked with.
    """

    stamps: Mapping[str, Stamp]
    files: Set[tuple[str, int]]

    def is_proof(self, now: float) -> bool:
        """Return whether folders that will have the same stamps are the same, the stamps being taken after `now`."""
        return all(max(times) < (now - _TICK) * 1e9 for _, *times in self.stamps.values())

    def holds(self, digest: str, row: BlobRow) -> bool:
        """Return whether the bundle has a hard link to the blob: a file counts when its inode is the blob's."""
        return (digest, row.witness.inode) in self.files


def look_at(bundle: Bundle, device: int) -> Sight:
    """List the folders of a bundle, once each; a lost bundle has none, and what is not on the blobs' `device` no links.

    An inode is one file on one filesystem only.
    """
    infos = {folder: _stat(bundle.dest / folder) for folder in bundle.folders}
    stamps = {folder: _stamp(info) for folder, info in infos.items()}
    near = [folder for folder, info in infos.items() if info is not None and info.st_dev == device]
    linked = bundle.linked
    found = (pair for folder in near for pair in _inodes(bundle.dest, folder))
    return Sight(stamps, {(linked[file], inode) for file, inode in found if file in linked})


def is_deleted(dest: Path) -> bool:
    """Return whether a bundle's folder is gone while the folder around it is there: deleted or moved, not unplugged."""
    try:
        return dest.parent.is_dir() and not dest.exists()
    except OSError:
        return False


def changed(store: RowsReader) -> Iterator[str]:
    """Yield the ids of the bundles whose folders are not as they were at the last look, and of those deleted."""
    looks = None if store.is_moved() else store.meta().looks
    for ids in batches(store.names(BUNDLES)):
        known = store.get_many(STAMPS, ids)
        yield from (bundle_id for bundle_id in ids if _has_changed(known.get(bundle_id), looks))


def _has_changed(row: StampsRow | None, looks: int | None) -> bool:
    if row is None or row.stamps is None or row.looks != looks:
        return True
    return _stamps(row.dest, row.stamps) != row.stamps or (row.is_lost and is_deleted(row.dest))


def held_change(store: RowsReader, blobs: Blobs, dead: Mapping[str, Iterable[str]]) -> HeldChange:
    """Return what a look would change, and a sweep of `dead` runs, which may hold these digests.

    Only bundles that changed are listed.

    In a store that was moved the files of blobs are looked at, too: what their rows say of holders is of other files.
    """
    is_moved = store.is_moved()
    judged: dict[str, _Judged] = {}
    of_dead = ((run_id, Sight({}, frozenset()), digests) for run_id, digests in dead.items())
    for holder, sight, digests in chain(_looks(store), of_dead):
        for digest, found in _blob_rows(store, digests):
            row = found.costed(blobs.stat(digest)) if is_moved else found
            holds = sight.holds(digest, row)
            if digest not in judged and row is found and holds == (holder in row.holders):
                continue  # as for most: a bundle can be large
            before = judged.get(digest) or _Judged(found.cost, found.is_held, row.is_held, row.holders)
            judged[digest] = before._replace(holders=holders_with(before.holders, holder, holds=holds))
    return HeldChange(
        gained={digest: one.cost for digest, one in judged.items() if one.holders and not one.is_held},
        lost={digest: one.cost for digest, one in judged.items() if one.was_held and not (one.holders and one.is_held)},
    )


class _Judged(NamedTuple):
    """What a blob costs, whether its row has holders, and would for the file of now, and who they are by now."""

    cost: int
    was_held: bool
    is_held: bool
    holders: tuple[str, ...]


def _blob_rows(store: RowsReader, digests: Iterable[str]) -> Iterator[tuple[str, BlobRow]]:
    for batch in batches(digests):
        yield from store.blob_rows_of(batch).items()


def _looks(store: RowsReader) -> Iterator[tuple[str, Sight, Iterable[str]]]:
    """Yield each bundle that may hold other blobs than before, what is to be seen of it, and the digests to judge."""
    device = store.root.device
    for bundle_id in changed(store):
        if bundle := store.bundle(bundle_id):
            yield bundle_id, look_at(bundle, device), digests_of(bundle, store.stamps(bundle_id))


def digests_of(bundle: Bundle, stamps: StampsRow | None) -> list[str]:
    """Return the digests whose blobs may name the bundle as a holder, or should."""
    return list(dict.fromkeys((*bundle.linked.values(), *(stamps.former if stamps else ()))))


def _stamps(dest: Path, folders: Iterable[str]) -> dict[str, Stamp]:
    return {folder: _stamp(_stat(dest / folder)) for folder in folders}


def _stat(folder: Path) -> os.stat_result | None:
    with suppress(OSError):
        return folder.stat()
    return None


def _stamp(info: os.stat_result | None) -> Stamp:
    if info is None:
        return LOST
    return info.st_ino, info.st_mtime_ns, info.st_ctime_ns  # who restores a backup sets the mtime back


def _inodes(dest: Path, folder: str) -> Iterator[tuple[str, int]]:
    with suppress(OSError), os.scandir(dest / folder) as files:
        for file in files:
            yield file.name if folder == "." else f"{folder}/{file.name}", file.inode()
