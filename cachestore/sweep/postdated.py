"""What seems to be of the future: it is dated anew, or it would be young until then."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.blobs import move_away, moved_at
from cachestore.partials.sidecar import is_partial
from cachestore.store.costs import children

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cachestore.root import Root
    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store
    from cachestore.sweep.leftovers import Leftovers


@dataclass(frozen=True, slots=True)
class _Postdated:
    """A partial, or a file in quarantine, where the name says when it came there."""

    path: Path

    def foresee(self, store: StoreReader, left: Leftovers) -> None:
        """Add nothing: it stays."""

    def take(self, store: Store) -> None:
        """Date it now."""
        with suppress(OSError):
            if self.path.parent == store.root.quarantine:
                move_away(self.path, self.path.name.rpartition("-")[0], self.path.parent)
            else:
                os.utime(self.path, follow_symlinks=False)


def postdated(root: Root, after: float) -> Iterator[_Postdated]:
    """Yield what is dated after that time in Unix seconds: the latest of those that two sweeps took for now."""
    for path in children(root.quarantine):
        if (moved_at(path.name) or 0.0) > after:
            yield _Postdated(path)
    for path in filter(is_partial, children(root.partials)):
        with suppress(OSError):
            if path.lstat().st_mtime > after:
                yield _Postdated(path)
