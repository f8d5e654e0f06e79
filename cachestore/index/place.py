"""The files of the database, looked at before SQLite opens them."""

from __future__ import annotations

import stat
from pathlib import Path

from cachestore.errors import IndexDamaged

_COMPANIONS = ("-wal", "-shm", "-journal")


def is_there(database: Path) -> bool:
    """Return whether there is a database. Raise IndexDamaged when it, or a file of SQLite's beside it, is no file.

    For the other end of a pipe SQLite would wait for ever.
    """
    for companion in _COMPANIONS:
        _is_file(Path(f"{database}{companion}"))
    return _is_file(database)


def has_log(database: Path) -> bool:
    """Return whether a log lies beside the database, in which there may be what it does not have yet."""
    log = Path(f"{database}-wal")
    return log.exists() and log.stat().st_size > 0


def _is_file(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        raise IndexDamaged(str(path), "it is no regular file")
    return True
