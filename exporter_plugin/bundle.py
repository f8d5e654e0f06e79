"""Bundles on disk: what is at DEST, a staging folder that fills while tracks arrive, and publishing it.

A new bundle appears by one rename. A re-export first writes bundle.json as unfinished, with all files old and new
listed as ours, so that the next export mends whatever a kill leaves; then it moves audio in, then playlists,
removes what it owns, is no longer wanted and nobody changed, and last writes the final bundle.json.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cachestore.errors import Busy, DestinationError, NoSpace
from cachestore.events import WarningEvent
from exporter_plugin.manifest import MANIFEST, MEDIA, ManifestError, OwnedFile, read_manifest, write_manifest
from exporter_plugin.naming import cut, fold, safe_stem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cachestore.events import OnEvent
    from exporter_plugin.manifest import Manifest

_STAGING = ".cachestore-"  # .<name of DEST>.cachestore-<id of the run>
_MAX_HINT_BYTES = 100  # of DEST's name in the name of its staging folder


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a bundle goes: a real `path`, and what we `published` there before, None if it is new."""

    path: Path
    published: Manifest | None

    @property
    def owned(self) -> tuple[OwnedFile, ...]:
        """Return the records of the files we published; after an unfinished export a file may have two."""
        return self.published.files if self.published else ()

    def has(self, file: str) -> bool:
        """Return whether anything is at `file`."""
        return _lstat(self.path / file) is not None

    def untouched(self, file: str) -> OwnedFile | None:
        """Return the record of a published file that is there as we left it."""
        info = _lstat(self.path / file)
        return next((own for own in self.owned if own.file == file and info and own.describes(info)), None)

    def edited(self, file: str) -> OwnedFile | None:
        """Return the record of a published file that is there and was changed since."""
        if not self.has(file) or self.untouched(file):
            return None
        return next((own for own in self.owned if own.file == file), None)

    def published_stems(self) -> dict[str, str]:
        """Return by identity the stems of published files: DAW projects point at them, so they stay."""
        return {own.identity: PurePosixPath(own.file).stem for own in self.owned if own.identity}

    def taken_stems(self) -> set[str]:
        """Return the stems of all files among the media, ours and foreign."""
        media = self.path / MEDIA
        files = os.listdir(media) if media.is_dir() else []
        return {PurePosixPath(name).stem for name in (*files, *(own.file for own in self.owned))}


def inspect(dest: Path, root: Path, name: str) -> Destination:
    """Return what is at `dest`. Raise DestinationError when a bundle called `name` cannot go there.

    A missing or empty folder is new; a folder with files is ours if it has our bundle.json, else it is refused.
    """
    path = Path(os.path.realpath(dest))
    with writing(path):
        if path.exists() and not path.is_dir():
            raise DestinationError(path, "is a file", "name a folder for the bundle")
        _refuse_nesting(path, root)
        published = _published(path)
        if published is None and path.exists() and not all(_is_staging(file) for file in path.iterdir()):
            remedy = f"name a new or an empty folder, such as {path / safe_stem(name)}"
            raise DestinationError(path, "has files in it and is no bundle of ours", remedy)
        if (path / MEDIA).is_symlink():
            raise DestinationError(path, f"has a symbolic link in the place of {MEDIA}/", "remove the link")
    return Destination(path, published)


def staging_path(destination: Destination, run_id: str) -> Path:
    """Return where a run stages: beside the destination, or inside where no rename leads in, as on a mount point.

    The parents of the destination are made. Raise DestinationError.
    """
    path = destination.path
    name = f".{cut(path.name, _MAX_HINT_BYTES)}{_STAGING}{run_id}"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside, inside = path.parent / name, path / name
        return beside if not path.exists() or _can_move(beside, inside) else inside


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


