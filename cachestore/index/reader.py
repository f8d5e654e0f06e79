"""Reading the index without writing a byte."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from cachestore.errors import IndexDamaged
from cachestore.index.place import has_log, is_there
from cachestore.index.refusals import is_busy, raise_ours

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

Row = dict[str, Any]
# What diskcache's tag index finds a row by: a number, which puts the rows in order, or the one text of all pins.
Tag = float | str | None

DATABASE = "cache.db"
MODE_RAW = 1
PIN = "pin"
# A row may be one of ours as plain text only. When it expires is not asked: diskcache would have it vanish, and none of
# ours does.
IS_PLAIN = f"raw = 1 AND mode = {MODE_RAW} AND filename IS NULL"
VALUE = f"SELECT value FROM Cache WHERE key = ? AND {IS_PLAIN}"  # noqa: S608 (constants)
PLAIN = f"SELECT key, value FROM Cache WHERE {IS_PLAIN}"  # noqa: S608 (constants)
NUMBERED = f"SELECT rowid, tag, key, CASE WHEN {IS_PLAIN} THEN value END FROM Cache"  # noqa: S608 (constants)
_KEYS = "SELECT key FROM Cache WHERE TRUE"  # sound or not
_KEYS_PER_QUERY = 500
_scanned = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # what its methods call
text_of = json.JSONEncoder(separators=(",", ":")).encode  # a row as it is written


def parsed(text: object) -> Row | None:
    """Return the JSON object in the text of a row, None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        row, end = _scanned(text, 0)
    except (StopIteration, ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and end == len(text) else None


class NumberedRow(NamedTuple):
    """A row as it lies in the database, with its number; all but that may be anything."""

    number: int
    tag: object
    key: object
    text: object

    @property
    def row(self) -> Row | None:
        """Return the JSON object, None when it cannot be read."""
        return parsed(self.text) if isinstance(self.key, str) else None


def plain(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
    """Yield those of the keys and values that are texts."""
    return ((key, text) for key, text in rows if isinstance(key, str) and isinstance(text, str))


def sound(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, Row]]:
    """Yield key and JSON object of the rows that can be read: a damaged one hides only itself."""
    for key, text in rows:
        if (row := parsed(text)) is not None and isinstance(key, str):
            yield key, row


def as_text(data: bytes) -> str | bytes:
    """Return what SQLite calls a text, or its bytes when it is none: else one such row would hide all others."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _behind(key: str | bytes) -> bytes:
    """Return the first key behind `key`, to be cast to what SQLite calls a text."""
    return (key.encode() if isinstance(key, str) else key) + b"\0"


def _range(prefix: str) -> tuple[str, str]:
    """Return the first key that begins with `prefix` and the first one behind all of them."""
    return prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)


def key_conditions(keys: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield what a statement has to say to mean the rows of `keys`, with its parameters: some hundred keys each."""
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), _KEYS_PER_QUERY):
        some = wanted[start : start + _KEYS_PER_QUERY]
        yield f"key IN ({','.join('?' * len(some))})", some


