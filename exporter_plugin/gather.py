"""Bringing every row its file: cloud tracks through the cache as they arrive, then local ones as private copies."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.errors import BlobDamaged, Cancelled, LocalFileError
from cachestore.events import Provenance, State
from cachestore.links import LinkMode, copy_private
from exporter_plugin.local import local_failures, look_at

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from pathlib import Path

    from cachestore.cache import Cache, Result
    from cachestore.entry import Entry
    from cachestore.errors import TrackError
    from cachestore.track import Track
    from exporter_plugin.manifest import OwnedFile
    from exporter_plugin.row import Row
    from exporter_plugin.staging import Staging
    from exporter_plugin.telling import Teller


@dataclass(frozen=True, slots=True)
class Options:
    """How tracks are brought: as the options of the command line of the same names."""

    link_mode: LinkMode
    jobs: int | None
    offline: bool
    refresh: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """A row that has its file in the bundle; `entry` is None for a local track."""

    owned: OwnedFile
    origin: Provenance | None
    entry: Entry | None = None
    stale: bool = False


if TYPE_CHECKING:
    Outcome = Placed | TrackError


class Gatherer:
    """Fill `staging` with the tracks of `rows`, and tell `teller` what becomes of each."""

    def __init__(
        self,
        rows: Sequence[Row],
        cache: Cache,
        staging: Staging,
        teller: Teller,
        options: Options,
        cancel: threading.Event | None,
    ) -> None:
        self._outcomes: dict[int, Outcome] = {}
        self._rows = rows
        self._cache = cache
        self._staging = staging
        self._teller = teller
        self._options = options
        self._cancel = cancel

    def gather(self) -> list[Outcome]:
        """Try all rows and return their outcomes in order. Raise Cancelled, or what ends the export as a whole."""
        local = {index: row.path for index, row in enumerate(self._rows) if row.path is not None}
        for index in local:
            self._teller.state(index, State.QUEUED)
        tracks = {index: row.track for index, row in enumerate(self._rows) if row.track is not None}
        damaged = self._bring(tracks, refresh=self._options.refresh)
        # A blob that was whole when it was looked up and is not now: the one download more that puts it right.
        again = {index: tracks[index] for index in damaged}
        for error in self._bring(again, refresh=not self._options.offline).values():
            raise error
        for index, path in local.items():
            self._copy(index, path)
        self._raise_if_cancelled()
        return [self._outcomes[index] for index in range(len(self._rows))]

    def _bring(self, tracks: dict[int, Track], *, refresh: bool) -> dict[int, BlobDamaged]:
        """Fetch and link `tracks`, by row, and return the rows whose blob was damaged meanwhile."""
        damaged: dict[int, BlobDamaged] = {}
        if not tracks:
            return damaged
        indexes = list(tracks)
        results = self._cache.fetch(
            list(tracks.values()),
            jobs=self._options.jobs,
            refresh=refresh,
            offline=self._options.offline,
            on_event=self._teller.of_fetch(indexes),
            cancel=self._cancel,
        )
        with closing(results):
            for result in results:
                try:
                    self._settle(indexes[result.index], result)
                except BlobDamaged as error:
                    damaged[indexes[result.index]] = error
        return damaged

    def _settle(self, index: int, result: Result) -> None:
        if result.error is not None:
            self._fail(index, result.error)
            return
        entry = result.entry
        owned = self._staging.place(
            self._rows[index].identity,
            entry.ext,
            entry.digest,
            self._options.link_mode,
            lambda staged: self._cache.link(entry, staged, self._options.link_mode),
        )
        self._succeed(index, Placed(owned, result.origin, entry, result.stale))

    def _copy(self, index: int, path: Path) -> None:
        self._raise_if_cancelled()
        self._teller.state(index, State.LINKING, Provenance.LOCAL)
        try:
            owned = self._place_local(self._rows[index], path)
        except LocalFileError as error:
            self._fail(index, error)
        else:
            self._succeed(index, Placed(owned, Provenance.LOCAL))

    def _place_local(self, row: Row, path: Path) -> OwnedFile:
        with local_failures(row):
            found = look_at(path, row)
            return self._staging.place(
                row.identity, found.ext, found.content, LinkMode.AUTO, lambda staged: copy_private(path, staged)
            )

    def _succeed(self, index: int, placed: Placed) -> None:
        self._outcomes[index] = placed
        self._teller.done(index, placed.origin, placed.owned.size)

    def _fail(self, index: int, error: TrackError) -> None:
        self._outcomes[index] = error
        self._teller.failed(index, error)

    def _raise_if_cancelled(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled
