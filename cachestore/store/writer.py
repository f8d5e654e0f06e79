"""Changing the store: the verbs, each one transaction over rows and blobs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore import links
from cachestore.blobs import hash_file, is_file, move_away, witness_of
from cachestore.boot import boot_id
from cachestore.errors import BlobDamaged, Busy
from cachestore.index.writer import Index
from cachestore.links import LinkMode
from cachestore.root import create_root
from cachestore.rows import BLOB, META, RUN, MetaRow, RunRow, get_as
from cachestore.runs import RunLock, is_alive
from cachestore.store.evict import evict, retire, set_pinned
from cachestore.store.pending import PendingWrites
from cachestore.store.publish import compare, publish
from cachestore.store.reader import StoreReader
from cachestore.store.witnesses import Witnesses

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from cachestore.blobs import Witness
    from cachestore.entry import Entry
    from cachestore.root import Root
    from cachestore.rows import Bundle
    from cachestore.store.evict import Eviction
    from cachestore.store.publish import Incoming
    from cachestore.track import Track

_ENTRIES_PER_TRANSACTION = 20
_LONGEST_PAUSE = 0.05


class Store(StoreReader):
    """The store, open for writing; one thread only."""

    def __init__(self, root: Root, index: Index) -> None:
        super().__init__(root, index)
        self._index = index
        self._boot = boot_id()
        self._pending = PendingWrites()
        self._witnesses = Witnesses(self.blobs, self._boot, self._pending)

    @classmethod
    def open(cls, path: Path, cancelled: Callable[[], bool] = lambda: False) -> Store:
        """Open the store at `path`, made if it is not there; `cancelled` ends any wait for another process.

        Raise RootUnusable, RootTooNew, Busy, Cancelled or IndexDamaged.
        """
        root = create_root(path)
        index = Index(root.index, cancelled)
        try:
            if index.get(META) is None:
                _write_meta(index)
        except BaseException:
            index.close()
            raise
        return Store(root, index)

    @staticmethod
    def set_aside_index(path: Path) -> None:
        """Move an index that cannot be opened into quarantine, so that a new one is begun at the next opening."""
        root = create_root(path)
        move_away(root.index, "index", root.quarantine)
        create_root(path)

    def close(self) -> None:
        """Write what was noted and close the index."""
        try:
            self.flush()
        finally:
            super().close()

    @contextmanager
    def cancelled_by(self, cancel: threading.Event) -> Iterator[None]:
        """Let `cancel` end any wait for another process within the block."""
        before, self._index.cancelled = self._index.cancelled, cancel.is_set
        try:
            yield
        finally:
            self._index.cancelled = before

    def put(self, incoming: Sequence[Incoming]) -> list[Entry]:
        """Publish finished bodies, together, and return their entries.

        A body that is stored already, byte for byte, keeps the blob that is there. Raise DigestCollision when other
        bytes with its digest are there, NoSpace, Busy or Cancelled.
        """
        firsts = {item.digest: item for item in reversed(incoming)}
        entries = dict(zip(map(id, firsts.values()), self._put_distinct(list(firsts.values())), strict=True))
        # Bodies of one digest are compared with each other, too: the later with the blob that the first became.
        return [entries.get(id(item)) or self._put_distinct([item])[0] for item in incoming]

    def _put_distinct(self, incoming: Sequence[Incoming]) -> list[Entry]:
        while True:
            compared = {item.digest: self._compare(item) for item in incoming}
            with self._index.transaction() as rows:
                if all(compared[digest] == self._witness(digest) for digest in compared):
                    return [publish(rows, self.blobs, self._boot, item) for item in incoming]
            # A blob came, went or was changed since it was compared: compare again.

    def _compare(self, item: Incoming) -> Witness | None:
        witness = compare(self.blobs, item)
        if witness is None and self.blobs.stat(item.digest) is not None:
            self.retire(item.digest)
        return witness

    def _witness(self, digest: str) -> Witness | None:
        info = self.blobs.stat(digest)
        return None if info is None else witness_of(info)

    def find(self, track: Track) -> Entry | None:
        """Return the current entry of `track`, or the one it pins, if its blob is whole; a miss is None."""
        for entry in self.kept([track]).get(track.address, []):
            if track.version is None or entry.version.matches(track.version):
                return entry if self.is_whole(entry) else None
        return None

    def whole(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return those of `entries` whose blob has the bytes of its digest; all rows are read at once."""
        unseen = [entry.digest for entry in entries if not self._witnesses.has(entry.digest)]
        rows = self.blob_rows_of(unseen)
        return [entry for entry in entries if self._witnesses.is_whole(entry.digest, rows.get(entry.digest))]

    def is_whole(self, entry: Entry) -> bool:
        """Return whether the blob of `entry` has the bytes of its digest."""
        return bool(self.whole([entry]))

    def link(self, entry: Entry, dest: Path, mode: LinkMode) -> LinkMode:
        """Give the blob of `entry` the name `dest` and return the mode used, never AUTO.

        Raise BlobDamaged when the blob is not whole (it is put away, so that the next fetch downloads it), LinkError
        in a strict mode, FileExistsError, or NoSpace.
        """
        if not self.is_whole(entry):
            raise BlobDamaged(entry.digest, entry.label, tuple(self.retire(entry.digest)))
        used = links.link(self.blobs.path(entry.digest), dest, mode)
        if used is LinkMode.HARDLINK:
            self._witnesses.renew(entry.digest)
        return used

    def retire(self, digest: str) -> list[str]:
        """Take a damaged blob out of service, so that its entries are misses, and return the bundles that share it.

        Nobody's bytes are lost: they stay in the bundles, or go to quarantine. A blob that is whole by now stays.
        """
        bundles = [str(bundle.dest) for bundle in self.holders().get(digest, [])]
        judged = self._witness(digest)
        if judged is None or not self._is_healthy(digest):
            with self._index.transaction() as rows:
                if self._witness(digest) == judged:
                    retire(rows, self.blobs, self.root.quarantine, digest)
        return bundles

    def _is_healthy(self, digest: str) -> bool:
        try:
            return is_file(self.blobs.stat(digest)) and hash_file(self.blobs.path(digest)) == digest
        except OSError:
            return False

    def used(self, entries: Iterable[Entry]) -> None:
        """Note that an export used `entries` now."""
        now = time.time()
        for entry in entries:
            self._pending.used(entry, now)

    def validated(self, entry: Entry) -> None:
        """Note that the server confirmed `entry` now as the current version of its track."""
        self._pending.validated(entry, time.time())

    def count(self, *, hits: int, misses: int) -> None:
        """Note how many tracks were found and how many had to be downloaded."""
        self._pending.count(hits, misses)

    def flush(self) -> None:
        """Write what was noted, in small transactions."""
        for batch in self._pending.take():
            with self._index.transaction() as rows:
                batch.write(rows, self._boot)

    def pin(self, track: Track, *, pinned: bool) -> list[Entry]:
        """Pin or unpin what an address names and return it; a track follows its newest version. Raise NotInCache."""
        entries = self.named(track)
        with self._index.transaction() as rows:
            set_pinned(rows, track, entries, pinned=pinned)
        return self.named(track)

    def evict(self, keys: Sequence[str], may_go: Callable[[Entry], str] = lambda _: "") -> list[Eviction]:
        """Remove entries, and the blobs that nobody else needs, and say what became of each.

        `may_go` is asked under the lock, with the entry as it is then, and returns why it must stay, or nothing. What
        a living run has leased stays in any case.
        """
        evictions: list[Eviction] = []
        for start in range(0, len(keys), _ENTRIES_PER_TRANSACTION):
            began = time.monotonic()
            evictions += self._evict_batch(keys[start : start + _ENTRIES_PER_TRANSACTION], may_go)
            # SQLite's waiting is no queue: whoever writes without a pause starves the others.
            time.sleep(min(time.monotonic() - began, _LONGEST_PAUSE))
        return evictions

    def _evict_batch(self, keys: Sequence[str], may_go: Callable[[Entry], str]) -> list[Eviction]:
        with self._index.transaction() as rows:
            leases, quarantine = self.leases(), self.root.quarantine
            return [
                evict(rows, self.blobs, quarantine, key, lambda entry: leases.on(entry) or may_go(entry))
                for key in keys
            ]

    def register(self, bundle: Bundle) -> None:
        """Record an exported folder, replacing what was known of the same destination."""
        with self._index.transaction() as rows:
            rows.set(bundle.row_key, bundle.to_row())

    def forget(self, row_keys: Iterable[str]) -> None:
        """Drop rows that stand for nothing any more: lost bundles, dead runs, damaged rows."""
        with self._index.transaction() as rows:
            for key in row_keys:
                rows.delete(key)

    def forget_runs(self, run_ids: Iterable[str]) -> None:
        """Drop the rows of runs that died."""
        self.forget(RUN + run_id for run_id in run_ids)

    def remove_orphans(self, digests: Sequence[str]) -> list[str]:
        """Remove those of the blobs that no row knows, and return their digests."""
        with self._index.transaction() as rows:
            orphans = [digest for digest in digests if not rows.has(BLOB + digest) and self.blobs.stat(digest)]
            for digest in orphans:
                self.blobs.remove(digest)
        return orphans

    def quarantine_file(self, path: Path) -> bool:
        """Move a file that is no blob from among the blobs into quarantine, and return whether it was there."""
        try:
            move_away(path, path.name, self.root.quarantine)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def run(self, command: str, *, dest: Path | None = None) -> Iterator[str]:
        """Be a living run for the block, with a lock file and a row, and yield the run's id.

        What the run stages for `dest`, in it or beside it, ends in `runs.staging_suffix` of the id: a sweep looks for
        that. Raise Busy when a living run has the same destination.
        """
        lock = RunLock(self.root.runs)
        try:
            with self._index.transaction() as rows:
                if dest is not None and str(dest) in self._destinations():
                    raise Busy(str(dest))
                rows.set(RUN + lock.id, RunRow(command, time.time(), str(dest) if dest else None).to_row())
            try:
                yield lock.id
            finally:
                self.forget([RUN + lock.id])
        finally:
            lock.release()

    def _destinations(self) -> set[str]:
        return {run.dest for run_id, run in self.runs() if run.dest and is_alive(self.root.runs, run_id)}

    def lease(self, run_id: str, digests: Iterable[str]) -> None:
        """Keep blobs from being evicted for as long as the run lives."""
        with self._index.transaction() as rows:
            if row := get_as(rows, RUN + run_id, RunRow.from_row):
                leased = tuple(dict.fromkeys((*row.leased, *digests)))
                rows.set(RUN + run_id, replace(row, leased=leased).to_row())


def _write_meta(index: Index) -> None:
    """Write when the index was begun, unless another process has just done so."""
    with index.transaction() as rows:
        if get_as(rows, META, MetaRow.from_row) is None:
            rows.set(META, MetaRow(time.time()).to_row())
