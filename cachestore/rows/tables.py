"""Each kind of row: its prefix, its value, and the tag by which it is found in order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from cachestore.blobs import is_digest
from cachestore.index.reader import PIN
from cachestore.rows.checks import WRONG
from cachestore.rows.content import BlobRow, TrackRow, entry_from_row, entry_to_row
from cachestore.rows.meta import MetaRow
from cachestore.rows.registry import Bundle, LeaseRow, RunRow, StampsRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cachestore.entry import Entry
    from cachestore.index.reader import NumberedRow, Row, Tag

T = TypeVar("T")

_BATCH = 256


class SupportsGet(Protocol):
    """Whatever rows can be read from: the index, or a transaction."""

    def get(self, key: str) -> Row | None:
        """Return the row of `key`, None if there is no sound one."""


class SupportsGetMany(SupportsGet, Protocol):
    """What rows can be read from together, too."""

    def get_many(self, keys: Iterable[str]) -> dict[str, Row]:
        """Return the rows of those of `keys` that have a sound one."""


@dataclass(frozen=True, slots=True)
class Table(Generic[T]):
    """One kind of row. A key is the prefix and a name."""

    prefix: str
    from_row: Callable[[Row], T]
    to_row: Callable[[T], Row]
    tag: Callable[[T], Tag] = lambda _: None
    may_have: Callable[[str, T], bool] = lambda _name, _value: True

    def key(self, name: str) -> str:
        """Return the key of the row of `name`."""
        return self.prefix + name

    def name(self, key: str) -> str:
        """Return the name in a key."""
        return key[len(self.prefix) :]

    def value(self, key: str, row: Row) -> T | None:
        """Return the value of a row, None if it is damaged or none that may have this key."""
        try:
            value = self.from_row(row)
        except WRONG:
            return None
        return value if self.may_have(key[len(self.prefix) :], value) else None

    def values(self, rows: Iterable[tuple[str, Row]]) -> Iterator[tuple[str, T]]:
        """Yield name and value of the sound ones of `rows`: a damaged one hides only itself."""
        for key, row in rows:
            if (value := self.value(key, row)) is not None:
                yield key[len(self.prefix) :], value


class Known(NamedTuple, Generic[T]):
    """A row that was read before the lock was had: its text, and the value of that."""

    text: str
    value: T


def _pin(value: Entry | TrackRow) -> Tag:
    return PIN if value.pinned else None


META = Table("meta", MetaRow.from_row, MetaRow.to_row)
TRACKS = Table("t:", TrackRow.from_row, TrackRow.to_row, _pin)
# An entry in the place of another would be the bytes of another track.
ENTRIES = Table("e:", entry_from_row, entry_to_row, _pin, lambda name, entry: entry.key == name)
BLOBS = Table("b:", BlobRow.from_row, BlobRow.to_row, lambda blob: blob.used_at, lambda name, _: is_digest(name))
BUNDLES = Table("x:", Bundle.from_row, Bundle.to_row)
STAMPS = Table("s:", StampsRow.from_row, StampsRow.to_row)
RUNS = Table("r:", RunRow.from_row, RunRow.to_row)
LEASES = Table("l:", LeaseRow.from_row, LeaseRow.to_row)

TABLES: tuple[Table[Any], ...] = (META, TRACKS, ENTRIES, BLOBS, BUNDLES, STAMPS, RUNS, LEASES)
_BY_BEGINNING = {table.prefix[:2]: table for table in TABLES}


def table_of(key: str) -> Table[Any] | None:
    """Return the table that a key belongs to, None when it is of no kind that we know."""
    table = _BY_BEGINNING.get(key[:2])
    return table if table is not None and key.startswith(table.prefix) else None


class SeenRow(NamedTuple):
    """A row of any kind, whatever its key is: its number, its key, and its value, None when it is damaged.

    One that is `misfiled` has another tag than its value says, so that who goes by tags does not find it.
    """

    number: int
    key: str
    value: Any
    is_misfiled: bool


def seen_row(found: NumberedRow) -> SeenRow:
    """Return what a row says; one of a kind that we do not know says itself."""
    key, row = str(found.key), found.row
    table = table_of(key)
    if row is None or table is None:
        return SeenRow(found.number, key, row, is_misfiled=False)
    value = table.value(key, row)
    is_misfiled = value is not None and found.tag != table.tag(value)
    return SeenRow(found.number, key, value, is_misfiled)


def get_as(rows: SupportsGet, table: Table[T], name: str = "") -> T | None:
    """Return the value of a row, None if there is none or it is damaged."""
    key = table.key(name)
    row = rows.get(key)
    return None if row is None else table.value(key, row)


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield `items` in lists that are small work for one query."""
    remaining = iter(items)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
