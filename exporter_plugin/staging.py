"""Filling a bundle: each track becomes a file in the staging folder, or the published file that is right already."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.blobs import digest_of, hash_file, is_digest
from cachestore.errors import LinkError
from cachestore.links import LinkMode, can_reflink
from exporter_plugin.destination import edited_warning, writing
from exporter_plugin.formats import decided, render_all
from exporter_plugin.layout import Fate
from exporter_plugin.manifest import MEDIA, OwnedFile
from exporter_plugin.outcome import Hole
from exporter_plugin.space import Space
from exporter_plugin.staging_place import staging_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from cachestore.events import OnEvent
    from exporter_plugin.destination import Destination
    from exporter_plugin.formats.view import BundleView
    from exporter_plugin.layout import Layout
    from exporter_plugin.outcome import Outcome
    from exporter_plugin.row import Row

    Copies = Callable[[], Iterable[tuple[Row, int]]]
    Make = Callable[[str, LinkMode], LinkMode]

# What is tried before a copy.
_SPARING = {LinkMode.AUTO: LinkMode.HARDLINK, LinkMode.EDITABLE: LinkMode.REFLINK}


class StagingFolder:
    """The folder that a run fills for `destination`; it is made when it is needed."""

    def __init__(self, destination: Destination, run_id: str) -> None:
        self._destination = destination
        self._run_id = run_id
        self._made: Path | None = None

    @property
    def path(self) -> Path:
        """Return the folder, with a place for audio in it. Raise DestinationError or NoSpace."""
        if self._made is None:
            path = staging_path(self._destination.path, self._run_id)
            with writing(path.parent):
                path.mkdir()
                self._made = path
                (path / MEDIA).mkdir()
        return self._made

    def files(self, among: Collection[str]) -> list[str]:
        """Return which files `among` those of the bundle are staged, in that order."""
        listed = self._listed()
        there = listed.intersection(among)
        if len(there) == len(listed):
            return [file for file in among if file in there]
        return [file for file in among if file in there or self.staged(file)]  # listed, but spelled otherwise

    def _listed(self) -> set[str]:
        """Return what is staged, as the filesystem spells it: HFS+ decomposes letters."""
        if self._made is not None:
            with suppress(FileNotFoundError):  # somebody removed the folder
                media = {f"{MEDIA}/{name}" for name in os.listdir(self._made / MEDIA)}
                return media.union(os.listdir(self._made)) - {MEDIA}
        return set()

    def staged(self, file: str) -> Path | None:
        """Return where a file of the bundle is staged, None if it is not."""
        if self._made is None:
            return None
        path = f"{self._made}{os.sep}{file}"
        return Path(path) if os.path.lexists(path) else None

    def rename(self, files: Mapping[str, str]) -> None:
        """Give staged files other names, all at once, so that they may exchange them."""
        for number, old in enumerate(files):
            (self.path / old).rename(self.path / f".{number}")
        for number, new in enumerate(files.values()):
            (self.path / f".{number}").rename(self.path / new)

    def drop(self, file: str) -> None:
        """Remove what is staged of a file."""
        (self.path / file).unlink()

    def remove(self) -> None:
        """Remove what was not published."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)


@contextmanager
def staged(destination: Destination, run_id: str) -> Iterator[StagingFolder]:
    """Have a staging folder for the block; what is not published by then goes."""
    folder = StagingFolder(destination, run_id)
    try:
        yield folder
    finally:
        folder.remove()


