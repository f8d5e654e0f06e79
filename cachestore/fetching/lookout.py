"""Whether another process has stored a track meanwhile: who was told to download it may be late."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from cachestore.errors import CacheStoreError
from cachestore.fetching.wanted import stored_of
from cachestore.store.reader import StoreReader

if TYPE_CHECKING:
    from pathlib import Path

    from cachestore.fetching.reports import Question


class Lookout:
    """One thread's view of the store at `root`; to be closed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._store: StoreReader | None = None

    def is_late(self, question: Question) -> bool:
        """Return whether something of the track was stored since the question was put."""
        track = question.track
        with suppress(CacheStoreError, OSError):
            self._store = self._store or StoreReader.open_readonly(self._root)
            return stored_of(self._store.kept([track]).get(track.address, [])) != question.stored
        return False  # a download too many does no harm

    def close(self) -> None:
        """Close the index."""
        if self._store is not None:
            self._store.close()
