"""Looking at the store without changing a byte of it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from cachestore.blobs import Blobs
from cachestore.errors import NotInCache
from cachestore.index.reader import IndexReader
from cachestore.root import existing_root
from cachestore.rows import (
    BLOBS,
    BUNDLES,
    ENTRIES,
    LEASES,
    RUNS,
    TRACKS,
    TrackRow,
    batches,
)
from cachestore.runs import is_run_id
from cachestore.store import looking
from cachestore.store.counting import counted, with_uses
from cachestore.store.leases import Leases, run_of
from cachestore.store.rows_reader import RowsReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import TypeVar

    from cachestore.entry import Entry
    from cachestore.root import Root
    from cachestore.rows import BlobRow, Bundle, MetaRow, RunRow, Table, Totals
    from cachestore.store.looking import HeldChange
    from cachestore.track import Track

    T = TypeVar("T")


class StoreReader(RowsReader):
    """What can be asked of a store; one thread only."""

    def __init__(self, root: Root, index: IndexReader) -> None:
        super().__init__(root, index)
        self.blobs = Blobs(root.blobs)
        self._leased_then: tuple[int, Mapping[str, set[str]]] | None = None

    @classmethod
    def open_readonly(cls, path: Path) -> StoreReader:
        """Open the store at `path`, writing nothing. Raise RootMissing, RootUnusable, RootTooNew or IndexDamaged."""
        root = existing_root(path)
        return StoreReader(root, IndexReader(root.index))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the index."""
        self._reader.close()

    def entries(self) -> Iterator[Entry]:
        """Yield every entry in the order of keys, with the pins of tracks resolved to their current entry."""
        pinned = self._pinned_as_current()
        for key, entry in self.scan(ENTRIES):
            yield _pinned(entry) if key in pinned else entry

    def pinned(self) -> set[str]:
        """Return the keys of all pinned entries."""
        current = self.get_many(ENTRIES, self._pinned_as_current())
        return {*current, *(key for key, entry in self._pins(ENTRIES) if entry.pinned)}

    def _pinned_as_current(self) -> set[str]:
        return {f"{address}@{row.kept[0]}" for address, row in self._pins(TRACKS) if row.pinned and row.kept}

    def _pins(self, table: Table[T]) -> Iterator[tuple[str, T]]:
        if not self.meta().counts:
            yield from self.scan(table)
            return
        yield from table.values(pin for pin in self._reader.pins().items() if pin[0].startswith(table.prefix))

    def kept(self, tracks: Iterable[Track]) -> dict[str, list[Entry]]:
        """Return by address the entries kept of `tracks`, the current version first."""
        kept: dict[str, list[Entry]] = {}
        for batch in batches(track.address for track in tracks):
            rows = self.get_many(TRACKS, batch)
            entries = self.entries_of(f"{address}@{version}" for address, row in rows.items() for version in row.kept)
            for address, row in rows.items():
                kept[address] = [
                    _pinned(entry) if row.pinned and position == 0 else entry
                    for position, version in enumerate(row.kept)
                    if (entry := entries.get(f"{address}@{version}"))
                ]
        return kept

    def versions(self, track: Track) -> Iterator[Entry]:
        """Yield the entries kept of one track as `kept` has them, each read when it is asked for."""
        address = track.address
        row = self.get(TRACKS, address) or TrackRow()
        for position, version in enumerate(row.kept):
            if entry := self.get(ENTRIES, f"{address}@{version}"):
                yield _pinned(entry) if row.pinned and position == 0 else entry

    def named(self, track: Track) -> list[Entry]:
        """Return the entries that an address names: all versions of a track, or the one it pins. Raise NotInCache."""
        entries = self.kept([track]).get(track.address, [])
        if track.version is not None:
            entries = [entry for entry in entries if entry.version.matches(track.version)]
        if not entries:
            raise NotInCache(f"{track.address}@{track.version}" if track.version else track.address)
        return entries

    def least_recently_used(self) -> Iterator[tuple[str, BlobRow]]:
        """Yield digest and row of every blob in the order of its latest use, read page by page.

        What is used meanwhile is not met twice, and nothing else is left out.
        """
        if not self.meta().counts:
            yield from sorted(with_uses(self, self.blob_rows()), key=lambda blob: blob[1].used_at)
            return
        yield from BLOBS.values(self._reader.in_order())

    def totals(self) -> Totals:
        """Return the counts and bytes of all entries and blobs, as of the last looks at bundles."""
        meta = self.meta()
        return meta.totals if meta.counts else counted(self)

    def known_blobs(self, digests: Iterable[str]) -> set[str]:
        """Return those of `digests` that have a row, be it a damaged one."""
        return self.existing(BLOBS, digests)

    def unindexed(self) -> Iterator[list[str]]:
        """Yield, in batches, the digests of blobs that no row knows.

        The index was lost since, or their publishing crashed half-way: no clock tells the two apart.
        """
        for batch in batches(self.blobs.iterate()):
            found = {digest for path in batch if (digest := self.blobs.digest_of(path))}
            yield [*found - self.known_blobs(found)]

    def bundles(self) -> Iterator[Bundle]:
        """Yield the registered bundles, also those that were deleted or moved since."""
        for _, bundle in self.scan(BUNDLES):
            yield bundle

    def holders_of(self, digests: Iterable[str]) -> dict[str, list[Bundle]]:
        """Return by digest the bundles that have a hard link to the blob, those that still have it only."""
        rows = {digest: row for digest, row in self.blob_rows_of(digests).items() if row.is_held}
        bundles = self.get_many(BUNDLES, {holder for row in rows.values() for holder in row.holders})
        device = self.root.device
        sights = {bundle_id: looking.look_at(bundle, device) for bundle_id, bundle in bundles.items()}
        return {
            digest: [
                bundles[holder] for holder in row.holders if holder in sights and sights[holder].holds(digest, row)
            ]
            for digest, row in rows.items()
        }

    def is_blob(self, digest: str, info: os.stat_result) -> bool:
        """Return whether the file that has this stat is the blob of `digest`, under another name."""
        blob = self.blobs.stat(digest)
        return blob is not None and os.path.samestat(blob, info)

    def held_change(self) -> HeldChange:
        """Return what a look at the bundles would change; only those that changed since the last look are listed.

        What a run that died has staged will be swept, and holds nothing.
        """
        dead = {run_id: self.leased_by(run_id) for run_id, _ in self.runs() if not self.is_alive(run_id)}
        return looking.held_change(self, self.blobs, dead)

    def runs(self) -> Iterator[tuple[str, RunRow]]:
        """Yield id and row of every run that has not ended properly: those that live and those that died."""
        return ((run_id, run) for run_id, run in self.scan(RUNS) if is_run_id(run_id))

    def reserved(self, but: str = "") -> int:
        """Return how many bytes of disk the downloads of living runs still have to write, without those of one run."""
        return self._living_sum(but, lambda run: run.reserved)

    def announced(self, but: str = "") -> int:
        """Return how many bytes of disk they will have to reserve besides."""
        return self._living_sum(but, lambda run: run.announced)

    def _living_sum(self, but: str, figure: Callable[[RunRow], int]) -> int:
        figures = [(run_id, figure(run)) for run_id, run in self.runs() if run_id != but]
        return sum(some for run_id, some in figures if some and self.is_alive(run_id))

    def leases(self, meta: MetaRow | None = None) -> Leases:
        """Return what the living runs need; `meta` is the store's own row, if it was read just now."""
        leased = self._leased(meta or self.meta()).items()
        return Leases(tuple(digests for run_id, digests in leased if is_run_id(run_id) and self.is_alive(run_id)))

    def _leased(self, meta: MetaRow) -> Mapping[str, set[str]]:
        """Return the leases of each run, dead or alive; they are read again only when they have changed."""
        if not meta.counts or self._leased_then is None or self._leased_then[0] != meta.leases:
            leased: dict[str, set[str]] = {}
            for name, row in self.scan(LEASES):
                leased.setdefault(run_of(name), set()).update(row.digests)
            self._leased_then = meta.leases, leased
        return self._leased_then[1]

    def leased_by(self, run_id: str) -> set[str]:
        """Return what a run has leased, dead or alive."""
        names = (LEASES.name(key) for key in self.lease_rows(run_id))
        return {digest for row in self.get_many(LEASES, names).values() for digest in row.digests}

    def lease_rows(self, run_id: str) -> list[str]:
        """Return the index keys of the rows of a run's leases."""
        prefix = LEASES.key(f"{run_id}:")
        return [prefix + number for number in self._reader.names(prefix)]


def _pinned(entry: Entry) -> Entry:
    return replace(entry, pinned=True)
