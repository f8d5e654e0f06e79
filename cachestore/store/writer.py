"""Changing the store: the verbs, each one transaction over rows and blobs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore import links
from cachestore.boot import boot_id
from cachestore.errors import BlobDamaged, Busy
from cachestore.index.writer import Index
from cachestore.links import LinkMode
from cachestore.root import create_root
from cachestore.rows import BLOB, META, RUN, RunRow, get_as
from cachestore.runs import RunLock, is_alive
from cachestore.store.evict import evict, put_away, set_pinned
from cachestore.store.notes import Notes
from cachestore.store.publish import is_stored, publish
from cachestore.store.reader import StoreReader
from cachestore.store.witnesses import Witnesses

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.root import Root
    from cachestore.rows import Bundle
    from cachestore.store.evict import Eviction
    from cachestore.store.publish import Incoming
    from cachestore.track import Track

_ENTRIES_PER_TRANSACTION = 100


class Store(StoreReader):
    """The store, open for writing; one thread only."""

    def __init__(self, root: Root, index: Index) -> None:
        super().__init__(root, index)
        self._index = index
        self._boot = boot_id()
        self._notes = Notes()
        self._witnesses = Witnesses(self.blobs, self._boot, self._notes)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the store at `path`, made if it is not there. Raise RootUnusable, RootTooNew, Busy or IndexDamaged."""
        root = create_root(path)
        index = Index(root.index)
        if index.get(META) is None:
            with index.transaction() as rows:
                rows.set(META, rows.get(META) or {"created_at": time.time(), "hits": 0, "misses": 0})
        return Store(root, index)

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
        """Publish finished bodies in one transaction and return their entries.

        A body that is stored already, byte for byte, keeps the blob that is there. Raise DigestCollision when other
        bytes with its digest are there, NoSpace, Busy or Cancelled; then nothing was stored.
        """
        while True:
            present = {item.digest for item in incoming if self._is_stored(item)}
            with self._index.transaction() as rows:
                if all(item.digest in present or self.blobs.stat(item.digest) is None for item in incoming):
                    return [publish(rows, self.blobs, self._boot, item) for item in incoming]
            # Another process published one of them since it was compared: compare it as well.

    def _is_stored(self, item: Incoming) -> bool:
        if is_stored(self.blobs, item):
            return True
        if self.blobs.stat(item.digest) is not None:
            self.put_away(item.digest)
        return False

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
            raise BlobDamaged(entry.digest, entry.label, tuple(self.put_away(entry.digest)))
        used = links.link(self.blobs.path(entry.digest), dest, mode)
        if used is LinkMode.HARDLINK:
            self._witnesses.renew(entry.digest)
        return used

    def put_away(self, digest: str) -> list[str]:
        """Take a damaged blob out of service, so that its entries are misses, and return the bundles that share it.

        Nobody's bytes are lost: they stay in the bundles, or go to quarantine.
        """
        bundles = [str(bundle.dest) for bundle in self.holders().get(digest, [])]
        with self._index.transaction() as rows:
            put_away(rows, self.blobs, self.root.quarantine, digest)
        return bundles

    def used(self, entries: Iterable[Entry]) -> None:
        """Note that an export used `entries` now."""
        now = time.time()
        for entry in entries:
            self._notes.used(entry, now)

    def validated(self, entry: Entry) -> None:
        """Note that the server confirmed `entry` now as the current version of its track."""
        self._notes.validated(entry, time.time())

    def count(self, *, hits: int, misses: int) -> None:
        """Note how many tracks were found and how many had to be downloaded."""
        self._notes.count(hits, misses)

    def flush(self) -> None:
        """Write what was noted, in small transactions."""
        for batch in self._notes.take():
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
        batches = range(0, len(keys), _ENTRIES_PER_TRANSACTION)
        return [
            eviction
            for start in batches
            for eviction in self._evict_batch(keys[start : start + _ENTRIES_PER_TRANSACTION], may_go)
        ]

    def _evict_batch(self, keys: Sequence[str], may_go: Callable[[Entry], str]) -> list[Eviction]:
        with self._index.transaction() as rows:
            leases = self.leases()
            return [evict(rows, self.blobs, key, lambda entry: leases.on(entry) or may_go(entry)) for key in keys]

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

    def remove_orphan(self, digest: str) -> bool:
        """Remove a blob that no row knows, and return whether it was one."""
        with self._index.transaction() as rows:
            is_orphan = rows.get(BLOB + digest) is None and self.blobs.stat(digest) is not None
            if is_orphan:
                self.blobs.remove(digest)
        return is_orphan

    def quarantine_file(self, path: Path) -> bool:
        """Move a file that is no blob from among the blobs into quarantine, and return whether it was there."""
        try:
            path.rename(self.root.quarantine / f"{path.name}-{time.time_ns()}")
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def run(
        self, command: str, *, dest: Path | None = None, staging: Callable[[str], Path] | None = None
    ) -> Iterator[str]:
        """Be a living run for the block, with a lock file and a row, and yield the run's id.

        `staging` gives the folder that the run will fill; its name holds the id, so that a sweep can tell whose it is.
        Raise Busy when a living run has the same destination.
        """
        lock = RunLock(self.root.runs)
        try:
            folders = (str(staging(lock.id)) if staging else None, str(dest) if dest else None)
            with self._index.transaction() as rows:
                if dest is not None and str(dest) in self._destinations():
                    raise Busy(str(dest))
                rows.set(RUN + lock.id, RunRow(command, time.time(), *folders).to_row())
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
