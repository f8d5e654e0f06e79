"""What follows from other rows: the uses of blobs, the tags of pins, the totals. Usually the ledger keeps all that."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from cachestore.rows import BLOBS, BUNDLES, ENTRIES, LEASES, RUNS, TRACKS, Totals, batches
from cachestore.runs import is_run_id
from cachestore.store.leases import run_of
from cachestore.store.ledger import Ledger
from cachestore.store.pauses import in_pieces

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cachestore.blobs import Blobs
    from cachestore.entry import Entry
    from cachestore.rows import BlobRow, Table
    from cachestore.store.ledger import Transact
    from cachestore.store.rows_reader import RowsReader

T = TypeVar("T")

_ROWS_PER_TRANSACTION = 100


def counted(store: RowsReader, check: Callable[[], None] = lambda: None) -> Totals:
    """Return the totals of all rows; `check` is called for each, and may raise to end that."""

    def rows(table: Table[T]) -> Iterator[T]:
        for _, row in store.scan(table):
            check()
            yield row

    return Totals(entries=sum(1 for _ in rows(ENTRIES))) + Totals.of(rows(BLOBS))


def with_uses(store: RowsReader, blobs: Iterable[tuple[str, BlobRow]]) -> Iterator[tuple[str, BlobRow]]:
    """Yield blob rows with the time of the latest use of any of their entries."""
    for batch in batches(blobs):
        entries = store.entries_of(key for _, row in batch for key in row.keys)
        yield from ((digest, _with_use(row, entries.get)) for digest, row in batch)


def _with_use(row: BlobRow, entry: Callable[[str], Entry | None]) -> BlobRow:
    uses = [found.used_at for key in row.keys if (found := entry(key))]
    return row._replace(used_at=max(uses) if uses else row.used_at or row.witness.mtime_ns / 1e9)


def recount(store: RowsReader, blobs: Blobs, transact: Transact) -> None:
    """Put right what the first stores have not, a damaged row has lost, or a program that is not ours has changed.

    It is done in small transactions, and the totals come last: others may write meanwhile.
    """
    steps: Sequence[tuple[Iterator[str], Callable[[Ledger, str], None]]] = (
        (_unnamed_entries(store), _mend_entry),
        (_wrong_blobs(store, blobs), partial(_mend_blob, store, blobs)),
        (_wrong_tracks(store), _mend_track),
        (_untagged_pins(store), Ledger.rewrite),
        (_dead_leases(store), Ledger.drop),
    )
    for names, mend in steps:
        for piece in in_pieces(names, _ROWS_PER_TRANSACTION):
            with transact() as ledger:
                for name in piece:
                    mend(ledger, name)
    _mend_totals(store, transact)


def _unnamed_entries(store: RowsReader) -> Iterator[str]:
    """Yield the keys of entries that the row of their track or of their blob does not name: it was damaged once."""
    for batch in batches(store.scan(ENTRIES)):
        tracks = store.get_many(TRACKS, (entry.address for _, entry in batch))
        blobs = store.blob_rows_of(entry.digest for _, entry in batch)
        for key, entry in batch:
            track, blob = tracks.get(entry.address), blobs.get(entry.digest)
            if track is None or entry.version.hex not in track.kept or (blob and key not in blob.keys):
                yield key


def _mend_entry(ledger: Ledger, key: str) -> None:
    if (entry := ledger.entry(key)) is None:
        return
    if (row := ledger.blob(entry.digest)) and key not in row.keys:
        ledger.put_blob(entry.digest, row._replace(keys=(*row.keys, key)))
    ledger.keep(entry)


def _wrong_tracks(store: RowsReader) -> Iterator[str]:
    """Yield the addresses of tracks that keep a version without an entry."""
    for batch in batches(store.scan(TRACKS)):
        entries = store.existing(ENTRIES, (f"{address}@{version}" for address, row in batch for version in row.kept))
        for address, row in batch:
            if not entries.issuperset(f"{address}@{version}" for version in row.kept):
                yield address


def _mend_track(ledger: Ledger, address: str) -> None:
    row = ledger.track(address)
    kept = tuple(version for version in row.kept if ledger.has(ENTRIES.key(f"{address}@{version}")))
    ledger.put_track(address, row._replace(kept=kept))


def _wrong_blobs(store: RowsReader, blobs: Blobs) -> Iterator[str]:
    """Yield the digests of blobs with a wrong use or cost, a key without an entry, or an unknown holder."""
    known = {*store.names(BUNDLES), *(run_id for run_id in store.names(RUNS) if _is_living_run(store, run_id))}
    for batch in batches(store.blob_rows()):
        right = dict(with_uses(store, batch))
        keys = store.existing(ENTRIES, (key for _, row in batch for key in row.keys))
        for digest, row in batch:
            costed = right[digest].costed(_stat(blobs, digest))
            if row != costed or not known.issuperset(row.holders) or not keys.issuperset(row.keys):
                yield digest


def _is_living_run(store: RowsReader, name: str) -> bool:
    return is_run_id(name) and store.is_alive(name)


def _mend_blob(store: RowsReader, blobs: Blobs, ledger: Ledger, digest: str) -> None:
    if found := ledger.blob(digest):
        row = found.costed(_stat(blobs, digest))
        keys = tuple(key for key in row.keys if ledger.has(ENTRIES.key(key)))
        holders = tuple(one for one in row.holders if ledger.has(BUNDLES.key(one)) or _is_living_run(store, one))
        ledger.put_blob(digest, _with_use(row, ledger.entry)._replace(keys=keys, holders=holders))


def _stat(blobs: Blobs, digest: str) -> os.stat_result | None:
    """Return the stat of a blob, None when it is missing, or its disk fails: then its cost is what it was."""
    with suppress(OSError):
        return blobs.stat(digest)
    return None


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
