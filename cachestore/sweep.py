"""What crashes leave behind, and nobody will come back for: dead runs, old partials, lost rows, old quarantine.

One walk finds what goes; `foresee` adds it up, `sweep` takes it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from cachestore.blobs import is_file, moved_at
from cachestore.errors import AddressError, Cancelled
from cachestore.partials import abandoned
from cachestore.partials.sidecar import sidecar_of
from cachestore.rows import NO_FILE, BlobRow, Totals, batches
from cachestore.runs import is_alive, remove_if_dead, remove_unnamed, run_ids, staging_suffix
from cachestore.store.costs import cost_of, files_below
from cachestore.track import parse_address
from cachestore.usage import QUARANTINE_SHARE

if TYPE_CHECKING:
    import os
    import threading
    from collections.abc import Iterable, Iterator, Sequence

    from cachestore.partials import Abandoned
    from cachestore.partials.sidecar import Sidecar
    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store

T = TypeVar("T")

_OLD_PARTIAL = 7 * 86400.0
_OLD_QUARANTINE = 30 * 86400.0
_LONGEST_BEGINNING = 60.0


def sweep(store: Store, now: float, cancel: threading.Event | None = None, *, max_size: float) -> None:
    """Take what is left of dead runs and what nothing refers to, and bring up to date what counts and is held.

    What is to be old was so at the sweep before, too: one clock that is ahead takes nothing. Quarantine is cut down to
    its share of `max_size`. Raise Cancelled when `cancel` is set.
    """
    for found in _findings(store, now, max_size, cancel):
        found.take(store)
    remove_unnamed(store.root.runs, now - _LONGEST_BEGINNING)
    store.look_at_bundles()
    store.swept(now)


def trim_quarantine(store: Store, max_size: float) -> None:
    """Cut quarantine down to its share of `max_size`, for who enforces that and does not sweep."""
    for found in _surplus_of_quarantine(store.root.quarantine, 0.0, max_size * QUARANTINE_SHARE):
        found.take(store)


@dataclass(slots=True)
class Leftovers:
    """What a sweep gives back, in bytes of disk: `disk` in all, `partial` and `quarantine` of what max_size bounds.

    `links` are how many names go of each inode that has others, `unindexed` the blobs that come to count, `lost` what
    blobs count for too much that are gone, or cost something else by now.
    """

    disk: int = 0
    partial: int = 0
    quarantine: int = 0
    links: Counter[int] = field(default_factory=Counter)
    unindexed: list[tuple[str, BlobRow]] = field(default_factory=list)
    lost: Totals = field(default_factory=Totals)

    @property
    def bounded(self) -> int:
        """Return those of the bytes that max_size bounds."""
        return self.partial + self.quarantine + self.lost.exclusive

    @property
    def unindexed_cost(self) -> int:
        """Return the bytes of disk that come to count."""
        return sum(row.cost for _, row in self.unindexed)

    @property
    def change(self) -> Totals:
        """Return what is added to the totals."""
        return sum((Totals.of(row) for _, row in self.unindexed), -self.lost)

    def add(self, files: Iterable[os.stat_result]) -> None:
        """Count files that go."""
        for info in files:
            if info.st_nlink > 1:
                self.links[info.st_ino] += 1
            if self.links.get(info.st_ino, 1) == info.st_nlink:  # all its names go
                self.disk += info.st_blocks * 512


def foresee(store: StoreReader, now: float, cancel: threading.Event | None = None, *, max_size: float) -> Leftovers:
    """Return what a sweep would give back, and take nothing. Raise Cancelled when `cancel` is set."""
    left = Leftovers()
    for found in _findings(store, now, max_size, cancel):
        found.foresee(store, left)
    left.unindexed.sort(key=lambda blob: blob[1].used_at)
    return left


class _Finding(Protocol):
    """Something that a sweep takes."""

    def foresee(self, store: StoreReader, left: Leftovers) -> None:
        """Add what that gives back to what is `left`."""

    def take(self, store: Store) -> None:
        """Take it, if it is still so."""


def _findings(store: StoreReader, now: float, max_size: float, cancel: threading.Event | None) -> Iterator[_Finding]:
    """Yield what is to be taken, in an order that may be taken while this is walked."""
    known_old_at = min(now, store.meta().swept_at)
    yield from map(_Partial, _dead_partials(store, known_old_at))
    yield from dead_runs(store)
    yield from map(_Unindexed, _until(cancel, store.unindexed()))
    yield _Misjudged(cancel)
    yield from _surplus_of_quarantine(store.root.quarantine, known_old_at, max_size * QUARANTINE_SHARE)


@dataclass(frozen=True, slots=True)
class _Partial:
    """A partial that nobody will go on with."""

    partial: Abandoned

    def foresee(self, _: StoreReader, left: Leftovers) -> None:
        for path in {self.partial.path, sidecar_of(self.partial.path)}:
            left.partial += cost_of(path)
            left.add(files_below(path))

    def take(self, _: Store) -> None:
        self.partial.remove()


@dataclass(frozen=True, slots=True)
class _DeadRun:
    """A run that has died: its lock file, its staging folders in `dest` or beside it, and its rows, if it has any."""

    id: str
    dest: str | None
    has_row: bool

    def foresee(self, _: StoreReader, left: Leftovers) -> None:
        for staging in self._staged():
            left.add(files_below(staging))

    def take(self, store: Store) -> None:
        if not remove_if_dead(store.root.runs, self.id):
            return
        for staging in self._staged():
            shutil.rmtree(staging, ignore_errors=True)
        # An unplugged disk may come back, and then nothing but the row tells what lies there.
        if self.has_row and (self.dest is None or Path(self.dest).parent.is_dir()):
            store.forget_runs([self.id])

    def _staged(self) -> Iterator[Path]:
        for place in (Path(self.dest), Path(self.dest).parent) if self.dest is not None else ():
            for staging in _children(place):
                # The name ends in the run's id: nothing else can be meant.
                if staging.name.endswith(staging_suffix(self.id)) and not staging.is_symlink():
                    yield staging


@dataclass(frozen=True, slots=True)
class _Unindexed:
    """Blobs without a row: a lost index or a crash has left them behind. They come to count, and nothing is removed."""

    digests: Sequence[str]

    def foresee(self, store: StoreReader, left: Leftovers) -> None:
        for digest in self.digests:
            info = store.blobs.stat(digest)
            if info is not None and is_file(info):
                row = BlobRow(0, 0, NO_FILE, "", (), info.st_mtime).seen(info, "")
                left.unindexed.append((digest, row))

    def take(self, store: Store) -> None:
        store.bill(self.digests)


@dataclass(frozen=True, slots=True)
class _Misjudged:
    """The rows of blobs that cost something else by now: they are gone, by a kill in between, or were edited."""

    cancel: threading.Event | None

    def foresee(self, store: StoreReader, left: Leftovers) -> None:
        change, leases, pinned = store.held_change(), store.leases(), store.pinned()
        for batch in self._rows(store):
            entries = store.entries_of(key for row, right in batch.values() if right is None for key in row.keys)
            for digest, (row, right) in batch.items():
                less = row.cost - (right.cost if right else 0)
                exclusive, held = (0, less) if change.is_held(digest, row) else (less, 0)
                left.lost += Totals(exclusive=exclusive, held=held)
                if right is None and not leases.on_blob(digest):
                    going = sum(key in entries and key not in pinned for key in row.keys)
                    goes = going == len(row.keys)
                    left.lost += Totals(entries=going, blobs=goes, logical=row.size if goes else 0)

    def take(self, store: Store) -> None:
        for batch in self._rows(store):
            lost = {digest: row for digest, (row, right) in batch.items() if right is None}
            keys = [key for row in lost.values() for key in row.keys]
            store.evict(keys, lambda entry, _: "pinned" if entry.pinned else "")
            store.evict_unindexed(digest for digest, row in lost.items() if not row.keys)
            store.cost_anew([*batch])

    def _rows(self, store: StoreReader) -> Iterator[dict[str, tuple[BlobRow, BlobRow | None]]]:
        """Yield, in batches, such rows, and what they should be: None when the blob is gone."""
        for batch in _until(self.cancel, batches(store.blob_rows())):
            infos = {digest: store.blobs.stat(digest) for digest, _ in batch}
            found = {digest: (row, row.costed(info) if (info := infos[digest]) else None) for digest, row in batch}
            if wrong := {digest: rows for digest, rows in found.items() if rows[0] != rows[1]}:
                yield wrong


@dataclass(frozen=True, slots=True)
class _Quarantined:
    """A file or folder in quarantine that has been there for long, or is more than there is room for."""

    path: Path

    def foresee(self, _: StoreReader, left: Leftovers) -> None:
        left.quarantine += cost_of(self.path)
        left.add(files_below(self.path))

    def take(self, _: Store) -> None:
        with suppress(OSError):
            is_folder = self.path.is_dir() and not self.path.is_symlink()
            shutil.rmtree(self.path) if is_folder else self.path.unlink()


def _until(cancel: threading.Event | None, batches: Iterable[list[T]]) -> Iterator[list[T]]:
    """Yield what is in batches until `cancel` is set, which raises Cancelled: every file is looked at for them."""
    for batch in batches:
        if cancel is not None and cancel.is_set():
            raise Cancelled
        if batch:
            yield batch


def _dead_partials(store: StoreReader, known_old_at: float) -> Iterator[Abandoned]:
    """Yield what is old, and what is claimed and of no use; nothing claimed while a run lives that may own it."""
    left = list(abandoned(store.root.partials, before=known_old_at - _OLD_PARTIAL))
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


def dead_runs(store: StoreReader) -> Iterator[_DeadRun]:
    """Yield the runs that have died; `take` removes what one left behind."""
    folder, known = store.root.runs, dict(store.runs())
    for run_id in {*known, *run_ids(folder)}:
        if not is_alive(folder, run_id):
            run = known.get(run_id)
            yield _DeadRun(run_id, run.dest if run else None, has_row=run is not None)


def _surplus_of_quarantine(folder: Path, known_old_at: float, room: float) -> Iterator[_Quarantined]:
    """Yield what was put into quarantine long ago, and the oldest of what has no room there.

    Its name says when: its own times mean something else. What does not say so was put there by somebody else.
    """
    dated = ((moved_at(path.name), path) for path in _children(folder))
    found = sorted((when, path, cost_of(path)) for when, path in dated if when is not None)
    surplus = sum(cost for _, _, cost in found) - room
    for when, path, cost in found:
        if surplus > 0 or when < known_old_at - _OLD_QUARANTINE:
            surplus -= cost
            yield _Quarantined(path)


def _children(folder: Path) -> Iterable[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []
