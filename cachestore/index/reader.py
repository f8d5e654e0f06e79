"""Reading the index without writing a byte."""

from __future__ import annotations

import errno
import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from cachestore.errors import Busy, IndexDamaged, NoSpace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Row = dict[str, Any]

DATABASE = "cache.db"
MODE_RAW = 1
_COLUMNS = "key, raw, mode, filename, typeof(value), value"
_KEYS_PER_QUERY = 500


def decode(key: object, raw: int, mode: int, filename: str | None, value_type: str, value: object) -> Row:
    """Return the JSON object of one database row. Raise IndexDamaged for anything else."""
    if raw != 1 or mode != MODE_RAW or filename is not None or value_type != "text":
        raise IndexDamaged(f"row {key!r}", "it is not plain text")
    try:
        row = json.loads(str(value))
    except ValueError:
        raise IndexDamaged(f"row {key!r}", "it is not JSON") from None
    if not isinstance(row, dict):
        raise IndexDamaged(f"row {key!r}", "it is not a JSON object")
    return row


def _sound(rows: Iterable[tuple[Any, ...]]) -> dict[str, Row]:
    """Return by key the rows that can be read: a damaged one hides only itself."""
    sound = {}
    for fields in rows:
        with suppress(IndexDamaged):
            sound[str(fields[0])] = decode(*fields)
    return sound


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
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Row]:
        """Return the rows of those of `keys` that have a sound one."""
        return _sound(self._select(_COLUMNS, keys))

    def existing(self, keys: Iterable[str]) -> set[str]:
        """Return those of `keys` that have a row, sound or not."""
        return {str(key) for (key,) in self._select("key", keys)}

    def _select(self, columns: str, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), _KEYS_PER_QUERY):
            batch = wanted[start : start + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(batch))
            yield from self._query(f"SELECT {columns} FROM Cache WHERE key IN ({marks})", batch)  # noqa: S608 (constants, marks)

    def scan(self, prefix: str) -> Iterator[tuple[str, Row]]:
        """Yield the sound rows whose key begins with `prefix`, in key order; `damaged` names the others.

        They are read page by page: what is asked between two rows is answered by the index as it is then.
        """
        first, end = prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)
        query = f"SELECT {_COLUMNS} FROM Cache WHERE key >= ? AND key < ? ORDER BY key LIMIT {_KEYS_PER_QUERY}"  # noqa: S608 (constants)
        while page := self._query(query, [first, end]):
            yield from _sound(page).items()
            first = f"{page[-1][0]}\0"

    def damaged(self) -> list[str]:
        """Return the keys of rows that cannot be read."""
        found = []
        for fields in self._query(f"SELECT {_COLUMNS} FROM Cache", []):  # noqa: S608 (a constant)
            try:
                decode(*fields)
            except IndexDamaged:
                found.append(str(fields[0]))
        return found

    def _query(self, sql: str, parameters: list[str]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise_ours(error, self._path)

    def _connect(self) -> sqlite3.Connection:
        """Open the database read-only; on a read-only mount SQLite needs to be told that nobody writes."""
        try:
            return self._connect_in("mode=ro")
        except sqlite3.OperationalError:
            pass
        except sqlite3.Error as error:
            raise_ours(error, self._path)
        try:
            return self._connect_in("mode=ro&immutable=1")
        except sqlite3.Error as error:
            raise_ours(error, self._path)

    def _connect_in(self, mode: str) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?{mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)
        try:
            connection.execute("SELECT count(*) FROM Settings").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another process is writing."""
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def raise_ours(error: sqlite3.Error, path: Path) -> NoReturn:
    """Raise what an error of SQLite means to us."""
    if is_busy(error):
        raise Busy("the index") from error
    if _code(error) == sqlite3.SQLITE_FULL:
        raise NoSpace(path.parent) from error
    if _code(error) in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}:
        raise PermissionError(errno.EACCES, "the index cannot be opened", str(path)) from error
    raise IndexDamaged(str(path), str(error)) from error


def _code(error: sqlite3.Error) -> int | None:
    """Return the primary result code, without what SQLite adds to it."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
