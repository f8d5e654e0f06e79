"""Filling a bundle: each track becomes a file in the staging folder, or the published file that is right already."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.blobs import hash_file, is_digest
from cachestore.links import LinkMode
from exporter_plugin.destination import FileState, edited_warning, writing
from exporter_plugin.formats import write_all
from exporter_plugin.manifest import MEDIA, OwnedFile
from exporter_plugin.naming import Named, track_stems
from exporter_plugin.outcome import Hole

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from cachestore.events import OnEvent
    from exporter_plugin.destination import Destination
    from exporter_plugin.outcome import BundleView, Outcome
    from exporter_plugin.row import Row


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Have the staging folder for the block; what is not published by then goes."""
    try:
        with writing(folder.parent):
            folder.mkdir()
            (folder / MEDIA).mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Staging:
    """The files of one export on their way to `destination`; `tell` hears warnings."""

    def __init__(
        self, folder: Path, destination: Destination, rows: Sequence[Row], link_mode: LinkMode, tell: OnEvent
    ) -> None:
        self._folder = folder
        self._destination = destination
        self._rows = len(rows)
        self._taken = destination.taken_stems()
        self._named = _unpublished(rows, destination.published_stems())
        self._stems = track_stems([*self._named.values()], self._rows, self._taken) | destination.published_stems()
        self._link_mode = link_mode
        self._tell = tell
        self._placed: dict[str, OwnedFile] = {}

    def place(self, row: Row, ext: str, content: str, make: Callable[[Path], LinkMode]) -> OwnedFile:
        """Return the file of a row's track, whose bytes are `content`; rows of one identity share it.

        `make` writes the file and returns the mode used. It is not called when the published file is right already, or
        was changed by somebody, who is told that it is kept.
        """
        identity = row.identity
        if identity not in self._placed:
            file = f"{MEDIA}/{self._stem(row)}.{ext}"
            kept = self._kept(file, lambda own: own.content == content and self._is_linked_right(own))
            self._placed[identity] = kept or self._made(file, identity, content, make)
        return self._placed[identity]

    def files_of(self, outcomes: Sequence[Outcome]) -> list[OwnedFile]:
        """Return the files of all tracks; what is published of one that failed now stays ours, and stays."""
        failed = {outcome.row.identity for outcome in outcomes if isinstance(outcome, Hole)}
        left = [own for own in self._destination.owned if own.identity in failed and self._is_there(own)]
        return [*self._placed.values(), *left]

    def write_playlists(self, view: BundleView, formats: Collection[str] = ()) -> list[OwnedFile]:
        """Write the bundle in the `formats`, or in each that applies, and return the files that are ours."""
        with writing(self._folder):
            write_all(view, self._folder, self._tell, formats)
            playlists = [self._settle(path) for path in sorted(self._folder.iterdir()) if path.is_file()]
        return [owned for owned in playlists if owned]

    def locate(self, file: str) -> Path:
        """Return where a file of the bundle lies now."""
        staged = self._folder / file
        return staged if staged.exists() else self._destination.path / file

    def _stem(self, row: Row) -> str:
        """Return the planned stem, or one by the title that the service gave where the mix has none."""
        named = self._named.get(row.identity)
        if named is not None and named.title != row.track.title:
            # The index keeps it apart from all others of this export.
            self._stems |= track_stems([replace(named, title=row.track.title)], self._rows, self._taken)
            del self._named[row.identity]
        return self._stems[row.identity]

    def _is_there(self, own: OwnedFile) -> bool:
        return self._destination.look_at(own.file)[0] is not FileState.ABSENT

    def _is_linked_right(self, own: OwnedFile) -> bool:
        return own.is_local or self._link_mode in {LinkMode.AUTO, own.link_mode}

    def _kept(self, file: str, is_right: Callable[[OwnedFile], bool]) -> OwnedFile | None:
        """Return the record of a published file that stays, since it is right already or somebody's work.

        That is told; it has no record if it never was ours.
        """
        state, owned = self._destination.look_at(file)
        if owned and state is FileState.OURS and is_right(owned):
            return owned
        if state is FileState.ABSENT or (owned and state is FileState.OURS and self._destination.has_bytes(owned)):
            return None
        self._tell(edited_warning(self._destination.path / file))
        return owned

    def _made(self, file: str, identity: str, content: str, make: Callable[[Path], LinkMode]) -> OwnedFile:
        mode = make(self._folder / file)
        digest = content if is_digest(content) else hash_file(self._folder / file)
        return replace(self._record(file, digest), identity=identity, content=content, link_mode=mode)

    def _settle(self, path: Path) -> OwnedFile | None:
        """Return the record of a staged playlist, which gives way to one that is equal, edited or foreign."""
        there = self._destination.path / path.name
        kept = self._kept(path.name, lambda _: there.read_bytes() == path.read_bytes())
        if not kept and self._destination.look_at(path.name)[0] is not FileState.FOREIGN:
            return self._record(path.name, hash_file(path))
        path.unlink()
        return kept

    def _record(self, file: str, digest: str) -> OwnedFile:
        info = (self._folder / file).lstat()
        return OwnedFile(file, info.st_size, info.st_mtime_ns, digest)


def _unpublished(rows: Sequence[Row], published: Collection[str]) -> dict[str, Named]:
    """Return by identity what the names of the tracks are made of that have none yet; their first row counts."""
    firsts = {row.identity: (index, row) for index, row in reversed(list(enumerate(rows, 1)))}
    return {
        identity: Named(identity, index, row.track.artist, row.track.title, row.fallback)
        for identity, (index, row) in firsts.items()
        if identity not in published
    }
