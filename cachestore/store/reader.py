"""Looking at the store without changing a byte of it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from cachestore.blobs import Blobs
from cachestore.errors import IndexDamaged, NotInCache
from cachestore.index.reader import IndexReader
from cachestore.links import LinkMode
from cachestore.root import existing_root
from cachestore.rows import (
    BLOB,
    BUNDLE,
    ENTRY,
    META,
    RUN,
    TRACK,
    BlobRow,
    Bundle,
    MetaRow,
    RunRow,
    TrackRow,
    batches,
    checked_digest,
    decoded,
    entry_from_row,
    get_as,
)
from cachestore.runs import is_alive, is_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.index.reader import Row
    from cachestore.root import Root
    from cachestore.rows import T
    from cachestore.track import Track


@dataclass(frozen=True, slots=True)
class Leases:
    """What living runs need: blobs by digest, and whatever was stored since the first of them began."""

    digests: frozenset[str]
    since: float

    def on(self, entry: Entry) -> str:
        """Return why the entry must stay, or nothing."""
        return "in use by a running export" if entry.digest in self.digests or entry.stored_at >= self.since else ""


class StoreReader:
    """What can be asked of a store; one thread only."""

    def __init__(self, root: Root, index: IndexReader) -> None:
        self.root = root
        self.blobs = Blobs(root.blobs)
        self._reader = index

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
        pinned = {f"{key[2:]}@{row.kept[0]}" for key, row in self._tracks() if row.pinned and row.kept}
        for key, row in self._scan(ENTRY, entry_from_row):
            yield _pinned(row) if key[2:] in pinned else row

    def kept(self, tracks: Iterable[Track]) -> dict[str, list[Entry]]:
        """Return by address the entries kept of `tracks`, the current version first."""
        addresses = [track.address for track in tracks]
        rows = self._get_many(TRACK, addresses, TrackRow.from_row)
        keys = [f"{address}@{version}" for address, row in rows.items() for version in row.kept]
        entries = self._get_many(ENTRY, keys, entry_from_row)
        return {
            address: [
                _pinned(entry) if row.pinned and position == 0 else entry
                for position, version in enumerate(row.kept)
                if (entry := entries.get(f"{address}@{version}"))
            ]
            for address, row in rows.items()
        }

    def named(self, track: Track) -> list[Entry]:
        """Return the entries that an address names: all versions of a track, or the one it pins. Raise NotInCache."""
        entries = self.kept([track]).get(track.address, [])
        if track.version is not None:
            entries = [entry for entry in entries if entry.version.matches(track.version)]
        if not entries:
            raise NotInCache(f"{track.address}@{track.version}" if track.version else track.address)
        return entries

    def entries_of(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Return by key the entries of those of `keys` that have one; the pins of tracks are not resolved."""
        return self._get_many(ENTRY, keys, entry_from_row)

    def blob_rows(self) -> Iterator[tuple[str, BlobRow]]:
        """Yield digest and row of every blob that the index knows."""
        for key, row in self._scan(BLOB, BlobRow.from_row):
            yield key[len(BLOB) :], row

    def blob_rows_of(self, digests: Iterable[str]) -> dict[str, BlobRow]:
        """Return the blob rows of those of `digests` that have one."""
        return self._get_many(BLOB, digests, BlobRow.from_row)

    def known_blobs(self, digests: Iterable[str]) -> set[str]:
        """Return those of `digests` that have a row, be it a damaged one."""
        return {key[len(BLOB) :] for key in self._reader.existing(BLOB + digest for digest in digests)}

    def orphans(self) -> Iterator[list[str]]:
        """Yield, in batches, the digests of blobs that no row knows and that are younger than the index.

        Their publishing crashed half-way. Older ones are not ours to judge: the index was lost since.
        """
        created_at = self.meta().created_at
        for batch in batches(self.blobs.iterate()):
            found = {digest: path for path in batch if (digest := self.blobs.digest_of(path))}
            unknown = found.keys() - self.known_blobs(found)
            yield [digest for digest in unknown if (info := self.blobs.stat(digest)) and info.st_mtime > created_at]

    def bundles(self) -> Iterator[Bundle]:
        """Yield the registered bundles, also those that were deleted or moved since."""
        for _, bundle in self._scan(BUNDLE, Bundle.from_row):
            yield bundle

    def holders(self) -> dict[str, list[Bundle]]:
        """Return by digest the living bundles that hold a hard link to the blob.

        A bundle's folders are listed once each; a file counts when its inode is the blob's.
        """
        holders: dict[str, list[Bundle]] = {}
        for bundle in self.bundles():
            linked = [file for file in bundle.files if file.mode is LinkMode.HARDLINK]
            rows = self.blob_rows_of(file.digest for file in linked)
            inodes = _inodes(bundle.dest, {os.path.dirname(file.file) for file in linked})  # noqa: PTH120 (not a path of this OS)
            for digest in {
                file.digest
                for file in linked
                if file.digest in rows and inodes.get(file.file) == rows[file.digest].witness.inode
            }:
                holders.setdefault(digest, []).append(bundle)
        return holders

    def runs(self) -> Iterator[tuple[str, RunRow]]:
        """Yield id and row of every run that has not ended properly: those that live and those that died."""
        for key, run in self._scan(RUN, RunRow.from_row):
            if is_run_id(key[len(RUN) :]):
                yield key[len(RUN) :], run

    def leases(self) -> Leases:
        """Return what the living runs need."""
        living = [run for run_id, run in self.runs() if is_alive(self.root.runs, run_id)]
        return Leases(
            frozenset(digest for run in living for digest in run.leased),
            min((run.started_at for run in living), default=math.inf),
        )

    def meta(self) -> MetaRow:
        """Return the store's own row. A damaged one says that the index is younger than everything."""
        return get_as(self._reader, META, MetaRow.from_row) or MetaRow(created_at=math.inf)

    def damaged_rows(self) -> Iterator[str]:
        """Yield the index keys of rows that cannot be read."""
        yield from self._reader.damaged()
        for prefix, make in _MAKERS.items():
            yield from (key for key, row in self._reader.scan(prefix) if _sound(key, row, make) is None)

    def _tracks(self) -> Iterator[tuple[str, TrackRow]]:
        return self._scan(TRACK, TrackRow.from_row)

    def _scan(self, prefix: str, make: Callable[[Row], T]) -> Iterator[tuple[str, T]]:
        """Yield the sound rows below `prefix`: a damaged row hides only itself, and `damaged_rows` names it."""
        for key, row in self._reader.scan(prefix):
            if (value := _sound(key, row, make)) is not None:
                yield key, value

    def _get_many(self, prefix: str, names: Iterable[str], make: Callable[[Row], T]) -> dict[str, T]:
        rows = self._reader.get_many([prefix + name for name in names])
        values = {key[len(prefix) :]: _sound(key, row, make) for key, row in rows.items()}
        return {name: value for name, value in values.items() if value is not None}


_MAKERS: Mapping[str, Callable[[Row], object]] = {
    TRACK: TrackRow.from_row,
    ENTRY: entry_from_row,
    BLOB: BlobRow.from_row,
    BUNDLE: Bundle.from_row,
    RUN: RunRow.from_row,
    META: MetaRow.from_row,
}


def _sound(key: str, row: Row, make: Callable[[Row], T]) -> T | None:
    try:
        if key.startswith(BLOB):
            checked_digest(key[len(BLOB) :])
        return decoded(key, row, make)
    except (IndexDamaged, ValueError):
        return None


def _pinned(entry: Entry) -> Entry:
    return replace(entry, pinned=True)


def _inodes(dest: Path, folders: Iterable[str]) -> dict[str, int]:
    """Return the inode of every file in `folders` of a bundle, by its path in the bundle; a lost bundle has none."""
    inodes: dict[str, int] = {}
    for folder in folders:
        try:
            with os.scandir(dest / folder) as files:
                inodes.update({f"{folder}/{file.name}" if folder else file.name: file.inode() for file in files})
        except OSError:
            continue
    return inodes
