"""What an export would do, found out without doing any of it: no server is asked, and what is written goes again."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cachestore.errors import NotCached, RootMissing
from cachestore.events import Provenance
from cachestore.store.reader import StoreReader
from exporter_plugin.destination import FileState, absolute, inspect, writing
from exporter_plugin.foresight import foresee
from exporter_plugin.formats import chosen, write_all
from exporter_plugin.layout import Fate, Layout
from exporter_plugin.manifest import OwnedFile
from exporter_plugin.options import CONFIGURED
from exporter_plugin.outcome import BundleView, Hole, Placed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from cachestore.config import Config
    from cachestore.errors import TrackError
    from cachestore.events import OnEvent
    from exporter_plugin.destination import Destination
    from exporter_plugin.foresight import Foreseen
    from exporter_plugin.options import Options
    from exporter_plugin.outcome import Outcome
    from exporter_plugin.row import Mix, Row


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
    """What an export to `dest` would do, and the `errors` of tracks that it would meet at once."""

    dest: Path
    name: str
    files: tuple[PlannedFile, ...]
    errors: tuple[TrackError, ...]
    exit_code: int

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
) -> Plan:
    """Return what `export_mix` would do with the same arguments, as far as it is known here.

    `on_event` is told which formats fail. Servers may have other versions of what is cached. Raise TemplateError,
    FormatUnknown or DestinationError.
    """
    chosen(options.formats)
    wishes = options.over(config)
    name = options.name or mix.name or absolute(dest).name
    destination = inspect(Path(dest), config.root, name)
    planning = _Planning(destination, Layout(destination, mix.rows, wishes), offline=options.offline)
    with _store(config.root) as store:
        found = list(foresee(mix.rows, None if options.refresh else store))
    tracks = list(planning.tracks(found))
    playlists = planning.playlists(mix.rows, name, options.formats, on_event or (lambda _: None))
    files = (*tracks, *playlists, *planning.others(file.file for file in (*tracks, *playlists)))
    skips = wishes.skips_failures and len(planning.errors) < len(found)
    exit_code = (3 if skips else 1) if planning.errors else 0
    return Plan(destination.path, name, files, tuple(planning.errors), exit_code)


def _store(root: Path) -> AbstractContextManager[StoreReader | None]:
    try:
        return StoreReader.open_readonly(root)
    except RootMissing:
        return nullcontext()


class _Planning:
    """Deciding on one file after the other; `errors` are those of the tracks so far."""

    def __init__(self, destination: Destination, layout: Layout, *, offline: bool) -> None:
        self._destination = destination
        self._layout = layout
        self._offline = offline
        self._found: dict[str, Foreseen] = {}
        self._planned: dict[str, PlannedFile] = {}
        self._made_of: dict[str, Path] = {}
        self.errors: list[TrackError] = []

    def tracks(self, found: Sequence[Foreseen]) -> Iterator[PlannedFile]:
        """Yield the files of tracks; what is published of one that fails stays."""
        published = {own.identity: own.file for own in reversed(self._destination.owned) if self._is_there(own)}
        for one in found:
            there, error = published.get(one.row.identity), self._error(one)
            self._found[one.row.identity] = replace(one, error=error)
            if error is not None:
                self.errors.append(error)
            if error is None:
                planned = self._planned[one.row.identity] = self._plan(one, there)
                if one.place is not None and planned.action in {Fate.ADD, Fate.REPLACE}:
                    self._made_of[planned.file] = one.place
                yield planned
            elif there is not None:
                yield PlannedFile(Fate.KEEP, there, one.row.address, one.row.label)

    def playlists(self, rows: Sequence[Row], name: str, formats: Collection[str], tell: OnEvent) -> list[PlannedFile]:
        """Return playlist and projects, which are written where nobody sees them: with what is known of the tracks."""
        with TemporaryDirectory(prefix="cachestore-", ignore_cleanup_errors=True) as scratch, writing(Path(scratch)):
            audio, written = Path(scratch, "audio"), Path(scratch, "written")
            audio.mkdir()
            written.mkdir()
            view = BundleView(name, [self._outcome(row) for row in rows], partial(self._locate, audio))
            files = write_all(view, written, tell, formats)
            return [self._playlist(path) for path in sorted(files, key=lambda path: path.name)]

    def others(self, wanted: Iterable[str]) -> Iterator[PlannedFile]:
        """Yield the files that are not `wanted` any more."""
        for file, is_untouched in self._destination.unwanted(wanted):
            yield PlannedFile(Fate.REMOVE if is_untouched else Fate.EDITED, file)

    def _playlist(self, path: Path) -> PlannedFile:
        there = self._destination.path / path.name
        fate, _ = self._layout.fate(path.name, lambda _: there.read_bytes() == path.read_bytes())
        return PlannedFile(fate, path.name)

    def _outcome(self, row: Row) -> Outcome:
        found = self._found[row.identity]
        if found.error is not None:
            return Hole(row, found.error)
        file = self._planned[row.identity].file
        owned = OwnedFile(file, found.size or 0, 0, "", row.identity, found.content)
        return Placed(row.called(found.row.label), owned)

    def _locate(self, audio: Path, file: str) -> Path:
        """Return what has the sound of a file: the published one, or one in `audio` under its extension."""
        place = self._made_of.get(file)
        if place is None:
            return self._destination.path / file
        link = audio / PurePosixPath(file).name
        if not link.is_symlink():
            link.symlink_to(place.absolute())
        return link

    def _plan(self, one: Foreseen, there: str | None) -> PlannedFile:
        row = one.row
        if one.size is None:
            file = self._layout.file_of(row, "*")
            file = there if there and there.startswith(file.removesuffix("*")) else file
            fate, _ = self._layout.fate(file, lambda _: False)
            return PlannedFile(fate, file, row.address, row.label, Provenance.NETWORK)
        file = self._layout.file_of(row, one.ext)
        fate, _ = self._layout.fate(file, self._layout.is_right(row, one.content))
        origin = Provenance.CACHE if row.path is None else Provenance.LOCAL
        return PlannedFile(fate, file, row.address, row.label, origin, one.size)

    def _is_there(self, own: OwnedFile) -> bool:
        return self._destination.look_at(own.file)[0] is not FileState.ABSENT

    def _error(self, one: Foreseen) -> TrackError | None:
        if self._offline and one.size is None and one.error is None:
            return NotCached(one.row.address, one.row.label, "it is not in the cache, and --offline makes no request")
        return one.error
