"""What it means to us when SQLite refuses."""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import TYPE_CHECKING, NoReturn

from cachestore.errors import Busy, IndexDamaged, NoSpace, RootUnusable

if TYPE_CHECKING:
    from pathlib import Path


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another process is writing."""
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def raise_ours(error: sqlite3.Error, path: Path) -> NoReturn:
    """Raise what an error of SQLite means to us."""
    if is_busy(error):
        raise Busy("the index") from error
    # To SQLite it is an error of the disk when the file in which its connections meet finds no space.
    if _code(error) == sqlite3.SQLITE_FULL or _extended(error) == sqlite3.SQLITE_IOERR_SHMSIZE:
        raise NoSpace(path.parent) from error
    if _code(error) in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}:
        remedy = "mend its permissions, mount it writable or name another with --root"
        raise RootUnusable(path.parent.parent, "its index cannot be opened or written", remedy) from error
    if _code(error) == sqlite3.SQLITE_IOERR:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path)) from error
    raise IndexDamaged(str(path), str(error)) from error


def _code(error: sqlite3.Error) -> int | None:
    """Return the primary result code, without what SQLite adds to it."""
    code = _extended(error)
    return None if code is None else code & 0xFF


def _extended(error: sqlite3.Error) -> int | None:
    return getattr(error, "sqlite_errorcode", None)
