"""What a run has linked on its way to a bundle: leased until the bundle is registered, held where room is short."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cachestore.runs import staging_suffix

if TYPE_CHECKING:
    from pathlib import Path

    from cachestore.store.writer import Store


class Staged:
    """The hard links that a run makes in its staging folder, whose name ends in `runs.staging_suffix` of its id.

    Evicting what they are links to would free nothing, so it is leased. When room is short, `hold` lets it count as
    held by the run instead, each link once, however often it is called; an export that has room for all its tracks
    never does. A blob that was stored anew meanwhile is no file of the folder: neither held nor leased any more, so
    that no run waits for its own end.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._folder = f"{staging_suffix(run_id)}{os.sep}"
        self._new: list[tuple[Path | str, str]] = []
        self._held: list[str] = []

    def add(self, path: Path | str, digest: str) -> None:
        """Take that `path` was made as a hard link to a blob."""
        if self._folder in str(path):
            self._new.append((path, digest))
            self._store.lease_besides(self._run_id, [digest])

    def hold(self) -> None:
        """Let what is linked so far count as held."""
        new, self._new = self._new, []
        self._held += [digest for _, digest in new]
        self._store.hold(self._run_id, new)

    def end(self) -> None:
        """Let nothing be held by the folder any more: it is published, or goes."""
        self._store.let_go(self._run_id, self._held)
