"""Publishing what is staged.

A new folder appears by one rename. One that is there stays, with its mode and whoever stands in it: a re-export, and
the first export into an empty folder, first write bundle.json as unfinished, with all files old and new listed as ours,
so that the next export mends whatever a kill leaves; then they move audio in, then playlists, remove what they own, is
no longer wanted and nobody changed, and last write the final bundle.json. What is going to be replaced or removed is
hashed before the first write, since that may take minutes: until then a cancel leaves the folder as it was, from then
on it is ignored.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.blobs import checked
from cachestore.errors import Busy, DestinationError
from exporter_plugin.destination import FileState, edited_warning, writing
from exporter_plugin.manifest import MANIFEST, MEDIA, write_manifest
from exporter_plugin.untouched import Untouched

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from cachestore.events import OnEvent
    from exporter_plugin.destination import Destination
    from exporter_plugin.manifest import Manifest, OwnedFile, TrackRecord
    from exporter_plugin.staging import StagingFolder


def publish(
    folder: StagingFolder, destination: Destination, manifest: Manifest, tell: OnEvent, *, overwrite_edited: bool
) -> bool:
    """Make what is staged in `folder` the bundle at `destination`, and return whether anything had to be written.

    Files that somebody changed are replaced only to `overwrite_edited`. Raise Busy, NoSpace, or DestinationError, also
    when one of the files is not there any more.
    """
    dest, is_new = destination.path, not destination.path.exists()
    with writing(dest), _alone(dest):
        if not destination.is_as_inspected():
            raise Busy(str(dest))
        files = folder.files([own.file for own in manifest.files])  # audio first: playlists name what is there
        _refuse_missing(destination, manifest, files)
        merge = _Merge(folder, destination, manifest, tell, overwrite_edited=overwrite_edited)
        if not files and merge.is_done():
            return False
        if is_new:
            write_manifest(folder.path / MANIFEST, manifest)
            _appear(folder.path, dest)
        else:
            merge.run(files)
    return True


@contextmanager
def _alone(dest: Path) -> Iterator[None]:
    """Keep other exports, of whatever store, from publishing at `dest` in the block. Raise Busy when one does.

    Nobody is kept out of a folder that is not there yet, or where folders have no locks.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            folder = os.open(dest, os.O_RDONLY)
            stack.callback(os.close, folder)
            _lock(folder, dest)
        yield


