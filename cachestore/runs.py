"""Who is alive: a run holds the lock of its file for as long as it runs, however it ends."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filelock import BaseFileLock

_RUN_ID = re.compile(r"[0-9a-f]{32}")


class RunLock:
    """The lock of one living run."""

    def __init__(self, folder: Path) -> None:
        self.id = uuid.uuid4().hex
        self._path = folder / self.id
        self._lock = _file_lock(self._path)
        self._lock.acquire(blocking=False)

    def release(self) -> None:
        """End the run."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


def is_alive(folder: Path, run_id: str) -> bool:
    """Return whether the run still holds its lock: a lock that can be had belongs to the dead."""
    path = folder / run_id
    if not path.exists():
        return False
    from filelock import Timeout

    lock = _file_lock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _file_lock(path: Path) -> BaseFileLock:
    """Return the lock of a file; filelock is slow to import and only runs that write need it."""
    from filelock import FileLock

    return FileLock(path)


def run_ids(folder: Path) -> Iterator[str]:
    """Yield the ids of all runs that have a lock file, living or dead."""
    for path in folder.iterdir():
        if _RUN_ID.fullmatch(path.name):
            yield path.name


def forget(folder: Path, run_id: str) -> None:
    """Remove the lock file of a dead run."""
    (folder / run_id).unlink(missing_ok=True)
