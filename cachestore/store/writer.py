"""The store, open for writing: the verbs that serve tracks, each one transaction over rows and blobs."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.blobs import checked, hash_file, is_file, move_away, witness_of
from cachestore.errors import BlobDamaged, CacheStoreError, Cancelled
from cachestore.index.writer import Index
from cachestore.links import LinkMode
from cachestore.root import create_root
from cachestore.rows import BLOBS, batches
from cachestore.store.adopt import adopt
from cachestore.store.evict import Retired, read_entries, remove, retire, set_pinned
from cachestore.store.housekeeping import Housekeeping
from cachestore.store.ledger import Ledger
from cachestore.store.publish import compare, distinct, publish, read_ahead, take_back
from cachestore.store.reader import StoreReader
from cachestore.store.rotate import Linker, unbounded
from cachestore.store.ticks import Ticks
from cachestore.store.witnesses import Witnesses

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cachestore.blobs import Witness
    from cachestore.entry import Entry
    from cachestore.root import Root
    from cachestore.store.evict import Eviction
    from cachestore.store.leases import Leases
    from cachestore.store.publish import Incoming
    from cachestore.store.rotate import HasRoom
    from cachestore.track import Track


class Store(Housekeeping):
    """The store, open for writing; one thread only."""

    def __init__(self, root: Root, index: Index) -> None:
        super().__init__(root, index)
        self._ticks = Ticks(root.partials)
        self._witnesses = Witnesses(self.blobs, self._boot, self._pending, self._ticks)
        self._linker = Linker(self.blobs, root.partials, self._transaction, self._boot, self._ticks)

    @classmethod
    def open(cls, path: Path, cancelled: Callable[[], bool] = lambda: False) -> Store:
        """Open the store at `path`, made if it is not there; `cancelled` ends any wait for another process.

        Raise RootUnusable, RootTooNew, Busy, Cancelled or IndexDamaged.
        """
        root = create_root(path)
        store = Store(root, Index(root.index, cancelled))
        try:
            store.count_once()
        except BaseException:
            StoreReader.close(store)
            raise
        return store

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

    def put(self, incoming: Sequence[Incoming], run_id: str = "") -> list[Entry]:
        """Publish finished bodies, together, and return their entries; the run leases each.

        A body that is stored already, byte for byte, keeps the blob that is there. Raise DigestCollision when other
        bytes with its digest are there, or among the bodies, NoSpace, Busy or Cancelled; then the bodies are where they
        were.
        """
        bodies = distinct(incoming)
        while True:
            began = time.time()
            boot_of = partial(self._boot_of, began)
            compared = {item.digest: self._compare(item) for item in bodies}
            new = [item for item in bodies if compared[item.digest] is None]
            with self._or_taken_back(new), self._transaction() as ledger:
                seen = {digest: self.blobs.stat(digest) for digest in compared}
                is_same = all(compared[digest] == _witness_in(seen[digest]) for digest in compared)
                if is_same:
                    read_ahead(ledger, incoming)
                    entries = [publish(ledger, self.blobs, boot_of, item, seen) for item in incoming]
                    if book := self._books.get(run_id):
                        book.take(compared)
            if is_same:
                for path in {item.path for item in incoming} - {item.path for item in new}:
                    path.unlink(missing_ok=True)
                return entries
            # A blob came, went or was changed since it was compared: compare again.

    @contextmanager
    def _or_taken_back(self, bodies: Sequence[Incoming]) -> Iterator[None]:
        """Let a transaction that fails leave no body among the blobs, as far as the index can be locked once more."""
        try:
            yield
        except BaseException:
            if moved := [item for item in bodies if not item.path.exists()]:
                with suppress(CacheStoreError, OSError), self._index.transaction() as rows:
                    for item in moved:
                        take_back(Ledger(rows), self.blobs, item)
            raise

    def _boot_of(self, compared_at: float, info: os.stat_result) -> str:
        """Return the boot in which a blob is known to be whole, none if it has to be hashed again."""
        return "" if self._ticks.may_hide(info, compared_at) else self._boot

    def _compare(self, item: Incoming) -> Witness | None:
        info = self.blobs.stat(item.digest)
        if info is None:
            return None
        witness = compare(self.blobs, item, info)
        if witness is None and self.blobs.stat(item.digest) is not None:
            self.retire(item.digest)
        return witness

    def _witness(self, digest: str) -> Witness | None:
        return _witness_in(self.blobs.stat(digest))

    def adopt(self, entry: Entry, path: Path, seen: Witness) -> bool:
        """Index `entry` again, whose bytes are at `path`, a blob or a link to become one; False if that changed since.

        `seen` is the witness that it had when its bytes were hashed. Raise LinkError when no link can be made.
        """
        with self._transaction() as ledger:
            return adopt(ledger, self.blobs, self._boot, entry, path, seen)

    def find(self, track: Track) -> Entry | None:
        """Return the current entry of `track`, or the one it pins, if its blob is whole; a miss is None."""
        for entry in self.versions(track):
            if track.version is None or entry.version.matches(track.version):
                return entry if self.is_whole(entry) else None
        return None

    def whole(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return those of `entries` whose blob has the bytes of its digest; some hundred rows are read at once."""
        whole: list[Entry] = []
        for batch in batches(entries):
            rows = self.blob_rows_of(entry.digest for entry in batch if not self._witnesses.has(entry.digest))
            whole += [entry for entry in batch if self._witnesses.is_whole(entry.digest, rows.get(entry.digest))]
        return whole

    def is_blob(self, digest: str, info: os.stat_result) -> bool:
        """Return whether the file that has this stat is the blob of `digest`, as this process found it whole."""
        if self._witnesses.has(digest):
            return self._witnesses.is_as_seen(digest, info)
        return super().is_blob(digest, info)

    def is_whole(self, entry: Entry) -> bool:
        """Return whether the blob of `entry` has the bytes of its digest."""
        row = None if self._witnesses.has(entry.digest) else self.get(BLOBS, entry.digest)
        return self._witnesses.is_whole(entry.digest, row)

    def link(self, entry: Entry, dest: Path | str, mode: LinkMode, has_room: HasRoom = unbounded) -> LinkMode:
        """Give the blob of `entry` the name `dest` and return the mode used, never AUTO.

        `has_room` is entered around a copy of so many bytes within the store, for a blob that has all the names it can
        have.

        Raise BlobDamaged when the blob is not whole (it is put away, so that the next fetch downloads it), LinkError
        in a strict mode, FileExistsError, DestinationError, NoSpace, or Cancelled, as `cancelled_by` has it.
        """
        with checked(self._raise_if_cancelled):
            while True:
                then = self.blobs.stat(entry.digest)
                before = then if self._witnesses.is_as_seen(entry.digest, then) else self._judged(entry)
                used = self._link(entry, dest, mode, has_room, before)
                if used is LinkMode.HARDLINK or self._witness(entry.digest) == _witness_in(then):
                    return used
                Path(dest).unlink(missing_ok=True)  # a copy, and the blob was changed before or while it was made

    def _judged(self, entry: Entry) -> os.stat_result | None:
        """Return the stat of a blob that was found whole right before. Raise BlobDamaged when it is not."""
        if not self.is_whole(entry):
            raise self._put_away(entry)
        return self.blobs.stat(entry.digest)

    def _link(
        self, entry: Entry, dest: Path | str, mode: LinkMode, has_room: HasRoom, before: os.stat_result | None
    ) -> LinkMode:
        """Link a blob whose stat right `before` is given."""
        try:
            used = self._linker.link(entry.digest, dest, mode, has_room)
        except BlobDamaged:
            raise self._put_away(entry) from None
        if used is LinkMode.HARDLINK:
            self._witnesses.renew(entry.digest, before)
        return used

    def _put_away(self, entry: Entry) -> BlobDamaged:
        retired = self.retire(entry.digest)
        return BlobDamaged(entry.digest, entry.label, tuple(retired.bundles), retired.quarantined)

    def _raise_if_cancelled(self) -> None:
        if self._index.cancelled():
            raise Cancelled

    def retire(self, digest: str) -> Retired:
        """Take a damaged blob out of service, so that its entries are misses, and return where its bytes are.

        Nobody's bytes are lost: they stay in the bundles, or go to quarantine. A blob that is whole by now stays.
        """
        bundles = [str(bundle.dest) for bundle in self.holders_of([digest]).get(digest, [])]
        judged, quarantined = self._witness(digest), None
        if judged is None or not self._is_healthy(digest):
            with self._transaction() as ledger:
                if self._witness(digest) == judged:
                    quarantined = retire(ledger, self.blobs, self.root.quarantine, digest)
        return Retired(bundles, quarantined)

    def _is_healthy(self, digest: str) -> bool:
        try:
            return is_file(self.blobs.stat(digest)) and hash_file(self.blobs.path(digest)) == digest
        except FileNotFoundError:
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

    def export_ended(self, now: float) -> None:
        """Note once a day what an export takes for now, that ages may be judged without a sweep."""
        if not self.meta().is_noted_today(now):
            with self._transaction() as ledger:
                meta = ledger.meta()
                if meta is not None and not meta.is_noted_today(now):  # no other process was faster
                    ledger.put_meta(replace(meta, clocks=(meta.clocks[1], now), home=self.home()))

    def flush(self) -> None:
        """Write what was noted, in small transactions."""
        for batch in self._pending.take():
            with self._transaction() as ledger:
                batch.write(ledger, self.blobs, self._boot)

    def remove(self, tracks: Sequence[Track]) -> list[tuple[Entry, Eviction]]:
        """Remove what addresses name, pinned or not, and return what became of each entry.

        What a living run has leased stays as it is, with its pin. Raise NotInCache, and remove nothing.
        """
        entries = {entry.key: entry for track in tracks for entry in self.named(track)}
        whole = {track.address for track in tracks if track.version is None}

        def remove_one(ledger: Ledger, leases: Leases, key: str) -> Eviction:
            entry, may_go = entries[key], lambda found, _: leases.on(found)
            return remove(ledger, self.blobs, self.root.quarantine, entry, may_go, unpin=entry.address in whole)

        return list(zip(entries.values(), self._evict(entries, read_entries, remove_one), strict=True))

    def pin(self, track: Track, *, pinned: bool) -> list[Entry]:
        """Pin or unpin what an address names and return it; a track follows its newest version. Raise NotInCache."""
        entries = self.named(track)
        with self._transaction() as ledger:
            set_pinned(ledger, track, entries, pinned=pinned)
        return self.named(track)


def _witness_in(info: os.stat_result | None) -> Witness | None:
    return None if info is None else witness_of(info)
