"""Rows as typed values: how they were read, and how they are to be.

Whatever is put, the time of a blob's latest use follows, and what the totals change by.
"""

from __future__ import annotations

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
    Totals,
    TrackRow,
    get_as,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cachestore.entry import Entry
    from cachestore.rows import BlobRow, Bundle, LeaseRow, MetaRow, RunRow, StampsRow, SupportsGetMany, Table

T = TypeVar("T")


class Values:
    """The rows that were read or put; each is read once."""

    def __init__(self, rows: SupportsGetMany) -> None:
        self._rows_read = rows
        self._before: dict[str, Any] = {}
        self._after: dict[str, Any] = {}

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
            self.put_track(entry.address, track._replace(kept=(*track.kept, version)))

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
        rows = self._rows_read.get_many(keys)
        for key in keys:
            self._before[key] = self._after[key] = table.value(key, rows[key]) if key in rows else None

    def _get(self, table: Table[T], name: str) -> T | None:
        key = table.key(name)
        if key not in self._after:
            self._before[key] = self._after[key] = get_as(self._rows_read, table, name)
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
                self.put_blob(digest, row._replace(used_at=max(uses)))

    def _digests_of_changed_entries(self) -> set[str]:
        digests = set()
        for key, after in self._after.items():
            before = self._before[key]
            if key.startswith(ENTRIES.prefix) and after is not None and _use_of(after) != _use_of(before):
                digests.add(after.digest)
            elif key.startswith(BLOBS.prefix) and after is not None and (before is None or before.keys != after.keys):
                digests.add(key.removeprefix(BLOBS.prefix))
        return digests

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
