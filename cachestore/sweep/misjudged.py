"""Blobs that their rows do not tell the truth about: without a row, gone, or of another cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cachestore.blobs import is_file
from cachestore.errors import Cancelled
from cachestore.rows import NO_FILE, BlobRow, Totals, batches

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Sequence

    from cachestore.entry import Entry
    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store
    from cachestore.sweep.leftovers import Leftovers

T = TypeVar("T")

_PINNED, _HERE = "pinned", "here again"


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
class Misjudged:
    """The rows of blobs that cost something else by now: they are gone, by a kill in between, or were edited."""

    cancel: threading.Event | None

    def foresee(self, store: StoreReader, left: Leftovers) -> None:
        """Add what they count for too much to what is `left`."""
        change, leases, pinned = store.held_change(), store.leases(), store.pinned()
        for batch in self._rows(store):
            entries = store.entries_of(key for row, right in batch.values() if right is None for key in row.keys)
            for digest, (row, right) in batch.items():
                left.lost += _cost(row, is_held=change.is_held(digest, row))
                if right is not None:
                    left.lost -= _cost(right, is_held=change.is_held(digest, right))
                if right is None and not leases.on_blob(digest):
                    going = sum(key in entries and key not in pinned for key in row.keys)
                    goes = going == len(row.keys)
                    left.lost += Totals(entries=going, blobs=goes, logical=row.size if goes else 0)

    def take(self, store: Store) -> None:
        """Let them count for what they cost, and evict what is gone, unless it is pinned or has come again."""

        def may_go(entry: Entry, _: BlobRow | None) -> str:
            return _PINNED if entry.pinned else _HERE if store.blobs.stat(entry.digest) is not None else ""

        for batch in self._rows(store):
            lost = {digest: row for digest, (row, right) in batch.items() if right is None}
            keys = [key for row in lost.values() for key in row.keys]
            store.evict(keys, may_go)
            store.evict_unindexed(digest for digest, row in lost.items() if not row.keys)
            store.cost_anew(batch)

    def _rows(self, store: StoreReader) -> Iterator[dict[str, tuple[BlobRow, BlobRow | None]]]:
        """Yield, in batches, such rows, and what they should be: None when the blob is gone."""
        for batch in _until(self.cancel, batches(store.blob_rows())):
            infos = {digest: store.blobs.stat(digest) for digest, _ in batch}
            found = {digest: (row, row.costed(info) if (info := infos[digest]) else None) for digest, row in batch}
            if wrong := {digest: rows for digest, rows in found.items() if rows[0] != rows[1]}:
                yield wrong


def _cost(row: BlobRow, *, is_held: bool) -> Totals:
    return Totals(held=row.cost) if is_held else Totals(exclusive=row.cost)


def unindexed(store: StoreReader, cancel: threading.Event | None) -> Iterator[_Unindexed]:
    """Yield blobs without a row, in batches. Raise Cancelled when `cancel` is set."""
    yield from map(_Unindexed, _until(cancel, store.unindexed()))


def _until(cancel: threading.Event | None, batches: Iterable[list[T]]) -> Iterator[list[T]]:
    """Yield what is in batches until `cancel` is set, which raises Cancelled: every file is looked at for them."""
    for batch in batches:
        if cancel is not None and cancel.is_set():
            raise Cancelled
        if batch:
            yield batch
