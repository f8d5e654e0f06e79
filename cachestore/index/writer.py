"""Writing the index: one room, one importer of diskcache."""

from __future__ import annotations

import sqlite3
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import diskcache
from diskcache.core import METADATA

from cachestore.errors import Busy, Cancelled, IndexDamaged
from cachestore.index.place import is_there
from cachestore.index.reader import (
    DATABASE,
    IS_PLAIN,
    MODE_RAW,
    NUMBERED,
    PLAIN,
    VALUE,
    IndexReader,
    NumberedRow,
    Row,
    Tag,
    as_text,
    key_conditions,
    parsed,
    plain,
    sound,
    text_of,
)
from cachestore.index.refusals import is_busy, raise_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cachestore.index.change import Change

T = TypeVar("T")

# Seconds. SQLite asks ever more seldom; begun anew so often, it asks within each pause of who works in pieces.
_LOCK_WAIT = 0.005
_PATIENCE = 20.0
_PAGES_IN_MEMORY = 2000  # 8 MB; what else is asked for is in the system's file cache
# Of a row of diskcache, what its `set` writes.
_WRITE = """
    INSERT INTO Cache (key, raw, store_time, access_time, tag, mode, value) VALUES (?, 1, ?, ?, ?, ?, ?)
    ON CONFLICT (key, raw) DO UPDATE SET store_time = excluded.store_time, access_time = excluded.access_time,
        expire_time = NULL, access_count = 0, tag = excluded.tag, size = 0, mode = excluded.mode, filename = NULL,
        value = excluded.value
    """
_CHANGE = "UPDATE Cache SET value = ? WHERE key = ? AND raw = 1"  # and no index, as of times and tags, is touched
_IS_AS_BEFORE = f"key = ? AND value = ? AND {IS_PLAIN}"
_CHANGE_SAME = f"UPDATE Cache SET value = ? WHERE {_IS_AS_BEFORE}"  # noqa: S608 (constants)
_FILE_SAME = f"UPDATE Cache SET value = ?, tag = ? WHERE {_IS_AS_BEFORE}"  # noqa: S608 (constants)
_SETTINGS = {*diskcache.DEFAULT_SETTINGS, *METADATA}


class JsonTextDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache is untyped
    """Keys and values are text, inline, and nothing else is ever read or written."""

    def put(self, key: str) -> tuple[str, bool]:
        """Return the key as it is."""
        if not isinstance(key, str):
            raise TypeError("an index key is text")
        return key, True

    def get(self, key: object, raw: object) -> str:
        """Return the key as it is, never unpickled."""
        if not raw or not isinstance(key, str):
            raise IndexDamaged(f"row {key!r}", "its key is not plain text")
        return key

    def store(self, value: str, read: object, key: object = None) -> tuple[int, int, None, str]:  # noqa: ARG002 (diskcache's)
        """Return the value inline."""
        if read or not isinstance(value, str):
            raise TypeError("an index value is text")
        return 0, MODE_RAW, None, value

    def fetch(self, mode: object, filename: object, value: object, read: object) -> str:
        """Return the value as it is, never unpickled and never from a file."""
        if mode != MODE_RAW or filename is not None or read or not isinstance(value, str):
            raise IndexDamaged("a row", "it is not plain text")
        return value

    def remove(self, file_path: str) -> None:
        """Remove nothing: a file that a row names was never ours."""


