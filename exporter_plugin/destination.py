"""A bundle's place: which files of ours are there, and whether they are as we left them."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cachestore.blobs import hash_file, witness_of
from cachestore.errors import DestinationError, NoSpace, is_full
from cachestore.events import WarningEvent
from cachestore.links import LinkMode
from cachestore.media import MEDIA_TYPES
from exporter_plugin.manifest import MANIFEST, MEDIA, read_manifest
from exporter_plugin.naming import fold, stem_of

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Sequence

    from cachestore.blobs import Witness
    from exporter_plugin.manifest import Manifest, OwnedFile


class FileState(Enum):
    """How a file of a bundle is: not there, as we left it, changed since, or never ours."""

    ABSENT = auto()
    OURS = auto()
    EDITED = auto()
    FOREIGN = auto()


@dataclass(frozen=True)
class Destination:
    """Where a bundle called `name` goes: a real `path`, and what we `published` there before, None if it is new.

    `stamp` is how its bundle.json was right before it was read, which is only ever replaced by another file.
    """

    name: str
    path: Path
    published: Manifest | None
    stamp: Witness | None = None

    def is_as_inspected(self) -> bool:
        """Return whether no other export got there since. Raise DestinationError or OSError."""
        now = stamp_of(self.path / MANIFEST)
        return now == self.stamp or read_manifest(self.path / MANIFEST) == self.published

    @property
    def owned(self) -> tuple[OwnedFile, ...]:
        """Return the records of the files that we published; after an unfinished export a file may have two."""
        return self.published.files if self.published else ()

    def look_at(self, file: str) -> tuple[FileState, OwnedFile | None]:
        """Return how `file` is now, and its record if it is or was ours.

        Times alone make no edit: a bundle that was copied, or is on a disk with coarse times, has its bytes still.
        """
        return self.judge(file, self.stat(file))

    def stat(self, file: str) -> os.stat_result | None:
        """Return the stat of `file`, None if it is not there."""
        return _lstat(f"{self.path}{os.sep}{file}")

    def judge(self, file: str, info: os.stat_result | None) -> tuple[FileState, OwnedFile | None]:
        """Return what `look_at` does, of a file whose stat was taken."""
        if info is None:
            return FileState.ABSENT, None
        records = self._records.get(file, [])
        untouched = self._left_so(records, info)
        if untouched is None:
            records = [*records, *self._spelled_otherwise(file)]
            untouched = self._left_so(records, info)
        # Who edits a blob through its link has another blob made, and is left with the only name of the file.
        if untouched and (not _is_alone(untouched, info) or self._has_bytes_still(untouched)):
            return FileState.OURS, _linked_as_now(untouched, info)
        return (FileState.EDITED, records[0]) if records else (FileState.FOREIGN, None)

    def _spelled_otherwise(self, file: str) -> list[OwnedFile]:
        """Return the records of a file that is found as `file`, too, where the filesystem takes two names for one."""
        names = [name for name in self.alike(file) if name != file]
        listed = self.listed() if names else ()
        return [own for name in names if self._are_one(name, file, listed) for own in self._records[name]]

    def alike(self, file: str) -> list[str]:
        """Return the names of our files that are `file` where case and normalization do not count."""
        return self._spellings.get(fold(file), [])

    def files_of(self, identities: Container[str | None]) -> list[OwnedFile]:
        """Return the records of the files that are there of tracks, one a file."""
        files = [file for file, records in self._records.items() if any(own.identity in identities for own in records)]
        found = [own for file in files if (own := self.look_at(file)[1])]
        return [own for own in dict.fromkeys(found) if own.identity in identities]

    def playlists_unlike(self, written: Iterable[str], decided: Collection[str] = ()) -> list[OwnedFile]:
        """Return the records of the playlists and projects here of whose kind, by extension, none is `written`.

        What is of a `decided` kind is written or not wanted.
        """
        kinds = {*decided, *(PurePosixPath(file).suffix.lower() for file in written)}
        return [own for own in self.files_of({None}) if PurePosixPath(own.file).suffix.lower() not in kinds]

    def refuse_in_the_way(self, file: str, state: FileState, *, overwrites: bool) -> None:
        """Raise DestinationError when what is at `file` was never ours, or is a folder that a file would replace."""
        remedy = "move it away" if file.startswith(f"{MEDIA}/") else "move it away or give the bundle another name"
        if state is FileState.FOREIGN:
            raise DestinationError(self.path / file, "is in the way and not ours", remedy)
        if state is FileState.EDITED and overwrites and (self.path / file).is_dir():
            raise DestinationError(self.path / file, "is a folder in the place of a file of the bundle", remedy)

    def refuse_own_files(self, paths: Collection[Path]) -> None:
        """Raise DestinationError when one of `paths`, of local tracks, is a file that an export has made here.

        It would be a copy of itself, under another name each time, and its track would be forgotten.
        """
        folders = {folder: Path(os.path.realpath(folder)) for folder in {path.parent for path in paths}}
        ours = {self.path / file for file in self._records} if paths else set()
        for path in paths if ours else ():
            place = folders[path.parent] / path.name
            if place in ours or (place.is_symlink() and Path(os.path.realpath(place)) in ours):
                problem = f"has a track of the mix, {path.name}, as a file of the bundle that is there"
                raise DestinationError(self.path, problem, "name another folder")

    def has(self, file: str) -> bool:
        """Return whether something is at the place of `file`."""
        return _lstat(self.path / file) is not None

    def is_writable(self, file: str) -> bool:
        """Return whether the file is one that its owner may write into."""
        info = _lstat(self.path / file)
        return info is not None and bool(info.st_mode & stat.S_IWUSR)

    def _left_so(self, records: Sequence[OwnedFile], info: os.stat_result) -> OwnedFile | None:
        """Return the one of `records` that tells how a file is; if its times alone are others, with those of now."""
        for own in records:
            if own.describes(info):
                return own
        timed = (own.timed(info) for own in records)
        return next((own for own in timed if own.describes(info) and self._has_bytes_still(own)), None)

    def _has_bytes_still(self, own: OwnedFile) -> bool:
        if own not in self._seen:
            self._seen[own] = self.has_bytes(own)
        return self._seen[own]

    @cached_property
    def _seen(self) -> dict[OwnedFile, bool]:
        """Return which files with other times turned out to have our bytes: each is hashed once."""
        return {}

    def has_bytes(self, own: OwnedFile) -> bool:
        """Return whether a file has the bytes that we gave it: asked before it is replaced or removed."""
        return self._digest(own.file) == own.digest

    def _digest(self, file: str) -> str | None:
        try:
            return hash_file(self.path / file)
        except OSError:
            return None

    @cached_property
    def _spellings(self) -> dict[str, list[str]]:
        spellings: dict[str, list[str]] = {}
        for file in self._records:
            spellings.setdefault(fold(file), []).append(file)
        return spellings

    @cached_property
    def _records(self) -> dict[str, list[OwnedFile]]:
        records: dict[str, list[OwnedFile]] = {}
        for own in self.owned:
            records.setdefault(own.file, []).append(own)
        return records

    def untouched(self) -> set[str]:
        """Return those of our files that nobody has changed or that are gone, by their bytes."""
        return {file for file in self._records if self.is_untouched(file)}

    def is_untouched(self, file: str) -> bool:
        """Return whether a file is gone or has bytes that we gave it, by this name or another one that it has here."""
        records = (*self._records.get(file, ()), *self._spelled_otherwise(file))
        return not self.has(file) or self._digest(file) in {own.digest for own in records}

    def published_stems(self, but: Container[str]) -> dict[str, str]:
        """Return by identity the stems of published files: DAW projects point at them, so they stay, `but` for some.

        Of two records of one track, or two tracks of one name, as an unfinished export leaves them, the newer counts.
        """
        stems: dict[str, str] = {}
        folds: set[str] = set()
        for own in self.owned:
            stem = stem_of(own.file)
            if own.identity and own.file not in but and own.identity not in stems and fold(stem) not in folds:
                stems[own.identity] = stem
                folds.add(fold(stem))
        return stems

    def taken_stems(self, but: Collection[str]) -> set[str]:
        """Return the stems of all audio files among the media, ours and foreign, `but` for some.

        What lies beside a track with its stem (a cue sheet, peaks) is in nobody's way.
        """
        listed = self.listed()
        media = (file for file in listed if file.startswith(f"{MEDIA}/"))
        audio = [file for file in media if file.rpartition(".")[2].lower() in MEDIA_TYPES]
        return {stem_of(file) for file in (*audio, *self._records) if not (but and self._is_among(but, file, listed))}

    def _is_among(self, files: Container[str], file: str, listed: Container[str]) -> bool:
        """Return whether a file is one of our `files`, by this name or another one that it has here."""
        names = (name for name in self.alike(file) if name in files)
        return any(name == file or self._are_one(name, file, listed) for name in names)

    def unwanted(self, wanted: Iterable[str]) -> Iterator[tuple[OwnedFile, bool]]:
        """Yield the records of what we published and is not `wanted` any more, and whether it looks as we left it."""
        spellings, listed = {fold(file): file for file in wanted}, self.listed()
        for file in dict.fromkeys(own.file for own in self.owned):
            spelling = spellings.get(fold(file))
            if file == spelling:
                continue
            state, own = self.look_at(file)
            if own and (spelling is None or not self._are_one(file, spelling, listed)):
                yield own, state is FileState.OURS

    def _are_one(self, file: str, spelling: str, listed: Container[str]) -> bool:
        """Return whether two spellings are one file here: both are found, one is listed.

        Inodes tell nothing: links to one blob are two files, and drivers of exFAT give each spelling one of its own.
        """
        both_listed = file in listed and spelling in listed
        return not both_listed and self.has(file) and self.has(spelling)

    def listed(self) -> set[str]:
        """Return the names of all that is in the bundle, as the filesystem spells them."""
        media = self.path / MEDIA
        names = os.listdir(self.path) if self.path.is_dir() else []
        return {*names, *(f"{MEDIA}/{name}" for name in (os.listdir(media) if media.is_dir() else []))}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let the failures of writing below `path` be NoSpace or DestinationError."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise NoSpace.of(error, path) from error
        if error.errno == errno.EIO:
            raise OSError(error.errno, error.strerror, error.filename or str(path)) from error
        problem = f"cannot be written ({error.strerror or error})"
        raise DestinationError(path, problem, "mend that or name another folder") from error


def edited_warning(path: Path) -> WarningEvent:
    """Return the warning that somebody's work was left alone."""
    return WarningEvent("edited_file_kept", f"{path} was changed since it was exported; it is kept as it is")


def _linked_as_now(own: OwnedFile, info: os.stat_result) -> OwnedFile:
    """Return the record of a file that was a hard link once: one in a copy of its bundle is none."""
    return own.unlinked(info) if _is_alone(own, info) else own


def _is_alone(own: OwnedFile, info: os.stat_result) -> bool:
    """Return whether what was made as a hard link is the only name of its file."""
    return own.link_mode is LinkMode.HARDLINK and info.st_nlink == 1


def _lstat(path: Path | str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def stamp_of(path: Path) -> Witness | None:
    """Return what tells a file from another one that took its place, None if there is none."""
    info = _lstat(path)
    return None if info is None else witness_of(info)