def publish(folder: Path, destination: Destination, manifest: Manifest, tell: OnEvent) -> None:
    """Make what is staged in `folder` the bundle at `destination`. Raise Busy, DestinationError or NoSpace."""
    with writing(destination.path):
        if _published(destination.path) != destination.published:
            raise Busy(str(destination.path))  # another export got there since we looked
        if folder.parent == destination.path.parent and _is_free(destination.path):
            write_manifest(folder / MANIFEST, manifest)
            folder.rename(destination.path)
        elif _staged_files(folder) or not _is_same(destination.published, manifest):
            _merge(folder, destination, manifest, tell)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let the failures of writing below `path` be NoSpace or DestinationError."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpace(path) from error
        problem = f"cannot be written ({error.strerror or error})"
        raise DestinationError(path, problem, "mend that or name another folder") from error


def edited_warning(path: Path) -> WarningEvent:
    """Return the warning that somebody's work was left alone."""
    return WarningEvent("edited_file_kept", f"{path} was changed since it was exported; it is kept as it is")


def _merge(folder: Path, destination: Destination, manifest: Manifest, tell: OnEvent) -> None:
    files = _staged_files(folder)
    for file in files:
        if destination.has(file) and not destination.untouched(file):
            raise DestinationError(destination.path / file, "appeared during the export", "move it away")
    both = tuple(dict.fromkeys((*manifest.files, *destination.owned)))
    _replace_manifest(folder, destination, replace(manifest, files=both, finished=False))
    (destination.path / MEDIA).mkdir(exist_ok=True)
    for file in files:
        (folder / file).replace(destination.path / file)
    _remove_unwanted(destination, manifest, tell)
    _replace_manifest(folder, destination, manifest)


def _replace_manifest(folder: Path, destination: Destination, manifest: Manifest) -> None:
    fresh = folder / MANIFEST
    write_manifest(fresh, manifest)
    fresh.replace(destination.path / MANIFEST)


def _remove_unwanted(destination: Destination, manifest: Manifest, tell: OnEvent) -> None:
    wanted = {fold(own.file) for own in manifest.files}  # a new spelling may be the same file
    for file in dict.fromkeys(own.file for own in destination.owned if fold(own.file) not in wanted):
        if destination.untouched(file):
            (destination.path / file).unlink()
        elif destination.edited(file):
            tell(edited_warning(destination.path / file))


def _staged_files(folder: Path) -> list[str]:
    """Return what is staged, audio first: playlists must never name what is not there."""
    media = sorted(f"{MEDIA}/{file.name}" for file in (folder / MEDIA).iterdir())
    return media + sorted(file.name for file in folder.iterdir() if file.is_file())


def _is_same(published: Manifest | None, manifest: Manifest) -> bool:
    return published is not None and replace(published, exported_at=manifest.exported_at) == manifest


def _published(path: Path) -> Manifest | None:
    try:
        return read_manifest(path / MANIFEST)
    except ManifestError as error:
        raise DestinationError(path, f"has a {MANIFEST} {error}", "name another folder") from error


def _refuse_nesting(path: Path, root: Path) -> None:
    if _is_below(path, root):
        raise DestinationError(path, f"is inside the store at {root}", "name a folder outside it")
    if _is_below(root, path):
        raise DestinationError(path, f"has the store ({root}) in it", "name another folder")


def _is_below(path: Path, folder: Path) -> bool:
    """Return whether `path` is `folder` or in it, however either is spelled."""
    path = Path(os.path.realpath(path))
    return any(same.exists() and folder.exists() and same.samefile(folder) for same in (path, *path.parents))


def _can_move(beside: Path, inside: Path) -> bool:
    """Return whether a folder can be renamed from `beside` to `inside`: equal devices promise nothing."""
    try:
        beside.mkdir()
        beside.rename(inside)
        inside.rename(beside)
    except OSError:
        return False
    else:
        return True
    finally:
        for folder in (beside, inside):
            with suppress(OSError):
                folder.rmdir()


def _is_free(path: Path) -> bool:
    return not path.exists() or not any(path.iterdir())


def _is_staging(path: Path) -> bool:
    return path.name.startswith(".") and _STAGING in path.name


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
