"""The rows of one transaction as typed values, and the totals that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.rows import LEASES, Totals, seen_row, table_of
from cachestore.store.values import Values

if TYPE_CHECKING:
    from cachestore.index.reader import Row, Tag
    from cachestore.index.writer import Transaction
    from cachestore.store.drafts import Draft

Transact = Callable[[], AbstractContextManager["Ledger"]]


class Ledger(Values):
    """What one transaction reads and writes.

    Nothing is written before `settle`, which compares every row with what it was: so the totals follow, and the time
    of a blob's latest use, whichever verb it was.
    """

    def __init__(self, rows: Transaction) -> None:
        super().__init__(rows)
        self._rows = rows
        self._unwritten: set[str] = set()

    def take_over(self, draft: Draft) -> bool:
        """Write what a draft changes, and return True; nothing if one of its rows is another by now.

        None of them was read in this transaction.
        """
        is_same = draft.is_plain and self._rows.change_same(draft.changes, draft.unchanged)
        if is_same:
            self._add(draft.total)
        return is_same

    def has(self, key: str) -> bool:
        """Return whether there is a row of `key`, sound or not."""
        return self._after[key] is not None if key in self._after else self._rows.has(key)

    def drop(self, key: str) -> None:
        """Delete the row of `key`, sound or not, of any kind."""
        if table := table_of(key):
            self._put(table, table.name(key), None)
        self._rows.delete(key)
        self._unwritten.add(key)  # who puts another one there writes all of it

    def mend_row(self, number: int) -> str:
        """Delete the row of a number, whatever its key is, if it cannot be read, or write it anew if it is misfiled.

        Return what was done, nothing if it is right or gone.
        """
        found = self._rows.numbered(number)
        if found is None:
            return ""
        row = seen_row(found)
        if row.value is None:
            self._rows.delete_numbered(number)
            return "removed"
        if row.is_misfiled:
            self.rewrite(row.key)
            return "written anew"
        return ""

    def rewrite(self, key: str) -> None:
        """Write the row of `key` again as it is: its tag is not as it should be."""
        if table := table_of(key):
            self._get(table, table.name(key))
            self._unwritten.add(key)

    def settle(self) -> None:
        """Write all that changed."""
        self._note_uses()
        self._add(self._change(), leases=self._has_changed_leases())
        changed = [key for key, value in self._after.items() if value != self._before[key] or key in self._unwritten]
        self._rows.delete_many(key for key in changed if self._after[key] is None)
        written = [self._written(key) for key in changed if self._after[key] is not None]
        self._rows.set_many((key, row, tag) for key, row, tag, is_filed in written if not is_filed)
        self._rows.change_many((key, row) for key, row, _, is_filed in written if is_filed)

    def _written(self, key: str) -> tuple[str, Row, Tag, bool]:
        """Return what is written of a row, and whether it lies in its place with its tag already."""
        table, before, value = table_of(key), self._before[key], self._after[key]
        assert table is not None  # noqa: S101 - only tables put values
        tag = table.tag(value)
        is_filed = before is not None and key not in self._unwritten and table.tag(before) == tag
        return key, table.to_row(value), tag, is_filed

    def _has_changed_leases(self) -> bool:
        return any(key.startswith(LEASES.prefix) and row != self._before[key] for key, row in self._after.items())

    def _add(self, change: Totals, *, leases: bool = False) -> None:
        """Count what rows have changed by."""
        if (leases or change != Totals()) and (meta := self.meta()):
            self.put_meta(replace(meta, totals=meta.totals + change, leases=meta.leases + leases))
