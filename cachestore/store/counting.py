"""What follows from other rows: the uses of blobs, the tags of pins, the totals. Usually the ledger keeps all that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.rows import BLOBS, BUNDLES, ENTRIES, LEASES, TRACKS, Totals, batches
from cachestore.store.leases import run_of
from cachestore.store.pauses import in_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cachestore.entry import Entry
    from cachestore.rows import BlobRow
    from cachestore.store.ledger import Ledger, Transact
    from cachestore.store.rows_reader import RowsReader

_ROWS_PER_TRANSACTION = 100


def counted(store: RowsReader) -> Totals:
    """Return the totals of all rows."""
    total = Totals(entries=sum(1 for _ in store.scan(ENTRIES)))
    for _, row in store.scan(BLOBS):
        total += Totals.of(row)
    return total


def with_uses(store: RowsReader, blobs: Iterable[tuple[str, BlobRow]]) -> Iterator[tuple[str, BlobRow]]:
    """Yield blob rows with the time of the latest use of any of their entries."""
    for batch in batches(blobs):
        entries = store.entries_of(key for _, row in batch for key in row.keys)
        yield from ((digest, _with_use(row, entries.get)) for digest, row in batch)


def _with_use(row: BlobRow, entry: Callable[[str], Entry | None]) -> BlobRow:
    uses = [found.used_at for key in row.keys if (found := entry(key))]
    return replace(row, used_at=max(uses) if uses else row.used_at or row.witness.mtime_ns / 1e9)


def recount(store: RowsReader, transact: Transact) -> None:
    """Put right what the first stores have not, a damaged row has lost, or a program that is not ours has changed.

    It is done in small transactions, and the totals come last: others may write meanwhile.
    """
    for piece in in_pieces(_wrong_blobs(store), _ROWS_PER_TRANSACTION):
        with transact() as ledger:
            for digest in piece:
                _mend_blob(ledger, digest)
    for piece in in_pieces(_untagged_pins(store), _ROWS_PER_TRANSACTION):
        with transact() as ledger:
            for key in piece:
                ledger.rewrite(key)
    for piece in in_pieces(_dead_leases(store), _ROWS_PER_TRANSACTION):
        with transact() as ledger:
            for key in piece:
                ledger.drop(key)
    _mend_totals(store, transact)


def _wrong_blobs(store: RowsReader) -> Iterator[str]:
    """Yield the digests of blobs with a wrong use, a key without an entry, or a holder that is not registered."""
    bundle_ids = set(store.names(BUNDLES))
    for batch in batches(store.blob_rows()):
        right = dict(with_uses(store, batch))
        keys = store.existing(ENTRIES, (key for _, row in batch for key in row.keys))
        for digest, row in batch:
            if row != right[digest] or not bundle_ids.issuperset(row.holders) or not keys.issuperset(row.keys):
                yield digest


def _mend_blob(ledger: Ledger, digest: str) -> None:
    if row := ledger.blob(digest):
        keys = tuple(key for key in row.keys if ledger.has(ENTRIES.key(key)))
        holders = tuple(holder for holder in row.holders if ledger.has(BUNDLES.key(holder)))
        ledger.put_blob(digest, replace(_with_use(row, ledger.entry), keys=keys, holders=holders))


def _untagged_pins(store: RowsReader) -> Iterator[str]:
    tagged = store.tagged_as_pins()
    yield from (key for name, row in store.scan(TRACKS) if row.pinned and (key := TRACKS.key(name)) not in tagged)
    yield from (key for name, row in store.scan(ENTRIES) if row.pinned and (key := ENTRIES.key(name)) not in tagged)


def _dead_leases(store: RowsReader) -> Iterator[str]:
    return (LEASES.key(name) for name in store.names(LEASES) if not store.is_alive(run_of(name)))


def _mend_totals(store: RowsReader, transact: Transact) -> None:
    """Add what the totals lack in one moment: it is the same in any later one, unless they were mended meanwhile."""
    with store.snapshot():
        then, right = store.meta(), counted(store)
    with transact() as ledger:
        now = ledger.meta()
        if now is not None and now.counts == then.counts:
            ledger.put_meta(replace(now, totals=now.totals + right - then.totals, counts=now.counts + 1))