class Transaction:
    """Reads and writes that happen together or not at all.

    Its statements are ours, on the connection of diskcache: for its verbs a row that somebody planted an expiry in is
    not there, and each would be a check and three statements a row.
    """

    def __init__(self, cache: diskcache.Cache) -> None:
        self._cache = cache

    def get(self, key: str) -> Row | None:
        """Return the row of `key` as this transaction sees it, None if there is no sound one."""
        found = self._sql(VALUE, key).fetchone()
        return parsed(found[0]) if found else None

    def get_many(self, keys: Iterable[str]) -> dict[str, Row]:
        """Return the rows of those of `keys` that have a sound one, as this transaction sees them."""
        return dict(sound(self._select_plain(keys)))

    def texts(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the rows of those of `keys` that have one in plain text, as it is written."""
        return dict(plain(self._select_plain(keys)))

    def _select_plain(self, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        for condition, some in key_conditions(keys):
            yield from self._sql(f"{PLAIN} AND {condition}", *some)

    def has(self, key: str) -> bool:
        """Return whether there is a row of `key`, sound or not."""
        return self._sql("SELECT 1 FROM Cache WHERE key = ?", key).fetchone() is not None

    def set_many(self, rows: Iterable[tuple[str, Row, Tag]]) -> None:
        """Write rows, each with its key and tag; one that is there keeps its number."""
        now = time.time()
        fields = ((key, now, now, tag, MODE_RAW, text_of(row)) for key, row, tag in rows)
        self._cache._con.executemany(_WRITE, fields)  # noqa: SLF001 - its connection, in its transaction

    def change_many(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Write other values into rows that can be read, and whose tags stay: a fifth of the work of `set_many`."""
        self._cache._con.executemany(_CHANGE, ((text_of(row), key) for key, row in rows))  # noqa: SLF001 - its connection

    def change_same(self, changes: Sequence[Change], unchanged: Mapping[str, str | None]) -> bool:
        """Make `changes`, if these rows and the `unchanged` ones have the texts that they had; else none of them."""
        connection = self._cache._con  # noqa: SLF001 - its connection, in its transaction
        texts = self.texts(unchanged)
        if any(texts.get(key) != text for key, text in unchanged.items()):
            return False
        connection.execute("SAVEPOINT changes")
        filed = ((after, key, before) for key, before, after, _, is_filed in changes if is_filed)
        others = ((after, tag, key, before) for key, before, after, tag, is_filed in changes if not is_filed)
        done = connection.executemany(_CHANGE_SAME, filed).rowcount, connection.executemany(_FILE_SAME, others).rowcount
        is_done: bool = sum(max(rows, 0) for rows in done) == len(changes)
        if not is_done:
            connection.execute("ROLLBACK TO changes")
        connection.execute("RELEASE changes")
        return is_done

    def delete(self, key: str) -> None:
        """Delete the row of `key` if there is one."""
        self._sql("DELETE FROM Cache WHERE key = ?", key)

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete the rows of those of `keys` that have one."""
        for condition, some in key_conditions(keys):
            self._sql(f"DELETE FROM Cache WHERE {condition}", *some)  # noqa: S608 (constants, marks)

    def numbered(self, number: int) -> NumberedRow | None:
        """Return the row of a number, None when there is none."""
        fields = self._sql(f"{NUMBERED} WHERE rowid = ?", number).fetchone()
        return None if fields is None else NumberedRow(*fields)

    def delete_numbered(self, number: int) -> None:
        """Delete a row, also one whose key is none of ours."""
        self._sql("DELETE FROM Cache WHERE rowid = ?", number)

    def _sql(self, statement: str, *parameters: str | int) -> sqlite3.Cursor:
        cursor: sqlite3.Cursor = self._cache._sql(statement, parameters)  # noqa: SLF001 - its connection, in its transaction
        return cursor


class _Table(diskcache.Cache):  # type: ignore[misc]  # diskcache is untyped
    """A diskcache whose opening does not wait for ever, unseen, for another process."""

    def __init__(self, folder: Path) -> None:
        """Open it as a plain table: no eviction of its own, no files, no pickles.

        Its `check(fix=True)` deletes every file in `folder` that it does not know: nothing else may live there.
        """
        try:
            super().__init__(
                str(folder),
                timeout=_LOCK_WAIT,
                disk=JsonTextDisk,
                eviction_policy="none",
                cull_limit=0,
                statistics=0,
                tag_index=1,
                sqlite_mmap_size=0,
                sqlite_cache_size=_PAGES_IN_MEMORY,
            )
        except BaseException:
            self.close()
            raise

    def reset(self, key: str, value: object = diskcache.ENOVAL, update: bool = True) -> object:  # noqa: FBT001, FBT002
        """Take a setting, but none that somebody planted: it would replace the attribute of its name."""
        return super().reset(key, value, update) if key in _SETTINGS else None

    @property
    def _con(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._con
        connection.text_factory = as_text
        return connection

    @property
    def _sql_retry(self) -> Callable[..., sqlite3.Cursor]:
        return self._sql  # type: ignore[no-any-return]


class Index(IndexReader):
    """The index, open for writing. `cancelled` is asked while another process holds the lock."""

    def __init__(self, folder: Path, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.cancelled = cancelled
        self._gave_up = False
        self._cache = self._waiting_for("the index", lambda: _opened(folder))
        try:
            super().__init__(folder)
        except BaseException:
            self._cache.close()
            raise

    def close(self) -> None:
        """Close both connections."""
        super().close()
        self._cache.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Hold the write lock for the block; commit at its end, roll back when it raises.

        Raise Busy when another process keeps the lock for 20 seconds, Cancelled, NoSpace or IndexDamaged.
        """
        try:
            with self._locked():
                yield Transaction(self._cache)
        except sqlite3.Error as error:
            raise_ours(error, self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with ExitStack() as stack:
            self._waiting_for("the index", lambda: self._entered(stack))
            yield

    def _entered(self, stack: ExitStack) -> ExitStack | None:
        """Begin a transaction that ends with `stack`, or return None while another process is in one."""
        try:
            stack.enter_context(self._cache.transact())
        except diskcache.Timeout as timeout:
            refusal = timeout.__context__  # diskcache takes every error of its BEGIN for another process
            if isinstance(refusal, sqlite3.Error) and not is_busy(refusal):
                raise refusal from None
            return None
        return stack

    def _waiting_for(self, what: str, attempt: Callable[[], T | None]) -> T:
        """Return what `attempt` returns once it returns something. Raise Cancelled, or Busy after a while.

        Who gave up does not wait again until the lock was had: to end, too, a command takes it several times.
        """
        deadline = time.monotonic() + (0.0 if self._gave_up else _PATIENCE)
        while (result := attempt()) is None:
            if self.cancelled():
                raise Cancelled
            if time.monotonic() > deadline:
                self._gave_up = True
                raise Busy(what)
        self._gave_up = False
        return result


def _opened(folder: Path) -> _Table | None:
    """Return the table, or None while another process writes."""
    is_there(folder / DATABASE)
    try:
        return _Table(folder)
    except diskcache.Timeout:
        return None
    except sqlite3.OperationalError as error:
        if is_busy(error):
            time.sleep(_LOCK_WAIT)
            return None
        raise_ours(error, folder / DATABASE)
    except sqlite3.Error as error:
        raise_ours(error, folder / DATABASE)
    except (AttributeError, TypeError, ValueError) as error:  # diskcache takes any setting for its own
        raise IndexDamaged(str(folder / DATABASE), f"its settings make no sense ({error})") from None
