"""What an export will find: the bytes that are on this machine already, and the files that tracks will have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.errors import CachedFileError, LocalFileError
from cachestore.fetching.decide import candidates, not_cached
from exporter_plugin.local import look_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.errors import TrackError
    from cachestore.store.reader import StoreReader
    from exporter_plugin.layout import Layout
    from exporter_plugin.row import Row


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A track whose bytes are at `place`: `ext`, `content` and `size` say what they are; or the `error` that it meets.

    A cloud track that has to be downloaded has none of these; one that is cached is kept under a `label`.
    """

    row: Row
    ext: str = ""
    content: str = ""
    size: int | None = None
    error: TrackError | None = None
    place: Path | None = None
    label: str = ""


def foresee(rows: Sequence[Row], store: StoreReader | None, *, offline: bool = False) -> Iterator[Foreseen]:
    """Yield what is here of each track once, in the order of the mix, without asking a server.

    When `offline`, what is not here is an error.
    """
    cloud = [row.track for row in rows if row.path is None]
    kept = store.kept(cloud) if store is not None else {}
    firsts: dict[str, Row] = {}
    for row in rows:
        firsts.setdefault(row.identity, row)
    for row in firsts.values():
        yield _of_local(row, row.path) if row.path is not None else _of_cloud(row, store, kept, offline=offline)


def copies_of(rows: Sequence[Row], store: StoreReader, layout: Layout) -> Iterator[tuple[Row, int]]:
    """Yield the tracks that have no right file in the bundle, with their bytes, as far as these are here."""
    for found in foresee(rows, store):
        if found.size is not None:
            file = layout.file_of(found.row, found.ext)
            if layout.is_to_be_made(file, layout.is_right(found.row.identity, found.content)):
                yield found.row, found.size


def kept_of(rows: Sequence[Row], store: StoreReader, errors: Iterable[TrackError]) -> int:
    """Return how many rows of cloud tracks have their bytes in the cache, where the next export can use them.

    Which it cannot, `errors` say.
    """
    unusable = {error.track for error in errors if isinstance(error, CachedFileError)}
    cloud = [row for row in rows if row.path is None and row.track.address not in unusable]
    kept = {found.row.identity for found in foresee(cloud, store) if found.place is not None}
    return sum(row.identity in kept for row in cloud)


def _of_local(row: Row, path: Path) -> Foreseen:
    try:
        return Foreseen(row, *look_at(row, path), place=path)
    except LocalFileError as error:
        return Foreseen(row, error=error)


def _of_cloud(row: Row, store: StoreReader | None, kept: Mapping[str, Sequence[Entry]], *, offline: bool) -> Foreseen:
    for entry in candidates(row.track, kept.get(row.track.address, ())):
        if store is not None and store.blobs.stat(entry.digest) is not None:
            place = store.blobs.path(entry.digest)
            row = row.called(entry.label)
            return Foreseen(row, entry.ext, entry.digest, entry.size, place=place, label=entry.label)
    return Foreseen(row, error=not_cached(row.track) if offline else None)
