"""Reading the index without writing a byte."""

from __future__ import annotations

import errno
import json
import sqlite3
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


class IndexReader:
    """Read-only access to the rows; one thread only."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / DATABASE
        self._connection = self._connect()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, key: str) -> Row | None:
        """Return the row of `key`, None if there is none. Raise IndexDamaged."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Row]:
        """Return the rows of those of `keys` that have one. Raise IndexDamaged."""
        wanted = list(dict.fromkeys(keys))
        rows: dict[str, Row] = {}
        for start in range(0, len(wanted), _KEYS_PER_QUERY):
            batch = wanted[start : start + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(batch))
            for fields in self._query(f"SELECT {_COLUMNS} FROM Cache WHERE key IN ({marks})", batch):  # noqa: S608 (marks only)
                rows[fields[0]] = decode(*fields)
        return rows

    def scan(self, prefix: str) -> Iterator[tuple[str, Row]]:
        """Yield the sound rows whose key begins with `prefix`, in key order; `damaged` names the others."""
        for fields in self._range(prefix):
            try:
                yield fields[0], decode(*fields)
            except IndexDamaged:
                continue

    def damaged(self) -> Iterator[str]:
        """Yield the keys of rows that cannot be read."""
        for fields in self._query(f"SELECT {_COLUMNS} FROM Cache", []):  # noqa: S608 (a constant)
            try:
                decode(*fields)
            except IndexDamaged:
                yield str(fields[0])

    def _range(self, prefix: str) -> Iterator[tuple[Any, ...]]:
        after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return self._query(f"SELECT {_COLUMNS} FROM Cache WHERE key >= ? AND key < ?", [prefix, after])  # noqa: S608 (a constant)

    def _query(self, sql: str, parameters: list[str]) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(sql, parameters)
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


def raise_ours(error: sqlite3.Error, path: Path) -> NoReturn:
    """Raise what an error of SQLite means to us."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        raise NoSpace(path.parent) from error
    if code is not None and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        raise Busy("the index") from error
    if code is not None and code & 0xFF in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}:
        raise PermissionError(errno.EACCES, "the index cannot be opened", str(path)) from error
    raise IndexDamaged(str(path), str(error)) from error
