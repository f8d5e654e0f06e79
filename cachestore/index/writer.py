"""Writing the index: one room, one importer of diskcache."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import diskcache

from cachestore.errors import Busy, Cancelled, IndexDamaged
from cachestore.index.reader import DATABASE, MODE_RAW, IndexReader, Row, decode, raise_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LOCK_WAIT = 0.05
_PATIENCE = 20.0


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
    """Reads and writes that happen together or not at all."""

    def __init__(self, cache: diskcache.Cache) -> None:
        self._cache = cache

    def get(self, key: str) -> Row | None:
        """Return the row of `key` as this transaction sees it, None if there is none. Raise IndexDamaged."""
        text = self._cache.get(key)
        return None if text is None else decode(key, 1, MODE_RAW, None, "text", text)

    def set(self, key: str, row: Row) -> None:
        """Write the row of `key`."""
        self._cache.set(key, json.dumps(row, separators=(",", ":")))

    def delete(self, key: str) -> None:
        """Delete the row of `key` if there is one."""
        self._cache.delete(key)


class Index(IndexReader):
    """The index, open for writing. `cancelled` is asked while another process holds the lock."""

    def __init__(self, folder: Path, *, cancelled: Callable[[], bool] = lambda: False) -> None:
        self._cache = _open_diskcache(folder)
        self.cancelled = cancelled
        super().__init__(folder)

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
        deadline = time.monotonic() + _PATIENCE
        while True:
            transaction = self._cache.transact()
            try:
                transaction.__enter__()
                break
            except diskcache.Timeout:
                if self.cancelled():
                    raise Cancelled from None
                if time.monotonic() > deadline:
                    raise Busy("the index") from None
        with _entered(transaction):
            yield


@contextmanager
def _entered(transaction: Any) -> Iterator[None]:  # noqa: ANN401 (diskcache is untyped)
    """Leave a context manager that was entered by hand."""
    try:
        yield
    except BaseException as error:
        transaction.__exit__(type(error), error, error.__traceback__)
        raise
    else:
        transaction.__exit__(None, None, None)


def _open_diskcache(folder: Path) -> diskcache.Cache:
    """Open diskcache as a plain table: no eviction of its own, no files, no pickles.

    Its `check(fix=True)` deletes every file in `folder` that it does not know, so nothing else may live there.
    """
    try:
        return diskcache.Cache(
            str(folder),
            timeout=_LOCK_WAIT,
            disk=JsonTextDisk,
            eviction_policy="none",
            cull_limit=0,
            statistics=0,
        )
    except diskcache.Timeout:
        raise Busy("the index") from None
    except sqlite3.Error as error:
        raise_ours(error, folder / DATABASE)
