"""What a run has linked on its way to a bundle: leased until the bundle is registered, held where room is short."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cachestore.links import LinkMode
from cachestore.rows import BUNDLES, Bundle, BundleFile
from cachestore.runs import staging_suffix

if TYPE_CHECKING:
    from pathlib import Path

    from cachestore.store.writer import Store


class Staged:
    """The hard links that a run makes in its staging folder, whose name ends in `runs.staging_suffix` of its id.

    Evicting what they are links to would free nothing, so it is leased. When room is short, `hold` registers the folder
    as a bundle instead; an export that has room for all its tracks never does. A blob that was stored anew meanwhile is
    no file of the folder: neither held nor leased any more, so that no run waits for its own end.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._folder: Path | None = None
        self._files: list[BundleFile] = []
        self._known = 0

    def add(self, path: Path, digest: str) -> None:
        """Take that `path` was made as a hard link to a blob."""
        suffix = staging_suffix(self._run_id)
        self._folder = self._folder or next((folder for folder in path.parents if folder.name.endswith(suffix)), None)
        if self._folder is not None and path.is_relative_to(self._folder):
            self._files.append(BundleFile(path.relative_to(self._folder).as_posix(), digest, LinkMode.HARDLINK))
            self._store.lease_besides(self._run_id, [digest])

    def hold(self) -> None:
        """Let what is linked so far count as held."""
        if self._folder is not None and self._known < len(self._files):
            self._store.register(self._bundle(self._folder))
            self._store.unlease(self._run_id, [file.digest for file in self._files[self._known :]])
            self._known = len(self._files)

    def end(self) -> None:
        """Let nothing be held by the folder any more: it is published, or goes."""
        if self._folder is not None and self._known:
            self._store.forget([BUNDLES.key(self._bundle(self._folder).id)])

    def _bundle(self, folder: Path) -> Bundle:
        return Bundle(folder, "", time.time(), tuple(self._files))
