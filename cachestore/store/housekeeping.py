"""Housekeeping: the verbs that bound and mend the store, each in small transactions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.blobs import is_file, move_away
from cachestore.boot import boot_id
from cachestore.rows import BLOBS, MetaRow
from cachestore.store.counting import recount
from cachestore.store.evict import evict, evict_unindexed, read_entries
from cachestore.store.moving import move_in
from cachestore.store.pauses import in_pieces
from cachestore.store.pending import PendingWrites
from cachestore.store.publish import add_blob
from cachestore.store.registry import Registry
from cachestore.store.runkeeping import BLOBS_PER_TRANSACTION, RunKeeping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from cachestore.index.writer import Index
    from cachestore.root import Root
    from cachestore.rows import BlobRow, Bundle
    from cachestore.store.evict import Eviction, MayGo
    from cachestore.store.leases import Leases
    from cachestore.store.ledger import Ledger
    from cachestore.store.values import Values


class Housekeeping(RunKeeping):
    """What a store that is open for writing needs besides serving tracks."""

    def __init__(self, root: Root, index: Index) -> None:
        super().__init__(root, index)
        self._boot = boot_id()
        self._pending = PendingWrites()
        self._registry = Registry(self, self._transaction, self._noted)

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

    def _noted(self, rows: Mapping[str, BlobRow]) -> Callable[[Values], None]:
        """Return what writes the notes of blobs, which nobody else will write."""
        notes = self._pending.take_of(rows)
        return lambda values: notes.write(values, self.blobs, self._boot)

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
        for piece in in_pieces(names, BLOBS_PER_TRANSACTION):
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

    def mend_row(self, number: int) -> str:
        """Drop the row of a number if it cannot be read, write it anew if it is misfiled, and return what was done."""
        with self._transaction() as ledger:
            return ledger.mend_row(number)

    def bill(self, digests: Iterable[str]) -> None:
        """Give blobs that no row knows a row without keys: they count, and go when they are the least recently used."""
        for piece in in_pieces(digests, BLOBS_PER_TRANSACTION):
            with self._transaction() as ledger:
                for digest in piece:
                    info = self.blobs.stat(digest)
                    if info is not None and is_file(info) and not ledger.has(BLOBS.key(digest)):
                        add_blob(ledger, digest, info, "", ())

    def cost_anew(self, digests: Iterable[str]) -> None:
        """Let blobs whose rows stay cost what their files do by now, and nothing when they are gone."""
        for piece in in_pieces(digests, BLOBS_PER_TRANSACTION):
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