def _lock(folder: int, dest: Path) -> None:
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock
    except ImportError:
        return
    try:
        flock(folder, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        raise Busy(str(dest)) from None


def _appear(folder: Path, dest: Path) -> None:
    """Rename what is staged to the destination. Raise Busy when another export was faster."""
    try:
        folder.rename(dest)
    except OSError:
        if (dest / MANIFEST).exists():
            raise Busy(str(dest)) from None
        raise


class _Merge:
    """Bringing what is staged in `folder` into a folder that is there."""

    def __init__(
        self,
        folder: StagingFolder,
        destination: Destination,
        manifest: Manifest,
        tell: OnEvent,
        *,
        overwrite_edited: bool,
    ) -> None:
        self._folder = folder
        self._destination = destination
        self._manifest = manifest
        self._tell = tell
        self._overwrite_edited = overwrite_edited
        self._untouched = Untouched(destination)

    def is_done(self) -> bool:
        """Return whether the bundle is as it is to be already, without a file more; then all is told that is kept."""
        unwanted = dict(self._unwanted())
        if any(unwanted.values()):
            return False
        manifest = replace(self._manifest, files=(*self._manifest.files, *map(_edited, unwanted)))
        if not _is_same(self._destination.published, manifest):
            return False
        for own in unwanted:
            self._tell(edited_warning(self._destination.path / own.file))
        return True

    def run(self, files: Sequence[str]) -> None:
        """Merge the staged `files`. Raise DestinationError, before anything is written, when they cannot be there.

        Until then, what `checked` has asked for ends it, too.
        """
        removed = [own.file for own, is_untouched in self._unwanted() if is_untouched]
        for file in files:
            self._edited_at(file)
        for file in files:
            self._refuse_stranger(file)
        self._refuse_closed((*files, *removed))
        with checked(lambda: None):
            self._put_in_place(files)

    def _put_in_place(self, files: Sequence[str]) -> None:
        manifest = self._manifest
        both = tuple(dict.fromkeys((*manifest.files, *self._destination.owned)))
        self._write(replace(manifest, files=both, finished=False))
        (self._destination.path / MEDIA).mkdir(exist_ok=True)
        edited = {file: own for file in files if (own := self._replace(file))}
        kept = self._remove_unwanted()
        owned = [edited.get(own.file) or self._made_writable(own) for own in manifest.files]
        self._write(replace(manifest, files=(*owned, *kept)))

    def _refuse_stranger(self, file: str) -> None:
        place, (state, _) = self._destination.path / file, self._destination.look_at(file)
        if state is FileState.FOREIGN or (state is FileState.EDITED and not self._overwrite_edited):
            raise DestinationError(place, "appeared during the export", "move it away")
        self._destination.refuse_in_the_way(file, state, overwrites=self._overwrite_edited)

    def _refuse_closed(self, files: Collection[str]) -> None:
        """Raise DestinationError when files are to be put into a folder, or removed from it, that cannot be."""
        path = self._destination.path
        closed = {folder for folder in (path, path / MEDIA) if _is_closed(folder)}
        for folder in closed & {(path / file).parent for file in files}:
            raise DestinationError(folder, "is no folder that can be written", "mend that or name another one")

    def _replace(self, file: str) -> OwnedFile | None:
        """Move a staged file into its place, or return the record of the one there, which somebody edits just now."""
        edited = self._edited_at(file)
        if edited is None:
            self._refuse_stranger(file)
            self._untouched.take(self._folder.path / file, file)
            return None
        self._tell(edited_warning(self._destination.path / file))
        return _edited(edited)

    def _edited_at(self, file: str) -> OwnedFile | None:
        """Return the record of what is at the place of a staged file, if somebody changed that and is to keep it."""
        own = None if self._overwrite_edited else self._destination.look_at(file)[1]
        return None if own is None or self._untouched.has(own) else own

    def _remove_unwanted(self) -> list[OwnedFile]:
        """Remove what is not wanted any more, and return the records of what somebody changed, which stays."""
        kept: list[OwnedFile] = []
        for own, is_untouched in self._unwanted():
            if is_untouched:
                (self._destination.path / own.file).unlink()
            else:
                kept.append(_edited(own))
                self._tell(edited_warning(self._destination.path / own.file))
        return kept

    def _made_writable(self, own: OwnedFile) -> OwnedFile:
        """Let the owner write into what was a hard link once and is a file of its own now: only links are read-only."""
        info = self._destination.stat(own.file) if own.ctime_ns is not None else None
        if info is None or info.st_nlink > 1 or info.st_mode & stat.S_IWUSR or not own.describes(info):
            return own
        path = self._destination.path / own.file
        with suppress(PermissionError):  # the file is another user's
            path.chmod(stat.S_IMODE(info.st_mode) | stat.S_IWUSR)
        return own.timed(path.lstat())

    def _unwanted(self) -> Iterator[tuple[OwnedFile, bool]]:
        """Yield the records of what is not wanted any more, and whether nobody changed it."""
        for own, looks_ours in self._destination.unwanted(own.file for own in self._manifest.files):
            yield own, looks_ours and self._untouched.has(own)

    def _write(self, manifest: Manifest) -> None:
        fresh = self._folder.path / MANIFEST
        write_manifest(fresh, manifest)
        fresh.replace(self._destination.path / MANIFEST)


def _is_closed(folder: Path) -> bool:
    return folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK))


def _edited(own: OwnedFile) -> OwnedFile:
    """Return the record of a file that was found to be edited, which is seen in no time nor size for sure."""
    return replace(own, content=None)


def _refuse_missing(destination: Destination, manifest: Manifest, staged: Sequence[str]) -> None:
    """Raise DestinationError when a file of `manifest` is neither `staged` nor published."""
    there = {*staged, *destination.listed()}
    for own in manifest.files:
        # A filesystem may spell a name otherwise than we do: what is listed under none is looked at.
        if own.file not in there and not destination.has(own.file):
            problem = f"cannot be published: {own.file} was removed while it was exported"
            raise DestinationError(destination.path, problem, "export it again")


def _is_same(published: Manifest | None, manifest: Manifest) -> bool:
    """Return whether nothing has to be written; that a server does not confirm now what it did once is no change."""
    if published is None or len(published.tracks) != len(manifest.tracks):
        return False
    tracks = tuple(map(_confirmed, published.tracks, manifest.tracks))
    return replace(manifest, exported_at=published.exported_at, tracks=tracks) == published


def _confirmed(old: TrackRecord, new: TrackRecord) -> TrackRecord:
    """Return the record of a row, as fresh as it was."""
    return old if new.freshness == "stale" and replace(old, freshness="stale") == new else new
