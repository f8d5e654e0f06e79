"""What crashes leave behind, and nobody will come back for: dead runs, orphans, old partials, lost bundles."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cachestore.blobs import is_file, moved_at
from cachestore.errors import AddressError, Cancelled
from cachestore.partials import abandoned
from cachestore.partials.sidecar import sidecar_of
from cachestore.rows import NO_FILE, BlobRow, batches
from cachestore.runs import is_alive, remove_if_dead, remove_unnamed, run_ids, staging_suffix
from cachestore.track import parse_address

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Sequence

    from cachestore.partials import Abandoned
    from cachestore.partials.sidecar import Sidecar
    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store

_T = TypeVar("_T")
_OLD_PARTIAL = 7 * 86400.0
_OLD_QUARANTINE = 30 * 86400.0
_LONGEST_BEGINNING = 60.0


def sweep(store: Store, now: float, cancel: threading.Event | None = None) -> None:
    """Remove what is left of dead runs, then what nothing refers to, and bring up to date what counts and is held.

    Raise Cancelled when `cancel` is set.
    """
    for partial in _dead_partials(store, now):
        partial.remove()
    _sweep_runs(store)
    remove_unnamed(store.root.runs, now - _LONGEST_BEGINNING)
    for strays in _until(cancel, store.strays()):
        if strays.orphans:
            store.remove_orphans(strays.orphans)
        store.bill(strays.unindexed)
    for batch in batches(_misjudged(store, cancel)):
        lost = {digest: row for digest, row, right in batch if right is None}
        store.evict(
            [key for row in lost.values() for key in row.keys], lambda entry, _: "pinned" if entry.pinned else ""
        )
        store.evict_unindexed(digest for digest, row in lost.items() if not row.keys)
        store.cost_anew([digest for digest, _, _ in batch])
    for path in _old_quarantine(store, now):
        with suppress(OSError):
            shutil.rmtree(path) if _is_folder(path) else path.unlink()
    store.look_at_bundles()


@dataclass(slots=True)
class Leftovers:
    """What a sweep gives back: bytes of disk in all, and those of them that `max_size` bounds.

    `links` are how many names go of each inode that has others, `unindexed` the blobs that come to count, `misjudged`
    those that come to count less, by how much, or more: by less than nothing.
    """

    disk: int = 0
    bounded: int = 0
    links: Counter[int] = field(default_factory=Counter)
    unindexed: Sequence[tuple[str, BlobRow]] = ()
    misjudged: Sequence[tuple[str, BlobRow, int]] = ()

    @property
    def unindexed_cost(self) -> int:
        """Return the bytes of disk that come to count."""
        return sum(row.cost for _, row in self.unindexed)

    def add(self, path: Path) -> int:
        """Count a file that goes, and return the bytes of disk that it gives back."""
        with suppress(OSError):
            info = path.lstat()
            if info.st_nlink == 1:
                self.disk += info.st_blocks * 512
                return info.st_blocks * 512
            self.links[info.st_ino] += 1
        return 0


def foresee(store: StoreReader, now: float, cancel: threading.Event | None = None) -> Leftovers:
    """Return what a sweep would give back, and remove nothing. Raise Cancelled when `cancel` is set."""
    found = Leftovers()
    for partial in _dead_partials(store, now):
        found.bounded += sum(found.add(path) for path in {partial.path, sidecar_of(partial.path)})
    for path in _old_quarantine(store, now):
        found.bounded += sum(found.add(file) for file in _files(path))
    for run_id, run in store.runs():
        if not is_alive(store.root.runs, run_id):
            for file in (file for staging in _staged(run_id, run.dest) for file in _files(staging)):
                found.add(file)
    unindexed: list[tuple[str, BlobRow]] = []
    for strays in _until(cancel, store.strays()):
        for digest in strays.orphans:
            found.add(store.blobs.path(digest))
        unindexed += _as_billed(store, strays.unindexed)
    found.misjudged = [
        (digest, row, row.cost - (right.cost if right else 0)) for digest, row, right in _misjudged(store, cancel)
    ]
    found.unindexed = sorted(unindexed, key=lambda blob: blob[1].used_at)
    return found


def _as_billed(store: StoreReader, unindexed: Iterable[str]) -> Iterator[tuple[str, BlobRow]]:
    """Yield blobs that a lost index has left behind, with the rows that a sweep would give them."""
    for digest in unindexed:
        info = store.blobs.stat(digest)
        if info is not None and is_file(info):
            yield digest, BlobRow(0, 0, NO_FILE, "", (), info.st_mtime).seen(info, "")


def _misjudged(store: StoreReader, cancel: threading.Event | None) -> Iterator[tuple[str, BlobRow, BlobRow | None]]:
    """Yield the rows of blobs that cost something else by now, and what they should be, None when the blob is gone.

    A killed process had unlinked it, and not yet written that; or it was edited under another name, and has grown.
    """
    for batch in _until(cancel, batches(store.blob_rows())):
        for digest, row in batch:
            info = store.blobs.stat(digest)
            if info is None or row.costed(info) != row:
                yield digest, row, None if info is None else row.costed(info)


def _until(cancel: threading.Event | None, found: Iterable[_T]) -> Iterator[_T]:
    """Yield what is `found` until `cancel` is set, which raises Cancelled: every blob is looked at for it."""
    for batch in found:
        if cancel is not None and cancel.is_set():
            raise Cancelled
        yield batch


def _dead_partials(store: StoreReader, now: float) -> Iterator[Abandoned]:
    """Yield what is old, and what is claimed and of no use; nothing claimed while a run lives that may own it."""
    left = list(abandoned(store.root.partials, before=now - _OLD_PARTIAL))
    others = {run_id for run_id, run in store.runs() if run.command != "fetch"}
    a_fetch_lives = any(is_alive(store.root.runs, run_id) for run_id in {*run_ids(store.root.runs)} - others)
    for partial in left:
        if partial.is_claimed and a_fetch_lives:
            continue
        if partial.is_old or not _is_of_use(store, partial.rest):
            yield partial


def _is_of_use(store: StoreReader, rest: Sidecar | None) -> bool:
    """Return whether a partial is one of something that is not in the store yet."""
    if rest is None or rest.version is None:
        return False
    try:
        track = parse_address(rest.address)
    except AddressError:  # no program of ours wrote that
        return False
    return all(entry.version != rest.version for entry in store.kept([track]).get(track.address, []))


def _sweep_runs(store: Store) -> None:
    folder = store.root.runs
    known = dict(store.runs())
    for run_id in {*known, *run_ids(folder)}:
        if not remove_if_dead(folder, run_id):
            continue
        if run_id in known and _sweep_staging(run_id, known[run_id].dest):
            store.forget_runs([run_id])


def _sweep_staging(run_id: str, dest: str | None) -> bool:
    """Remove what a dead run staged, and return whether nothing can be left: an unplugged disk may come back."""
    for staging in _staged(run_id, dest):
        shutil.rmtree(staging, ignore_errors=True)
    return dest is None or Path(dest).parent.is_dir()


def _staged(run_id: str, dest: str | None) -> Iterator[Path]:
    """Yield the folders that a run filled, in its destination or beside it."""
    for place in (Path(dest), Path(dest).parent) if dest is not None else ():
        for staging in _children(place):
            # The name ends in the run's id: nothing else can be meant.
            if staging.name.endswith(staging_suffix(run_id)) and not staging.is_symlink():
                yield staging


def _old_quarantine(store: StoreReader, now: float) -> Iterator[Path]:
    """Yield what was put into quarantine long ago, by its name: its own times mean something else."""
    for path in _children(store.root.quarantine):
        when = moved_at(path.name)
        if when is not None and when < now - _OLD_QUARANTINE:
            yield path


def _children(folder: Path) -> Iterable[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _files(path: Path) -> Iterator[Path]:
    """Yield a file, or the files below a folder."""
    if not _is_folder(path):
        yield path
        return
    for parent, _, names in os.walk(path):
        yield from (Path(parent, name) for name in names)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