class Staging:
    """The files of one export on their way to `destination`, cloud tracks by `link_mode`; `tell` hears warnings.

    `copies` gives the tracks whose bytes are here and that have no right file yet, with their sizes.
    """

    def __init__(
        self,
        folder: StagingFolder,
        destination: Destination,
        layout: Layout,
        copies: Copies,
        link_mode: LinkMode,
        tell: OnEvent,
    ) -> None:
        self._folder = folder
        self._destination = destination
        self._layout = layout
        self._copies = copies
        self._tell = tell
        self._link_mode = link_mode
        # Whether tracks are copied, by the device of local ones, None for those of the cache; learned as it turns out.
        self._copying: dict[int | None, bool] = {None: link_mode is LinkMode.COPY}
        self._space: Space | None = None
        self._placed: dict[str, OwnedFile] = {}
        self._fresh: list[str] = []  # identities of what is staged
        self._left: list[OwnedFile] = []

    def place(self, row: Row, ext: str, content: str, size: int, make: Make) -> OwnedFile:
        """Return the file of a row's track, whose `size` bytes are `content`; rows of one identity share it.

        `make` writes the file in a mode and returns the one used. It is not called when the published file is right
        already, or was changed by somebody, who is told that it is kept. Raise DestinationError or NoSpace.
        """
        if row.identity not in self._placed:
            file = self._layout.file_of(row, ext)
            kept = self._kept(file, self._layout.is_right(row.identity, content))
            self._placed[row.identity] = kept or self._made(row, file, content, size, make)
            if kept is None:
                self._fresh.append(row.identity)
        return self._placed[row.identity]

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Return the outcomes with the names that their files keep, now that it is known which tracks failed.

        What is published of a track that failed stays ours, and stays: a new file does not take its place.
        """
        self._left = self._destination.files_of({one.row.identity for one in outcomes if isinstance(one, Hole)})
        self._layout.settle(self._fresh, [own.file for own in self._left])
        fresh = {identity: self._placed[identity] for identity in self._fresh}
        moved = {identity: file for identity, own in fresh.items() if (file := self._file(identity, own)) != own.file}
        self._folder.rename({fresh[identity].file: file for identity, file in moved.items()})
        self._placed |= {identity: self._moved(fresh[identity], file) for identity, file in moved.items()}
        return [self._settled(outcome) for outcome in outcomes]

    def files(self) -> list[OwnedFile]:
        """Return the files of all tracks, one that failed now with what was there of it."""
        return [*self._placed.values(), *self._left]

    def _settled(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Hole) or outcome.owned is self._placed[outcome.row.identity]:
            return outcome
        return replace(outcome, owned=self._placed[outcome.row.identity])

    def _file(self, identity: str, own: OwnedFile) -> str:
        """Return how the file of a track is called now."""
        return self._layout.file(identity, own.file.rpartition(".")[2])

    def _moved(self, own: OwnedFile, file: str) -> OwnedFile:
        """Return the record of a staged file that is called `file` now, or of the published one that is right there."""
        kept = self._kept(file, self._layout.is_right(own.identity, own.content))
        if kept:
            self._folder.drop(file)
        return kept or replace(own, file=file)

    def write_playlists(self, view: BundleView, formats: Collection[str] = ()) -> list[OwnedFile]:
        """Write the bundle in the `formats`, or each that applies, and return our files; only what is new is staged.

        Where a format fails, what an earlier export wrote of its kind stays.
        """
        files, failed = render_all(view, self._tell, formats)
        placed = [self._place_playlist(file, content) for file, content in files.items()]
        written = (own.file for own in placed)
        return [*placed, *(self._destination.playlists_unlike(written, decided(failed)) if failed else ())]

    def locate(self, file: str) -> Path:
        """Return where a file of the bundle lies now."""
        return self._folder.staged(file) or self._destination.path / file

    def _kept(self, file: str, is_right: Callable[[OwnedFile], bool]) -> OwnedFile | None:
        """Return the record of a published file that stays, since it is right, or somebody's work, which is told."""
        fate, owned = self._layout.fate(file, is_right)
        if fate is Fate.EDITED:
            self._tell(edited_warning(self._destination.path / file))
            return replace(owned, content=None) if owned else None
        return owned if fate in {Fate.KEEP, Fate.EDITED} else None

    def _made(self, row: Row, file: str, content: str, size: int, make: Make) -> OwnedFile:
        path = f"{self._folder.path}{os.sep}{file}"
        mode = self._make(row, path, size, make)
        digest = content if is_digest(content) else hash_file(Path(path))
        info = os.lstat(path)
        return OwnedFile(file, info.st_size, info.st_mtime_ns, digest, row.identity, content, mode)

    def _make(self, row: Row, path: str, size: int, make: Make) -> LinkMode:
        """Make a file and return the mode used: before it is a copy, all that are copies have to fit."""
        mode = self._link_mode if row.path is None else LinkMode.EDITABLE
        if mode in _SPARING and not self._is_copied(row):
            with suppress(LinkError):
                return make(path, _SPARING[mode])
            self._copying[_device(row)] = True
        self._make_sure_of_space(row, size)
        return make(path, mode)

    def _make_sure_of_space(self, row: Row, size: int) -> None:
        """Raise NoSpaceForCopies if a row is to be copied, and it and all others that are here do not fit."""
        if self._is_copied(row):
            if self._space is None:
                rest = {other.identity: need for other, need in self._copies() if self._is_copied(other)}
                sizes = {key: rest[key] for key in rest.keys() - self._placed.keys()}
                self._space = Space(self._destination.path, self._folder.path, sizes)
            self._space.take(row.identity, size)

    def _is_copied(self, row: Row) -> bool:
        """Return whether a row is copied: local ones where reflinks do not work, by the first file of each device."""
        device = _device(row)
        if row.path is not None and device not in self._copying:
            self._copying[device] = not can_reflink(row.path, self._folder.path)
        return self._copying[device]

    def _place_playlist(self, file: str, content: bytes) -> OwnedFile:
        """Stage a playlist and return its record, or that of the one which stays since it is equal or edited."""
        file = self._layout.playlist(file)
        there = self._destination.path / file
        kept = self._kept(file, lambda _: there.read_bytes() == content)
        if kept:
            return kept
        with writing(self._destination.path):
            staged = self._folder.path / file
            staged.write_bytes(content)
            info = staged.lstat()
        return OwnedFile(file, info.st_size, info.st_mtime_ns, digest_of(content))


def _device(row: Row) -> int | None:
    """Return on which device the file of a local row lies, None for one of the cache."""
    if row.path is None:
        return None
    try:
        return row.path.stat().st_dev
    except OSError:  # it is gone by now, as it will be told when its turn comes
        return -1
