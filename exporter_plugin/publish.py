"""Publishing what is staged.

A new bundle appears by one rename. A re-export first writes bundle.json as unfinished, with all files old and new
listed as ours, so that the next export mends whatever a kill leaves; then it moves audio in, then playlists,
removes what it owns, is no longer wanted and nobody changed, and last writes the final bundle.json.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.errors import Busy, DestinationError
from exporter_plugin.destination import FileState, edited_warning, writing
from exporter_plugin.manifest import MANIFEST, MEDIA, read_manifest, write_manifest
from exporter_plugin.naming import fold

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cachestore.events import OnEvent
    from exporter_plugin.destination import Destination
    from exporter_plugin.manifest import Manifest, OwnedFile


def publish(folder: Path, destination: Destination, manifest: Manifest, tell: OnEvent) -> None:
    """Make what is staged in `folder` the bundle at `destination`. Raise Busy, DestinationError or NoSpace."""
    with writing(destination.path):
        if read_manifest(destination.path / MANIFEST) != destination.published:
            raise Busy(str(destination.path))  # another export got there since we looked
        if folder.parent == destination.path.parent and _is_free(destination.path):
            write_manifest(folder / MANIFEST, manifest)
            folder.rename(destination.path)
        elif _staged_files(folder) or not _is_same(destination.published, manifest):
            _merge(folder, destination, manifest, tell)


def _merge(folder: Path, destination: Destination, manifest: Manifest, tell: OnEvent) -> None:
    files = _staged_files(folder)
    for file in files:
        if destination.look_at(file)[0] in {FileState.EDITED, FileState.FOREIGN}:
            raise DestinationError(destination.path / file, "appeared during the export", "move it away")
    both = tuple(dict.fromkeys((*manifest.files, *destination.owned)))
    _replace_manifest(folder, destination, replace(manifest, files=both, finished=False))
    (destination.path / MEDIA).mkdir(exist_ok=True)
    edited = [own for file in files if (own := _replace(folder, destination, file, tell))]
    _remove_unwanted(destination, manifest, tell)
    kept = {own.file: own for own in edited}
    _replace_manifest(folder, destination, replace(manifest, files=_with(kept, manifest.files)))


def _replace(folder: Path, destination: Destination, file: str, tell: OnEvent) -> OwnedFile | None:
    """Move a staged file into its place, or return the record of the one there, which somebody edits at this moment."""
    own = destination.look_at(file)[1]
    if own and not destination.has_bytes(own):
        tell(edited_warning(destination.path / file))
        return own
    (folder / file).replace(destination.path / file)
    return None


def _with(kept: dict[str, OwnedFile], files: Sequence[OwnedFile]) -> tuple[OwnedFile, ...]:
    return tuple(kept.get(own.file, own) for own in files)


def _replace_manifest(folder: Path, destination: Destination, manifest: Manifest) -> None:
    fresh = folder / MANIFEST
    write_manifest(fresh, manifest)
    fresh.replace(destination.path / MANIFEST)


def _remove_unwanted(destination: Destination, manifest: Manifest, tell: OnEvent) -> None:
    wanted = {fold(own.file) for own in manifest.files}  # a new spelling may be the same file
    for file in dict.fromkeys(own.file for own in destination.owned if fold(own.file) not in wanted):
        state, own = destination.look_at(file)
        if own and state is FileState.OURS and destination.has_bytes(own):
            (destination.path / file).unlink()
        elif own:
            tell(edited_warning(destination.path / file))


def _staged_files(folder: Path) -> list[str]:
    """Return what is staged, audio first: playlists must never name what is not there."""
    media = sorted(f"{MEDIA}/{file.name}" for file in (folder / MEDIA).iterdir())
    return media + sorted(file.name for file in folder.iterdir() if file.is_file())


def _is_same(published: Manifest | None, manifest: Manifest) -> bool:
    return published is not None and replace(published, exported_at=manifest.exported_at) == manifest


def _is_free(path: Path) -> bool:
    return not path.exists() or not any(path.iterdir())