class _RowIds:
    """The rows that were met: a bit each, since there can be a million."""

    _BITS = 1 << 15

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}

    def is_new(self, rowid: int) -> bool:
        """Return whether the row was not met before, and note that it was met."""
        chunk, bit = divmod(rowid, self._BITS)
        bits = self._chunks.setdefault(chunk, bytearray(self._BITS // 8))
        byte, mask = bit // 8, 1 << bit % 8
        was_met = bits[byte] & mask
        bits[byte] |= mask
        return not was_met


class IndexReader:
    """Read-only access to the rows; one thread only."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / DATABASE
        self._connection = self._connect()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, key: str) -> Row | None:
        """Return the row of `key`, None if there is no sound one."""
        found = self._query(VALUE, [key])
        return parsed(found[0][0]) if found else None

    def get_many(self, keys: Iterable[str]) -> dict[str, Row]:
        """Return the rows of those of `keys` that have a sound one."""
        return dict(self.each(keys))

    def each(self, keys: Iterable[str]) -> Iterator[tuple[str, Row]]:
        """Yield the sound rows of those of `keys` that have one, some hundred held at a time."""
        return sound(self._select(PLAIN, keys))

    def texts(self, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield the rows of those of `keys` that have one in plain text, as it is written."""
        return plain(self._select(PLAIN, keys))

    def existing(self, keys: Iterable[str]) -> set[str]:
        """Return those of `keys` that have a row, sound or not."""
        return {str(key) for (key,) in self._select(_KEYS, keys)}

    def _select(self, found: str, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        for condition, some in key_conditions(keys):
            yield from self._query(f"{found} AND {condition}", some)

    def scan(self, prefix: str) -> Iterator[tuple[str, Row]]:
        """Yield the sound rows whose key begins with `prefix`, in key order.

        They are read page by page: what is asked between two rows is answered by the index as it is then.
        """
        for page in self._in_key_order(PLAIN, prefix):
            yield from sound(page)

    def names(self, prefix: str) -> Iterator[str]:
        """Yield what follows `prefix` in the keys that begin with it, in key order, their rows sound or not."""
        for page in self._in_key_order(_KEYS, prefix):
            yield from (key[len(prefix) :] for (key,) in page if isinstance(key, str))

    def _in_key_order(self, found: str, prefix: str) -> Iterator[list[tuple[Any, ...]]]:
        first, end = _range(prefix)
        behind = first.encode()
        there = f"{found} AND key >= CAST(? AS TEXT) AND key < ?"
        while page := self._query(f"{there} ORDER BY key LIMIT {_KEYS_PER_QUERY}", [behind, end]):
            yield page
            behind = _behind(page[-1][0])

    def in_order(self) -> Iterator[tuple[str, Row]]:
        """Yield the sound rows that have a number as their tag, by that number, read page by page.

        A row that is written anew meanwhile is not met twice, and no other is left out.
        """
        query = (
            f"SELECT key, value, tag, rowid FROM Cache WHERE {IS_PLAIN}"  # noqa: S608 (a constant)
            f" AND (tag, rowid) > (?, ?) AND tag < '' ORDER BY tag, rowid LIMIT {_KEYS_PER_QUERY}"
        )
        met = _RowIds()
        place: Sequence[Any] = (-math.inf, 0)
        while page := self._query(query, place):
            yield from sound(fields[:-2] for fields in page if met.is_new(fields[-1]))
            place = page[-1][-2:]

    def pins(self) -> dict[str, Row]:
        """Return the sound rows that are tagged as pins."""
        return dict(sound(self._query(f"{PLAIN} AND tag = ?", [PIN])))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """See the index within the block as it is at its first read, whatever is written meanwhile."""
        self._query("BEGIN", [])
        try:
            yield
        finally:
            self._query("ROLLBACK", [])

    def pages(self, after: int, last: int) -> Iterator[list[NumberedRow]]:
        """Yield the rows behind the number `after`, up to `last`, as they were first written, page by page."""
        while page := self._query(
            f"{NUMBERED} WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT {_KEYS_PER_QUERY}", [after, last]
        ):
            yield [*map(NumberedRow._make, page)]
            after = page[-1][0]

    def last(self) -> int:
        """Return the number of the last row, 0 when there is none."""
        [(found,)] = self._query("SELECT max(rowid) FROM Cache", [])
        return found or 0

    def state(self) -> int:
        """Return a number that is another one after another connection has written (SQLite's ``data_version``)."""
        [(found,)] = self._query("PRAGMA data_version", [])
        return int(found)

    def check(self) -> None:
        """Read every page of the database. Raise IndexDamaged when one does not fit the others."""
        [(found,)] = self._query("PRAGMA quick_check(1)", [])
        if found != "ok":
            raise IndexDamaged(str(self._path), str(found))

    def count(self, prefix: str, after: int = 0) -> int:
        """Return how many rows have a key that begins with `prefix` and a number behind `after`."""
        query = "SELECT count(*) FROM Cache WHERE key >= ? AND key < ? AND rowid > ?"
        [(found,)] = self._query(query, [*_range(prefix), after])
        return int(found)

    def _query(self, sql: str, parameters: Sequence[str | bytes | float]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise_ours(error, self._path)

    def _connect(self) -> sqlite3.Connection:
        """Open the database read-only; on a read-only mount SQLite needs to be told that nobody writes.

        It leaves the log out then, and with it what was written last: one with something in it has to be read. A
        database that is not there has no rows.
        """
        if not is_there(self._path):
            return _nothing()
        try:
            return self._connect_in("mode=ro")
        except sqlite3.Error as error:
            if not isinstance(error, sqlite3.OperationalError) or is_busy(error) or has_log(self._path):
                raise_ours(error, self._path)
        try:
            return self._connect_in("mode=ro&immutable=1")
        except sqlite3.Error as error:
            raise_ours(error, self._path)

    def _connect_in(self, mode: str) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?{mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)
        connection.text_factory = as_text
        try:
            connection.execute("SELECT count(*) FROM Settings").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _nothing() -> sqlite3.Connection:
    """Return an index without rows, in memory: that of a store whose index was lost."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE Cache (rowid INTEGER PRIMARY KEY, key, raw, mode, filename, value, tag)")
    return connection
