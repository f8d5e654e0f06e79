"""Who is alive, and who prunes: a run holds the lock of its file for as long as it runs, however it ends."""

from __future__ import annotations

import os
import re
import stat
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filelock import BaseFileLock

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_PRUNE_LOCK = "prune.lock"
_UNNAMED = ".new"
# What stands in the file of a run that got no lock: that another process gets one later says nothing about it.
_WITHOUT_LOCK = "without a lock\n"
_LONGEST_WITHOUT_LOCK = 7 * 86400.0  # seconds, as an unfinished download is kept


class RunLock:
    """The lock of one living run. Its file gets its name when it is locked: nobody can be there first.

    Where locks do not work the file says so, and its age decides whether the run lives.
    """

    def __init__(self, folder: Path) -> None:
        self.id = uuid.uuid4().hex
        self._path = folder / self.id
        unnamed = folder / f"{self.id}{_UNNAMED}"
        self._lock = _locked(unnamed)
        if self._lock is None:
            unnamed.write_text(_WITHOUT_LOCK)
        unnamed.rename(self._path)

    def release(self) -> None:
        """End the run."""
        self._path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()


class PruneLock:
    """Held by the one process that prunes a store. Two would do each other's work; neither would do harm."""

    def __init__(self, lock: BaseFileLock | None) -> None:
        self._lock = lock

    @classmethod
    def acquire(cls, folder: Path, given_up: Callable[[], bool] | None = None) -> Self | None:
        """Return the lock, None when another process has it: at once, or once `given_up` says so.

        Where locks do not work, it holds nothing.
        """
        from filelock import Timeout

        try:
            return cls(_locked(folder / _PRUNE_LOCK, given_up))
        except Timeout:
            return None

    def release(self) -> None:
        """Let another process prune."""
        if self._lock is not None:
            self._lock.release()


def is_alive(folder: Path, run_id: str) -> bool:
    """Return whether the run still holds its lock: a lock that can be had belongs to the dead."""
    return not _had(folder / run_id, and_unlink=False)


def remove_if_dead(folder: Path, run_id: str) -> bool:
    """Remove the lock file of a dead run, and return whether the run is dead."""
    return _had(folder / run_id, and_unlink=True)


def remove_unnamed(folder: Path, before: float) -> None:
    """Remove the files of runs that died before they began, and in any case before that time in Unix seconds."""
    for path in folder.glob(f"*{_UNNAMED}"):
        with suppress(FileNotFoundError):
            if path.lstat().st_mtime < before:
                _had(path, and_unlink=True)


def run_ids(folder: Path) -> Iterator[str]:
    """Yield the ids of all runs that have a lock file, living or dead; none where there is no such folder."""
    yield from filter(is_run_id, os.listdir(folder) if folder.is_dir() else ())


def is_run_id(text: str) -> bool:
    """Return whether `text` can be the id of a run."""
    return _RUN_ID.fullmatch(text) is not None


def staging_suffix(run_id: str) -> str:
    """Return how the names of the folders end that a run fills, so that a sweep can tell whose they are."""
    return f".cachestore-{run_id}"


def _had(path: Path, *, and_unlink: bool) -> bool:
    """Return whether the run of `path` is dead: its lock could be had, or there is none, or it is too old to tell.

    The file of a dead run is unlinked while its lock is held.
    """
    from filelock import Timeout

    try:
        began = path.lstat()
        if not stat.S_ISREG(began.st_mode):  # no run made that
            return True
        lock = _locked(path) if began.st_size == 0 else None
    except FileNotFoundError:
        return True
    except Timeout:
        return False
    if lock is None and abs(time.time() - began.st_mtime) < _LONGEST_WITHOUT_LOCK:  # a clock may have been ahead
        return False
    if and_unlink:
        path.unlink(missing_ok=True)
    if lock is not None:
        lock.release()
    return True


def _locked(path: Path, given_up: Callable[[], bool] | None = None) -> BaseFileLock | None:
    """Return the lock of a file, held; None where locks do not work.

    Raise Timeout when another process has it: at once, or once `given_up` says so. filelock is slow to import, and only
    runs that write need it; its soft locks would outlive a killed process.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(blocking=given_up is not None, cancel_check=given_up)
    except Timeout:
        raise
    except (OSError, NotImplementedError):
        return None
    return lock
