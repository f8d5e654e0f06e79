"""Runs, and what is theirs while they live: leases, links in a staging folder, room for what they download."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cachestore.errors import Busy
from cachestore.rows import RUNS, RunRow, batches
from cachestore.runs import RunLock
from cachestore.store.costs import cost_of, inode_of
from cachestore.store.leases import LeaseBook
from cachestore.store.ledger import Ledger
from cachestore.store.pauses import in_pieces
from cachestore.store.reader import StoreReader
from cachestore.store.reservations import AT_ONCE, Announced, Bounds, room_besides, set_reserved

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cachestore.index.writer import Index
    from cachestore.root import Root

BLOBS_PER_TRANSACTION = 100
# Ended leases are written with nothing else when there are so many, and not more often than that, in seconds.
_LEASES_PER_TRANSACTION, _BETWEEN_NOTES = 64, 0.1


class RunKeeping(StoreReader):
    """The runs of a store that is open for writing; of those of this process also what is still to be written."""

    def __init__(self, root: Root, index: Index) -> None:
        super().__init__(root, index)
        self._index = index
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

    def forget_runs(self, run_ids: Iterable[str]) -> None:
        """Drop the rows of runs that died, with their leases."""
        for run_id in run_ids:
            keys = [RUNS.key(run_id), *self.lease_rows(run_id)]
            with self._transaction() as ledger:
                for key in keys:
                    ledger.drop(key)

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
        for piece in in_pieces(links, BLOBS_PER_TRANSACTION):
            with self._transaction() as ledger:
                for path, digest in piece:
                    row = ledger.blob(digest)
                    if row is not None and inode_of(path) == row.witness.inode:
                        ledger.put_blob(digest, row.held_by(run_id, holds=True))
                    else:
                        self._books[run_id].end([digest])

    def let_go(self, run_id: str, digests: Iterable[str]) -> None:
        """Let a run hold blobs no longer."""
        for piece in in_pieces(self._held_of(run_id, digests), BLOBS_PER_TRANSACTION):
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

    def lower(self, run_id: str, reserved: int, announced: int) -> None:
        """Let a run have no more reserved, or announced, than that; it is written with whatever is written next."""
        self._lowered[run_id] = reserved, announced

    def write_notes(self) -> None:
        """Write the leases and reservations that were ended."""
        if self._lowered or any(book.unwritten for book in self._books.values()):
            with self._transaction():
                self._noted_at = time.monotonic()
