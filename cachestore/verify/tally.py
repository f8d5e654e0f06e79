"""What all rows add up to, beside the totals that the store keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.entry import Entry
from cachestore.rows import BlobRow, Totals
from cachestore.store.counting import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cachestore.rows import SeenRow
    from cachestore.store.rows_reader import RowsReader


class Tally:
    """The sum of the rows that a pass looks at: that of all, if it saw each and nobody has written meanwhile."""

    def __init__(self, store: RowsReader) -> None:
        self._store = store
        self._state = store.state()
        self._sum: Totals | None = None

    def begin(self) -> None:
        """Take that the pass begins with the first row."""
        self._sum = Totals()

    def add(self, rows: Sequence[SeenRow]) -> None:
        """Take rows that are next."""
        if self._sum is not None:
            values = [row.value for row in rows]
            self._sum += Totals.of(value for value in values if isinstance(value, BlobRow))
            self._sum += Totals(entries=sum(isinstance(value, Entry) for value in values))

    def is_miscounted(self, check: Callable[[], None]) -> bool:
        """Return whether the store's totals are not those of its rows; `check` is called as by `counted`."""
        with self._store.snapshot():
            meta = self._store.meta()
            is_whole = self._sum is not None and self._store.state() == self._state
            return meta.counts > 0 and meta.totals != (self._sum if is_whole else counted(self._store, check))
