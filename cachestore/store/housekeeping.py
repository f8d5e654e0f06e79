"""Housekeeping: the verbs that bound and mend the store, each in small transactions."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.blobs import is_file, move_away
from cachestore.boot import boot_id
from cachestore.errors import Busy
from cachestore.rows import BLOBS, BUNDLES, RUNS, MetaRow, RunRow, batches
from cachestore.runs import RunLock
from cachestore.store.costs import cost_of, inode_of
from cachestore.store.counting import recount
from cachestore.store.evict import evict, evict_unindexed, read_entries
from cachestore.store.leases import LeaseBook
from cachestore.store.ledger import Ledger
from cachestore.store.moving import move_in
from cachestore.store.pauses import in_pieces
from cachestore.store.pending import PendingWrites
from cachestore.store.publish import add_blob
from cachestore.store.reader import StoreReader
from cachestore.store.registry import Registry
from cachestore.store.reservations import AT_ONCE, Announced, Bounds, room_besides, set_reserved

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cachestore.index.writer import Index
    from cachestore.root import Root
    from cachestore.rows import BlobRow, Bundle
    from cachestore.store.evict import Eviction, MayGo
    from cachestore.store.leases import Leases

_BLOBS_PER_TRANSACTION = 100
# Ended leases are written with nothing else when there are so many, and not more often than that, in seconds.
_LEASES_PER_TRANSACTION, _BETWEEN_NOTES = 64, 0.1


class Housekeeping(StoreReader):
    """What a store that is open for writing needs besides serving tracks."""

    def __init__(self, root: Root, index: Index) -> None:
        super().__init__(root, index)
        self._index = index
        self._boot = boot_id()
        self._pending = PendingWrites()
        self._registry = Registry(self, self._transaction, self._write_noted)
        self._books: dict[str, LeaseBook] = {}
        self._lowered: dict[str, tuple[int, int]] = {}
        self._noted_at = -math.inf

    @contextmanager
    def cancelled_by(self, cancel: threading.Event) -> Iterator[None]:
        """Let `cancel` end any wait for another process within the block."""
        before, self._index.cancelled = self._index.cancelled, cancel.is_set
        try:
            yield
        finally:
            self._index.cancelled = before

    def count_once(self) -> None:
        """Bring a new index to its first totals, and one of an earlier version to those and to its holders.

        One that was copied or moved is counted anew, too.
        """
        move_in(self, self._transaction)
        if self.meta().counts:
            return
        with self._transaction() as ledger:
            if ledger.meta() is None:
                ledger.put_meta(MetaRow.begun(self.home()))
        self.recount()
        self.look_at_bundles()

    @contextmanager
    def _transaction(self) -> Iterator[Ledger]:
        """Hold the write lock for the block, then write what the ledger was told, and what has changed of runs."""
        with self._index.transaction() as rows:
            ledger = Ledger(rows)
            yield ledger
            for book in self._books.values():
                book.write(ledger)
            for run_id in [*self._lowered]:
                set_reserved(ledger, run_id, *self._lowered.pop(run_id))
            ledger.settle()

    def _write_noted(self, ledger: Ledger, rows: Mapping[str, BlobRow]) -> None:
        self._pending.take_of(rows).write(ledger, self.blobs, self._boot)

    def evict(self, keys: Sequence[str], may_go: MayGo = lambda *_: "") -> list[Eviction]:
        """Remove entries, and the blobs that nobody else needs, and say what became of each.

        `may_go` is asked under the lock, with the entry and its blob's row, and returns why it must stay, or nothing.
        What a living run has leased stays in any case.
        """
        quarantine = self.root.quarantine
        return self._evict(
            keys,
            read_entries,
            lambda ledger, leases, key: evict(
                ledger, self.blobs, quarantine, key, lambda entry, row: leases.on(entry) or may_go(entry, row)
            ),
        )

    def evict_unindexed(
        self, digests: Iterable[str], may_go: Callable[[BlobRow], str] = lambda _: ""
    ) -> list[Eviction]:
        """Remove blobs that have a row and no entries, as `evict` does entries, and say what became of each."""
        quarantine = self.root.quarantine
        return self._evict(
            digests,
            lambda ledger, piece: ledger.read(BLOBS, piece),
            lambda ledger, leases, digest: evict_unindexed(
                ledger, self.blobs, quarantine, digest, lambda row: leases.on_blob(digest) or may_go(row)
            ),
        )

    def _evict(
        self,
        names: Iterable[str],
        read: Callable[[Ledger, Sequence[str]], None],
        evict_one: Callable[[Ledger, Leases, str], Eviction],
    ) -> list[Eviction]:
        self.write_notes()
        evictions: list[Eviction] = []
        for piece in in_pieces(names, _BLOBS_PER_TRANSACTION):
            with self._transaction() as ledger:
                leases = self.leases(ledger.meta())
                read(ledger, piece.items)
                evictions += [evict_one(ledger, leases, name) for name in piece]
        return evictions

    def register(self, bundle: Bundle) -> None:
        """Record an exported folder, replacing what was known of the same destination, and look at it."""
        self._registry.register(bundle)

    def look_at_bundles(self) -> None:
        """Bring the holders of blobs up to date, listing bundles that changed, and forget those that were deleted."""
        self._registry.look()

    def swept(self, now: float) -> None:
        """Note that a sweep was made."""
        with self._transaction() as ledger:
            if meta := ledger.meta():
                ledger.put_meta(replace(meta, swept_at=now, home=self.home()))

    def recount(self) -> None:
        """Put right the totals, and whatever else follows from other rows."""
        recount(self, self.blobs, self._transaction)

    def forget(self, row_keys: Iterable[str]) -> None:
        """Drop rows that stand for nothing any more: lost bundles, dead runs, damaged rows."""
        keys = list(row_keys)
        for key in keys:
            if key.startswith(BUNDLES.prefix):
                self._registry.forget(BUNDLES.name(key))
        with self._transaction() as ledger:
            for key in keys:
                ledger.drop(key)

    def mend_row(self, number: int) -> str:
        """Drop the row of a number if it cannot be read, write it anew if it is misfiled, and return what was done."""
        with self._transaction() as ledger:
            return ledger.mend_row(number)

    def forget_runs(self, run_ids: Iterable[str]) -> None:
        """Drop the rows of runs that died, with their leases."""
        for run_id in run_ids:
            self.forget([RUNS.key(run_id), *self.lease_rows(run_id)])

    def bill(self, digests: Iterable[str]) -> None:
        """Give blobs that no row knows a row without keys: they count, and go when they are the least recently used."""
        for piece in in_pieces(digests, _BLOBS_PER_TRANSACTION):
            with self._transaction() as ledger:
                for digest in piece:
                    info = self.blobs.stat(digest)
                    if info is not None and is_file(info) and not ledger.has(BLOBS.key(digest)):
                        add_blob(ledger, digest, info, "", ())

    def cost_anew(self, digests: Iterable[str]) -> None:
        """Let blobs whose rows stay cost what their files do by now, and nothing when they are gone."""
        for piece in in_pieces(digests, _BLOBS_PER_TRANSACTION):
            with self._transaction() as ledger:
                for digest in piece:
                    self._cost_anew(ledger, digest)

    def _cost_anew(self, ledger: Ledger, digest: str) -> None:
        if row := ledger.blob(digest):
            info = self.blobs.stat(digest)
            right = row.put_away() if info is None else row.costed(info)
            if info is not None and info.st_nlink > 1 and right.witness.inode != row.witness.inode:
                ledger.look_again()
            ledger.put_blob(digest, right)

    def quarantine_file(self, path: Path) -> Path | None:
        """Move a file that is no blob from among the blobs into quarantine, and return its path there, None if gone."""
        try:
            return move_away(path, path.name, self.root.quarantine)
        except FileNotFoundError:
            return None

    @contextmanager
    def run(self, command: str, *, dest: Path | None = None) -> Iterator[str]:
        """Be a living run for the block, with a lock file and a row, and yield the run's id.

        What the run stages for `dest`, in it or beside it, ends in `runs.staging_suffix` of the id: a sweep looks for
        that. Raise Busy when a living run has the same destination.
        """
        lock = RunLock(self.root.runs)
        try:
            with self._transaction() as ledger:
                others = self.runs() if dest is not None else ()
                if any(run.dest == str(dest) and self.is_alive(run_id) for run_id, run in others):
                    raise Busy(str(dest))
                ledger.put_run(lock.id, RunRow(command, time.time(), str(dest) if dest else None))
            self._books[lock.id] = LeaseBook(lock.id)
            try:
                yield lock.id
            finally:
                del self._books[lock.id]
                self._lowered.pop(lock.id, None)
                self.forget_runs([lock.id])
        finally:
            lock.release()

    def lease(self, run_id: str, digests: Iterable[str]) -> None:
        """Keep blobs from being evicted until the run ends or has ended as many leases on them as it took."""
        self._books[run_id].take(digests)
        self.write_notes()

    def lease_besides(self, run_id: str, digests: Iterable[str]) -> None:
        """Lease what another run of this process still leases; it is written together with the end of that lease."""
        self._books[run_id].take(digests)

    def unlease(self, run_id: str, digests: Iterable[str]) -> None:
        """End one lease of the run on each of `digests`; it is written with whatever is written next, or at last."""
        self._books[run_id].end(digests)
        is_much = len(self._books[run_id].unwritten) >= _LEASES_PER_TRANSACTION
        if is_much and time.monotonic() >= self._noted_at + _BETWEEN_NOTES:
            self.write_notes()

    def hold(self, run_id: str, links: Iterable[tuple[Path | str, str]]) -> None:
        """Let blobs count as held by a run that has hard links to them, and leases on them, by path and digest.

        Where the link is to another file than the blob by now, the lease ends.
        """
        for piece in in_pieces(links, _BLOBS_PER_TRANSACTION):
            with self._transaction() as ledger:
                for path, digest in piece:
                    row = ledger.blob(digest)
                    if row is not None and inode_of(path) == row.witness.inode:
                        ledger.put_blob(digest, row.held_by(run_id, holds=True))
                    else:
                        self._books[run_id].end([digest])

    def let_go(self, run_id: str, digests: Iterable[str]) -> None:
        """Let a run hold blobs no longer."""
        for piece in in_pieces(self._held_of(run_id, digests), _BLOBS_PER_TRANSACTION):
            with self._transaction() as ledger:
                for digest in piece:
                    if row := ledger.blob(digest):
                        ledger.put_blob(digest, row.held_by(run_id, holds=False))

    def _held_of(self, run_id: str, digests: Iterable[str]) -> Iterator[str]:
        for batch in batches(digests):
            rows = self.blob_rows_of(batch)
            yield from (digest for digest, row in rows.items() if run_id in row.holders)

    def reserve(
        self, run_id: str, need: int, *, spare: int, unwritten: int, bounds: Bounds, announced: Announced = AT_ONCE
    ) -> int:
        """Reserve `need` bytes of disk for a run, up to `spare` more if there is room, and return how many; 0: no room.

        `unwritten` is what the run still has to write of what it reserved before. Nothing else stays reserved for it.
        Of what is `announced` less may be reserved.
        """
        quarantined = cost_of(self.root.quarantine)
        with self._transaction() as ledger:
            self._lowered.pop(run_id, None)
            room = room_besides(self, quarantined, but=run_id)
            granted = announced.granted(bounds.left(room) - unwritten, room.announced, need, spare)
            set_reserved(ledger, run_id, unwritten + granted, announced.after(need, granted))
        return granted

    def lower(self, run_id: str, reserved: int, announced: int = 0) -> None:
        """Let a run have no more reserved, or announced, than that; it is written with whatever is written next."""
        self._lowered[run_id] = reserved, announced

    def write_notes(self) -> None:
        """Write the leases and reservations that were ended."""
        if self._lowered or any(book.unwritten for book in self._books.values()):
            with self._transaction():
                self._noted_at = time.monotonic()
