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
    """The lock of one living run. Its file gets its name when it is locked: nobody can be there first."""

    def __init__(self, folder: Path) -> None:
        self.id = uuid.uuid4().hex
        self._path = folder / self.id
        unnamed = folder / f"{self.id}.new"
        self._lock = _file_lock(unnamed)
        self._lock.acquire(blocking=False)
        unnamed.rename(self._path)

    def release(self) -> None:
        """End the run."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


def is_alive(folder: Path, run_id: str) -> bool:
    """Return whether the run still holds its lock: a lock that can be had belongs to the dead."""
    return not _had(folder / run_id, and_unlink=False)


def remove_if_dead(folder: Path, run_id: str) -> bool:
    """Remove the lock file of a dead run, and return whether the run is dead."""
    return _had(folder / run_id, and_unlink=True)


def run_ids(folder: Path) -> Iterator[str]:
    """Yield the ids of all runs that have a lock file, living or dead."""
    for path in folder.iterdir():
        if is_run_id(path.name):
            yield path.name


def is_run_id(text: str) -> bool:
    """Return whether `text` can be the id of a run."""
    return _RUN_ID.fullmatch(text) is not None


def staging_suffix(run_id: str) -> str:
    """Return how the names of the folders end that a run fills, so that a sweep can tell whose they are."""
    return f".cachestore-{run_id}"


def _had(path: Path, *, and_unlink: bool) -> bool:
    """Return whether the lock of `path` could be had, or there is none; unlink the file while it is held."""
    from filelock import Timeout

    if not path.exists():
        return True
    lock = _file_lock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    if and_unlink:
        path.unlink(missing_ok=True)
    lock.release()
    return True


def _file_lock(path: Path) -> BaseFileLock:
    """Return the lock of a file; filelock is slow to import and only runs that write need it."""
    from filelock import FileLock

    return FileLock(path)
