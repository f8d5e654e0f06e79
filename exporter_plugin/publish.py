"""Publishing what is staged.

A new folder appears by one rename. One that is there stays, with its mode and whoever stands in it: a re-export, and
the first export into an empty folder, first write bundle.json as unfinished, with all files old and new listed as ours,
so that the next export mends whatever a kill leaves; then they move audio in, then playlists, remove what they own, is
no longer wanted and nobody changed, and last write the final bundle.json.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.errors import Busy, DestinationError
from exporter_plugin.destination import FileState, edited_warning, writing
from exporter_plugin.manifest import MANIFEST, MEDIA, write_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cachestore.events import OnEvent
    from exporter_plugin.destination import Destination
    from exporter_plugin.manifest import Manifest, OwnedFile
    from exporter_plugin.staging import StagingFolder


def publish(
    folder: StagingFolder, destination: Destination, manifest: Manifest, tell: OnEvent, *, overwrite_edited: bool
) -> bool:
    """Make what is staged in `folder` the bundle at `destination`, and return whether anything had to be written.

    Files that somebody changed are replaced only to `overwrite_edited`. Raise Busy, DestinationError or NoSpace.
    """
    with writing(destination.path):
        if not destination.is_as_inspected():
            raise Busy(str(destination.path))
        files = folder.files()
        if not files and _is_same(destination.published, manifest):
            return False
        if not destination.path.exists():
            write_manifest(folder.path / MANIFEST, manifest)
            folder.path.rename(destination.path)
        else:
            _Merge(folder.path, destination, manifest, tell, overwrite_edited=overwrite_edited).run(files)
    return True


class _Merge:
    """Bringing what is staged in `folder` into a folder that is there."""

    def __init__(
        self, folder: Path, destination: Destination, manifest: Manifest, tell: OnEvent, *, overwrite_edited: bool
    ) -> None:
        self._folder = folder
        self._destination = destination
        self._manifest = manifest
        self._tell = tell
        self._overwrite_edited = overwrite_edited

    def run(self, files: Sequence[str]) -> None:
        """Merge the staged `files`. Raise DestinationError when one of these names is somebody else's by now."""
        self._refuse_strangers(files)
        manifest, dest = self._manifest, self._destination.path
        both = tuple(dict.fromkeys((*manifest.files, *self._destination.owned)))
        self._write(replace(manifest, files=both, finished=False))
        (dest / MEDIA).mkdir(exist_ok=True)
        edited = [own for file in files if (own := self._replace(file))]
        self._remove_unwanted()
        kept = {own.file: own for own in edited}
        self._write(replace(manifest, files=tuple(kept.get(own.file, own) for own in manifest.files)))

    def _refuse_strangers(self, files: Sequence[str]) -> None:
        refused = {FileState.FOREIGN} if self._overwrite_edited else {FileState.FOREIGN, FileState.EDITED}
        for file in files:
            if self._destination.look_at(file)[0] in refused:
                place = self._destination.path / file
                raise DestinationError(place, "appeared during the export", "move it away")

    def _replace(self, file: str) -> OwnedFile | None:
        """Move a staged file into its place, or return the record of the one there, which somebody edits just now."""
        own = self._destination.look_at(file)[1]
        if own and not self._overwrite_edited and not self._destination.has_bytes(own):
            self._tell(edited_warning(self._destination.path / file))
            return own
        (self._folder / file).replace(self._destination.path / file)
        return None

    def _remove_unwanted(self) -> None:
        for file, is_untouched in self._destination.unwanted(own.file for own in self._manifest.files):
            if is_untouched:
                (self._destination.path / file).unlink()
            else:
                self._tell(edited_warning(self._destination.path / file))

    def _write(self, manifest: Manifest) -> None:
        fresh = self._folder / MANIFEST
        write_manifest(fresh, manifest)
        fresh.replace(self._destination.path / MANIFEST)


def _is_same(published: Manifest | None, manifest: Manifest) -> bool:
    return published is not None and replace(published, exported_at=manifest.exported_at) == manifest
