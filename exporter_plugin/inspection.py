"""What is at DEST: nothing, a bundle of ours, or somebody else's work."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cachestore.errors import DestinationError
from cachestore.text import is_url
from exporter_plugin.destination import Destination, stamp_of, writing
from exporter_plugin.litter import is_nobodys
from exporter_plugin.manifest import MANIFEST, MEDIA, read_manifest
from exporter_plugin.naming import safe_stem


def inspect(dest: Path | str, root: Path, name: str) -> Destination:
    """Return what is at `dest`. Raise DestinationError when a bundle called `name`, else as `dest`, cannot go there.

    A missing or empty folder is new, whatever the system keeps there; a folder with files is ours if it has our
    bundle.json, else it is refused.
    """
    absolute = _absolute(dest)
    name = name or absolute.name
    path = Path(os.path.realpath(absolute))
    with writing(path):
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()  # raises where links lead in a circle
        if path.exists() and not path.is_dir():
            raise DestinationError(path, "is a file", "name a folder for the bundle")
        _refuse_nesting(path, root)
        stamp = stamp_of(path / MANIFEST)
        published = read_manifest(path / MANIFEST)
        if published is None and path.exists() and not all(is_nobodys(file) for file in path.iterdir()):
            remedy = f"name a new or an empty folder, such as {path / safe_stem(name)}"
            raise DestinationError(path, "has files in it and is no bundle of ours", remedy)
        if (path / MEDIA).is_symlink():
            raise DestinationError(path, f"has a symbolic link in the place of {MEDIA}/", "remove the link")
        if published and (path / MEDIA).exists() and not (path / MEDIA).is_dir():
            raise DestinationError(path, f"has a file in the place of {MEDIA}/", "move it away")
    return Destination(name, path, published, stamp)


def _absolute(dest: Path | str) -> Path:
    """Return `dest` from the root on. Raise DestinationError for a URL, and a relative one in a folder that is gone."""
    if is_url(str(dest)):
        raise DestinationError(Path(dest), "is a URL", "name a folder on this machine")
    try:
        return Path(dest).absolute()
    except FileNotFoundError:
        problem = "is relative to the current folder, which has been removed or replaced"
        raise DestinationError(Path(dest), problem, 'change to one that is there, as with cd "$PWD"') from None


def _refuse_nesting(path: Path, root: Path) -> None:
    if _is_below(path, root):
        raise DestinationError(path, f"is inside the store at {root}", "name a folder outside it")
    if _is_below(root, path):
        raise DestinationError(path, f"has the store ({root}) in it", "name another folder")


def _is_below(path: Path, folder: Path) -> bool:
    """Return whether `path` is `folder` or in it, however either is spelled."""
    path = Path(os.path.realpath(path))
    return any(same.exists() and folder.exists() and same.samefile(folder) for same in (path, *path.parents))
