"""Changes of rows that are put together before the lock is had, so that it is held for writing them only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar

from cachestore.index.change import Change
from cachestore.index.reader import parsed, text_of
from cachestore.rows import META, Totals, table_of
from cachestore.store.values import Values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cachestore.index.reader import IndexReader, Row
    from cachestore.rows import Known, Table

T = TypeVar("T")


class Draft(Values):
    """What is to become of rows as they are now; `Ledger.take_over` writes it if none of them has changed by then.

    What it does besides reading and putting rows may be done in vain, and is done again under the lock then. Of a row
    and what it is about, such as a file, the row has to be read first: whoever found something else since has changed
    the row.
    """

    def __init__(self, index: IndexReader) -> None:
        self._texts = _Texts(index)
        super().__init__(self._texts)
        self.changes: list[Change] = []
        self.unchanged: dict[str, str | None] = {}
        self.total = Totals()
        self.is_plain = True  # it changes rows that are there, and but for totals not that of the store

    def know(self, table: Table[T], known: Mapping[str, Known[T]]) -> None:
        """Take rows that were read just now."""
        for name, then in known.items():
            key = table.key(name)
            self._texts.read[key] = then.text
            self._before[key] = self._after[key] = then.value

    def finished(self) -> Self:
        """Put together what has to be written, once all is put, and return the draft."""
        self._note_uses()
        self.total = self._change()
        for key, value in self._after.items():
            before, text = self._before[key], self._texts.read.get(key)
            if value is before or value == before:
                self.unchanged[key] = text
            elif text is None or value is None or before is None or key == META.prefix:
                self.is_plain = False
            elif table := table_of(key):
                tag = table.tag(value)
                is_filed = table.tag(before) == tag
                self.changes.append(Change(key, text, text_of(table.to_row(value)), tag, is_filed))
        return self


class _Texts:
    """Rows out of the index, and the texts of those that were `read`."""

    def __init__(self, index: IndexReader) -> None:
        self._index = index
        self.read: dict[str, str] = {}

    def get(self, key: str) -> Row | None:
        """Return the row of `key`, None if there is no sound one."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Row]:
        """Return the rows of those of `keys` that have a sound one."""
        rows: dict[str, Row] = {}
        for key, text in self._index.texts(keys):
            self.read[key] = text
            if (row := parsed(text)) is not None:
                rows[key] = row
        return rows
