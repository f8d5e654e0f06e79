"""Filling a bundle: each track becomes a file in the staging folder, or the published file that is right already."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.events import WarningEvent
from cachestore.links import LinkMode
from exporter_plugin.bundle import edited_warning, writing
from exporter_plugin.formats import m3u8, other_formats
from exporter_plugin.manifest import MEDIA, OwnedFile
from exporter_plugin.naming import Named, track_stems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from cachestore.events import OnEvent
    from exporter_plugin.bundle import Destination
    from exporter_plugin.formats import BundleView
    from exporter_plugin.row import Row


class Staging:
    """The files of one export on their way to `destination`; `tell` hears warnings."""

    def __init__(self, folder: Path, destination: Destination, rows: Sequence[Row], tell: OnEvent) -> None:
        self._folder = folder
        self._destination = destination
        self._tell = tell
        self._stems = _stems(rows, destination)
        self.placed: dict[str, OwnedFile] = {}
        self.made: list[OwnedFile] = []

    def place(
        self, identity: str, ext: str, content: str, mode: LinkMode, make: Callable[[Path], LinkMode]
    ) -> OwnedFile:
        """Return the file of a track whose bytes are `content`; rows of one identity share it.

        `make` writes the file and returns the mode used. It is not called when the published file is right already, or
        was changed by somebody, who is told that it is kept.
        """
        if identity not in self.placed:
            file = f"{MEDIA}/{self._stems[identity]}.{ext}"
            there = self._published(file, content, mode)
            self.placed[identity] = there or self._make(file, identity, content, make)
        return self.placed[identity]

    def write_playlists(self, view: BundleView) -> list[OwnedFile]:
        """Write the bundle in every format and return the files that are ours; a format that fails costs a warning."""
        with writing(self._folder):
            m3u8.write(view, self._folder)
        for point in other_formats():
            self._write_other(point, view)
        with writing(self._folder):
            playlists = (self._settle(path) for path in sorted(self._folder.iterdir()) if path.is_file())
            return [owned for owned in playlists if owned]

    def left_of(self, identities: set[str]) -> list[OwnedFile]:
        """Return what is published of tracks that failed now: it stays ours, and stays."""
        return [
            own for own in self._destination.owned if own.identity in identities and self._destination.has(own.file)
        ]

    def _published(self, file: str, content: str, mode: LinkMode) -> OwnedFile | None:
        there = self._destination.untouched(file)
        if there and there.content == content and mode in {LinkMode.AUTO, there.link_mode}:
            return there
        edited = self._destination.edited(file)
        if edited:
            self._tell(edited_warning(self._destination.path / file))
        return edited

    def _make(self, file: str, identity: str, content: str, make: Callable[[Path], LinkMode]) -> OwnedFile:
        mode = make(self._folder / file)
        owned = replace(self._record(file), identity=identity, content=content, link_mode=mode)
        self.made.append(owned)
        return owned

    def _write_other(self, point: EntryPoint, view: BundleView) -> None:
        before = set(self._folder.iterdir())
        try:
            point.load()(view, self._folder)
        except Exception as error:  # noqa: BLE001 - somebody else's format may fail in any way; the audio is here
            for half in set(self._folder.iterdir()) - before:
                half.unlink()
            reason = f"{type(error).__name__}: {error}"
            self._tell(WarningEvent("format_failed", f"the bundle has no {point.name} file ({reason})"))

    def _settle(self, path: Path) -> OwnedFile | None:
        """Return the record of a staged playlist, which gives way to one that is equal, edited or foreign."""
        file, target = path.name, self._destination.path / path.name
        there = self._destination.untouched(file)
        if there is None and not self._destination.has(file):
            return self._record(file)
        if there and target.read_bytes() != path.read_bytes():
            return self._record(file)
        if there is None:
            self._tell(edited_warning(target))
        path.unlink()
        return there or self._destination.edited(file)

    def _record(self, file: str) -> OwnedFile:
        info = (self._folder / file).lstat()
        return OwnedFile(file, info.st_size, info.st_mtime_ns)


def _stems(rows: Sequence[Row], destination: Destination) -> dict[str, str]:
    """Return the stem of every track by identity: the published one, else a new one by its first row."""
    published = destination.published_stems()
    firsts = {row.identity: index for index, row in reversed(list(enumerate(rows, 1)))}
    named = [
        Named(identity, index, rows[index - 1].artist, rows[index - 1].title, rows[index - 1].fallback)
        for identity, index in firsts.items()
        if identity not in published
    ]
    return track_stems(named, len(rows), destination.taken_stems()) | published
