"""What an export would do, found out without doing any of it: no server is asked, and nothing is written."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cachestore.blobs import checked
from cachestore.errors import LinkError, RootMissing
from cachestore.events import Provenance
from cachestore.links import LinkMode
from cachestore.store.reader import StoreReader
from exporter_plugin.foresight import foresee
from exporter_plugin.formats import chosen, decided, render_all
from exporter_plugin.formats.view import BundleView
from exporter_plugin.gather import raise_if_set
from exporter_plugin.inspection import inspect
from exporter_plugin.layout import Fate, Layout
from exporter_plugin.manifest import OwnedFile
from exporter_plugin.options import CONFIGURED
from exporter_plugin.outcome import Hole, Placed

if TYPE_CHECKING:
    import threading
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cachestore.config import Config
    from cachestore.errors import TrackError
    from cachestore.events import OnEvent
    from exporter_plugin.destination import Destination
    from exporter_plugin.foresight import Foreseen
    from exporter_plugin.options import Options
    from exporter_plugin.outcome import Outcome
    from exporter_plugin.row import Mix, Row

_MADE = {Fate.ADD, Fate.REPLACE}


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file of the bundle and what an export does with it; `track`, `label` and `origin` of a track that is wanted.

    A track that is to be downloaded has `origin` network, and the extension ``*`` if it has no file yet.
    """

    action: Fate
    file: str
    track: str | None = None
    label: str | None = None
    origin: Provenance | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an export to `dest` would do, and the `errors` of tracks that it would meet at once.

    An `unfinished` bundle is one that a stopped export left, which this one mends.
    """

    dest: Path
    name: str
    files: tuple[PlannedFile, ...]
    errors: tuple[TrackError, ...]
    exit_code: int
    unfinished: bool

    @property
    def downloads(self) -> list[str]:
        """Return the tracks that are to be downloaded."""
        return [str(file.track) for file in self.files if file.origin is Provenance.NETWORK]


def plan_export(
    mix: Mix,
    dest: Path | str,
    options: Options = CONFIGURED,
    *,
    config: Config,
    on_event: OnEvent | None = None,
    cancel: threading.Event | None = None,
) -> Plan:
    """Return what `export_mix` would do with the same arguments, as far as it is known here.

    `on_event` is told which formats fail. Servers may have other versions of what is cached. Raise TemplateError,
    FormatUnknown, DestinationError, Cancelled, or LinkError where hard links would have to lead to another disk.
    """
    chosen(options.formats)
    wishes = options.over(config)
    destination = inspect(dest, config.root, options.name or mix.name)
    with _store(config.root) as store, checked(partial(raise_if_set, cancel)):
        found = list(foresee(mix.rows, None if options.refresh else store, offline=options.offline))
        layout = Layout(destination, mix.rows, wishes, store.is_blob if store is not None else lambda *_: False)
        planning = _Planning(destination, layout, found)
        if wishes.link_mode is LinkMode.HARDLINK:
            _refuse_another_disk(config.root, destination.path, planning.tracks.values())
        playlists = planning.playlists(mix.rows, options.formats, on_event or (lambda _: None))
        wanted = (*planning.tracks.values(), *planning.left, *playlists)
        files = (*wanted, *planning.others(file.file for file in wanted))
    raise_if_set(cancel)
    errors = tuple(one.error for one in found if one.error)
    skips = wishes.skips_failures and len(errors) < len(found)
    return Plan(
        destination.path,
        destination.name,
        files,
        errors,
        exit_code=(3 if skips else 1) if errors else 0,
        unfinished=destination.published is not None and not destination.published.finished,
    )


def _store(root: Path) -> AbstractContextManager[StoreReader | None]:
    try:
        return StoreReader.open_readonly(root)
    except RootMissing:
        return nullcontext()


def _refuse_another_disk(root: Path, dest: Path, tracks: Iterable[PlannedFile]) -> None:
    """Raise LinkError if cloud tracks are to be made at `dest` and the store is on another disk.

    What else is impossible turns out when it is tried only, and nothing is written here.
    """
    made = (track for track in tracks if track.action in _MADE and track.origin is not Provenance.LOCAL)
    for track in made if _disk(root) != _disk(dest) else ():
        raise LinkError(dest / track.file, LinkMode.HARDLINK, os.strerror(errno.EXDEV))


def _disk(path: Path) -> int:
    """Return on which disk a folder is, or is going to be."""
    return next(folder.stat().st_dev for folder in (path, *path.parents) if folder.exists())


class _Planning:
    """What becomes of the files of a bundle; `tracks` by identity."""

    def __init__(self, destination: Destination, layout: Layout, found: Sequence[Foreseen]) -> None:
        self._destination = destination
        self._layout = layout
        self._published = {own.identity: own.file for own in reversed(destination.owned) if destination.has(own.file)}
        self._found = {one.row.identity: one for one in found}
        self.left = [self._left(own) for own in destination.files_of({one.row.identity for one in found if one.error})]
        self.tracks = {one.row.identity: self._track(one) for one in found if not one.error}
        self._settle()
        self._made_of = {
            file.file: place
            for identity, file in self.tracks.items()
            if file.action in _MADE and (place := self._found[identity].place)
        }

    def _settle(self) -> None:
        """Let tracks give way as an export does to the files of those that fail."""
        made = [identity for identity, file in self.tracks.items() if file.action in _MADE]
        self._layout.settle(made, [left.file for left in self.left])
        for one in (self._found[identity] for identity in made):
            if self._file(one) != self.tracks[one.row.identity].file:
                self.tracks[one.row.identity] = self._track(one)

    def _track(self, one: Foreseen) -> PlannedFile:
        """Return the file of a track."""
        row, file = one.row, self._file(one)
        if one.size is None:
            fate, _ = self._layout.fate(file, lambda _: False)
            return PlannedFile(fate, file, row.address, row.label, Provenance.NETWORK)
        fate, _ = self._layout.fate(file, self._layout.is_right(row.identity, one.content))
        origin = Provenance.CACHE if row.path is None else Provenance.LOCAL
        return PlannedFile(fate, file, row.address, row.label, origin, one.size)

    def _file(self, one: Foreseen) -> str:
        """Return how the file of a track is called; of one that is to be downloaded, as the one that is there."""
        file, there = self._layout.file_of(one.row, one.ext or "*"), self._published.get(one.row.identity)
        return there if not one.ext and there and there.startswith(file.removesuffix("*")) else file

    def _left(self, own: OwnedFile) -> PlannedFile:
        """Return what is published of a track that fails, which stays."""
        row = self._found[str(own.identity)].row
        return PlannedFile(Fate.KEEP, own.file, row.address, row.label)

    def playlists(self, rows: Sequence[Row], formats: Collection[str], tell: OnEvent) -> list[PlannedFile]:
        """Return playlist and projects, of what is known of the tracks."""
        view = BundleView(self._destination.name, [self._outcome(row) for row in rows], self._locate)
        files, failed = render_all(view, tell, formats)
        planned = [self._playlist(file, content) for file, content in sorted(files.items())]
        earlier = self._destination.playlists_unlike(files, decided(failed)) if failed else []
        return [*planned, *(PlannedFile(Fate.KEEP, own.file) for own in earlier)]

    def others(self, wanted: Iterable[str]) -> Iterator[PlannedFile]:
        """Yield the files that are not `wanted` any more."""
        for own, looks_ours in self._destination.unwanted(wanted):
            is_untouched = looks_ours and self._destination.has_bytes(own)
            yield PlannedFile(Fate.REMOVE if is_untouched else Fate.EDITED, own.file)

    def _playlist(self, file: str, content: bytes) -> PlannedFile:
        file = self._layout.playlist(file)
        there = self._destination.path / file
        fate, _ = self._layout.fate(file, lambda _: there.read_bytes() == content)
        return PlannedFile(fate, file)

    def _outcome(self, row: Row) -> Outcome:
        found = self._found[row.identity]
        if found.error is not None:
            return Hole(row, found.error)
        file = self.tracks[row.identity].file
        owned = OwnedFile(file, found.size or 0, 0, "", row.identity, found.content)
        return Placed(row.called(found.label), owned)

    def _locate(self, file: str) -> Path:
        """Return what has the sound of a file: the published one, or what it is going to be made of."""
        return self._made_of.get(file) or self._destination.path / file
