"""The rows of one transaction as typed values, and the totals that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from cachestore.rows import (
    BLOBS,
    BUNDLES,
    ENTRIES,
    LEASES,
    META,
    RUNS,
    STAMPS,
    TRACKS,
    MetaRow,
    Totals,
    TrackRow,
    get_as,
    seen_row,
    table_of,
)

if TYPE_CHECKING:
    from cachestore.entry import Entry
    from cachestore.index.reader import Row, Tag
    from cachestore.index.writer import Transaction
    from cachestore.rows import BlobRow, Bundle, Known, LeaseRow, RunRow, StampsRow, Table

T = TypeVar("T")
Transact = Callable[[], AbstractContextManager["Ledger"]]


class Ledger:
    """What one transaction reads and writes.

    Nothing is written before `settle`, which compares every row with what it was: so the totals follow, and the time
    of a blob's latest use, whichever verb it was.
    """

    def __init__(self, rows: Transaction) -> None:
        self._rows = rows
        self._before: dict[str, Any] = {}
        self._after: dict[str, Any] = {}
        self._unwritten: set[str] = set()

    def entry(self, key: str) -> Entry | None:
        """Return the entry of `key`, its own pin only."""
        return self._get(ENTRIES, key)

    def put_entry(self, entry: Entry) -> None:
        """Write an entry."""
        self._put(ENTRIES, entry.key, entry)

    def drop_entry(self, key: str) -> None:
        """Delete the entry of `key`."""
        self._put(ENTRIES, key, None)

    def track(self, address: str) -> TrackRow:
        """Return which versions of a track are kept."""
        return self._get(TRACKS, address) or TrackRow()

    def put_track(self, address: str, row: TrackRow) -> None:
        """Write which versions of a track are kept; a row that says nothing is deleted."""
        self._put(TRACKS, address, None if row == TrackRow() else row)

    def keep(self, entry: Entry) -> None:
        """Let the track keep `entry`, if it does not: as the current version if it was confirmed after that one."""
        track, version = self.track(entry.address), entry.version.hex
        if version in track.kept:
            return
        current = self.entry(f"{entry.address}@{track.kept[0]}") if track.kept else None
        if current is None or current.validated_at < entry.validated_at:
            self.put_track(entry.address, track.with_current(version))
        else:
            self.put_track(entry.address, replace(track, kept=(*track.kept, version)))

    def blob(self, digest: str) -> BlobRow | None:
        """Return the row of a blob."""
        return self._get(BLOBS, digest)

    def put_blob(self, digest: str, row: BlobRow) -> None:
        """Write the row of a blob."""
        self._put(BLOBS, digest, row)

    def drop_blob(self, digest: str) -> None:
        """Delete the row of a blob."""
        self._put(BLOBS, digest, None)

    def bundle(self, bundle_id: str) -> Bundle | None:
        """Return a registered bundle."""
        return self._get(BUNDLES, bundle_id)

    def put_bundle(self, bundle: Bundle) -> None:
        """Write a bundle."""
        self._put(BUNDLES, bundle.id, bundle)

    def stamps(self, bundle_id: str) -> StampsRow | None:
        """Return what the last look at a bundle saw."""
        return self._get(STAMPS, bundle_id)

    def put_stamps(self, bundle_id: str, row: StampsRow) -> None:
        """Write what a look at a bundle saw."""
        self._put(STAMPS, bundle_id, row)

    def drop_bundle(self, bundle_id: str) -> None:
        """Delete a bundle and what the last look at it saw; no blob names it as a holder any more."""
        self._put(BUNDLES, bundle_id, None)
        self._put(STAMPS, bundle_id, None)

    def run(self, run_id: str) -> RunRow | None:
        """Return the row of a run."""
        return self._get(RUNS, run_id)

    def put_run(self, run_id: str, row: RunRow) -> None:
        """Write the row of a run."""
        self._put(RUNS, run_id, row)

    def put_leases(self, name: str, row: LeaseRow) -> None:
        """Write some of a run's leases; none deletes the row."""
        self._put(LEASES, name, row if row.digests else None)

    def meta(self) -> MetaRow | None:
        """Return the store's own row; None as long as there is no sound one, and then there are no totals."""
        return self._get(META, "")

    def put_meta(self, row: MetaRow) -> None:
        """Write the store's own row; the totals are added to by `settle`."""
        self._put(META, "", row)

    def look_again(self) -> None:
        """Have every bundle looked at again: a file with unknown other names came among the blobs."""
        if meta := self.meta():
            self.put_meta(replace(meta, looks=meta.looks + 1))

    def read(self, table: Table[T], names: Iterable[str]) -> None:
        """Read rows that will be asked for, all at once."""
        keys = [key for key in map(table.key, names) if key not in self._after]
        rows = self._rows.get_many(keys)
        for key in keys:
            self._before[key] = self._after[key] = table.value(key, rows[key]) if key in rows else None

    def read_known(self, table: Table[T], known: Mapping[str, Known[T]]) -> None:
        """Read rows that were read before; one that still has the same text has the same value."""
        texts = self._rows.texts(map(table.key, known))
        same = [name for name, then in known.items() if texts.get(table.key(name)) == then.text]
        for name in same:
            key = table.key(name)
            if key not in self._after:
                self._before[key] = self._after[key] = known[name].value
        self.read(table, known.keys() - same)

    def has(self, key: str) -> bool:
        """Return whether there is a row of `key`, sound or not."""
        return self._after[key] is not None if key in self._after else self._rows.has(key)

    def drop(self, key: str) -> None:
        """Delete the row of `key`, sound or not, of any kind."""
        if table := table_of(key):
            self._put(table, table.name(key), None)
        self._rows.delete(key)
        self._unwritten.add(key)  # who puts another one there writes all of it

    def mend_row(self, number: int) -> str:
        """Delete the row of a number, whatever its key is, if it cannot be read, or write it anew if it is misfiled.

        Return what was done, nothing if it is right or gone.
        """
        found = self._rows.numbered(number)
        if found is None:
            return ""
        row = seen_row(found)
        if row.value is None:
            self._rows.delete_numbered(number)
            return "removed"
        if row.is_misfiled:
            self.rewrite(row.key)
            return "written anew"
        return ""

    def rewrite(self, key: str) -> None:
        """Write the row of `key` again as it is: its tag is not as it should be."""
        if table := table_of(key):
            self._get(table, table.name(key))
            self._unwritten.add(key)

    def settle(self) -> None:
        """Write all that changed."""
        self._note_uses()
        change, leases = self._change(), self._has_changed_leases()
        if (leases or change != Totals()) and (meta := self.meta()):
            self.put_meta(replace(meta, totals=meta.totals + change, leases=meta.leases + leases))
        changed = [key for key, value in self._after.items() if value != self._before[key] or key in self._unwritten]
        self._rows.delete_many(key for key in changed if self._after[key] is None)
        written = [self._written(key) for key in changed if self._after[key] is not None]
        self._rows.set_many((key, row, tag) for key, row, tag, is_filed in written if not is_filed)
        self._rows.change_many((key, row) for key, row, _, is_filed in written if is_filed)

    def _written(self, key: str) -> tuple[str, Row, Tag, bool]:
        """Return what is written of a row, and whether it lies in its place with its tag already."""
        table, before, value = table_of(key), self._before[key], self._after[key]
        assert table is not None  # noqa: S101 - only tables put values
        tag = table.tag(value)
        is_filed = before is not None and key not in self._unwritten and table.tag(before) == tag
        return key, table.to_row(value), tag, is_filed

    def _get(self, table: Table[T], name: str) -> T | None:
        key = table.key(name)
        if key not in self._after:
            self._before[key] = self._after[key] = get_as(self._rows, table, name)
        return self._after[key]  # type: ignore[no-any-return]

    def _put(self, table: Table[T], name: str, value: T | None) -> None:
        self._get(table, name)
        self._after[table.key(name)] = value

    def _note_uses(self) -> None:
        """Let each blob whose entries changed have the time of the latest use of any of them."""
        digests = self._digests_of_changed_entries()
        self.read(BLOBS, digests)
        self.read(ENTRIES, (key for digest in digests if (row := self.blob(digest)) for key in row.keys))
        for digest in digests:
            row = self.blob(digest)
            uses = [entry.used_at for key in row.keys if (entry := self.entry(key))] if row else []
            if row and uses and row.used_at != max(uses):
                self.put_blob(digest, replace(row, used_at=max(uses)))

    def _digests_of_changed_entries(self) -> set[str]:
        digests = set()
        for key, after in self._after.items():
            before = self._before[key]
            if key.startswith(ENTRIES.prefix) and after is not None and _use_of(after) != _use_of(before):
                digests.add(after.digest)
            elif key.startswith(BLOBS.prefix) and after is not None and (before is None or before.keys != after.keys):
                digests.add(key.removeprefix(BLOBS.prefix))
        return digests

    def _has_changed_leases(self) -> bool:
        return any(key.startswith(LEASES.prefix) and row != self._before[key] for key, row in self._after.items())

    def _change(self) -> Totals:
        entries, blobs = self._rows_of(ENTRIES), self._rows_of(BLOBS)
        number = sum((after is not None) - (before is not None) for before, after in entries)
        come = Totals.of(after for _, after in blobs if after is not None)
        return Totals(entries=number) + come - Totals.of(before for before, _ in blobs if before is not None)

    def _rows_of(self, table: Table[T]) -> list[tuple[T | None, T | None]]:
        """Return the rows of a table that were read or written, as they were and as they are."""
        return [(self._before[key], after) for key, after in self._after.items() if key.startswith(table.prefix)]


def _use_of(entry: Entry | None) -> tuple[str, float] | None:
    """Return from what of an entry the latest use of its blob follows."""
    return None if entry is None else (entry.digest, entry.used_at)
