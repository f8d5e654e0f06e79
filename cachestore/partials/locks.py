"""Who downloads a track: a lock that spares the others the same download, and on which nothing else rests."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Self

from cachestore.partials.sidecar import track_name

if TYPE_CHECKING:
    from pathlib import Path

_CAREFUL = ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK")  # none of them is known to Windows
_FLAGS = os.O_RDWR | sum(getattr(os, name, 0) for name in _CAREFUL)
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(slots=True)
class _Held:
    """A file that is open and locked, with all its names."""

    file: int
    inode: tuple[int, int]
    names: set[str] = field(default_factory=set)


class DownloadLocks:
    """The locks of one process on tracks that it downloads into `folder`, for all its threads.

    They are names of one locked file as long as there is one: a new file for each would be an inode made and removed a
    track, and filelock would look at every folder above it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: _Held | None = None
        self._mutex = Lock()

    def acquire(self, address: str) -> DownloadLock | None:
        """Return the lock of a track, None when another download has it. Where locks do not work, it holds nothing.

        Raise OSError when too much is open already.
        """
        path = f"{self._folder}{os.sep}{track_name(address)}.lock"
        try:
            with self._mutex:
                return self._acquired(path)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                raise
            return DownloadLock(self, path, None)

    def _acquired(self, path: str) -> DownloadLock | None:
        while True:
            if (held := self._linked(path) or _created(path)) is not None:
                held.names.add(path)
                self._held = held
                return DownloadLock(self, path, held)
            if not _removed_of_dead(path):
                return None

    def _linked(self, path: str) -> _Held | None:
        """Return the file that is held, which `path` names by now, too."""
        held = self._held
        if held is not None:
            with suppress(OSError):  # there is such a name, or the filesystem knows no links
                os.link(next(iter(held.names)), path)
                if _is_at(path, held.inode):
                    return held
                os.unlink(path)  # noqa: PTH108 - of what somebody put where ours was
        return None

    def release(self, path: str, held: _Held) -> None:
        """Take the name `path` from a file that is held, which with its last one is closed."""
        with self._mutex, suppress(OSError):
            held.names.discard(path)
            if not held.names and self._held is held:
                self._held = None
            try:
                os.unlink(path)  # noqa: PTH108 - one a track
            finally:
                if not held.names:
                    _close(held.file)


def is_locked(folder: Path, address: str) -> bool:
    """Return whether somebody has the lock of a track, or that cannot be told; nothing is made."""
    try:
        os.close(_locked(f"{folder}{os.sep}{track_name(address)}.lock"))
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


class DownloadLock:
    """Held while a track is downloaded and until it is published, by whichever thread ends that."""

    def __init__(self, locks: DownloadLocks, path: str, held: _Held | None) -> None:
        self._locks = locks
        self._path = path
        self._held = held

    @classmethod
    def acquire(cls, folder: Path, address: str) -> DownloadLock | None:
        """Return the lock of one track, as `DownloadLocks` does."""
        return DownloadLocks(folder).acquire(address)

    @classmethod
    def without(cls, folder: Path) -> Self:
        """Return a lock that holds nothing, for a download that goes alone."""
        return cls(DownloadLocks(folder), str(folder), None)

    @property
    def is_real(self) -> bool:
        """Return whether somebody else would be kept out."""
        return self._held is not None

    def keeps_out(self) -> bool:
        """Return whether somebody else is kept out, which is tried: there are disks where everybody gets a lock."""
        if self._held is None:
            return False
        try:
            os.close(_locked(self._path))
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def release(self) -> None:
        """Let another process download the track; more than once does no harm."""
        held, self._held = self._held, None
        if held is not None:
            self._locks.release(self._path, held)


def _created(path: str) -> _Held | None:
    """Return a new file at `path`, locked; None when there is one, or was before this one was locked.

    Raise OSError where locks do not work.
    """
    try:
        file = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    try:
        info = os.fstat(file)
        held = _Held(file, (info.st_dev, info.st_ino))
        with suppress(BlockingIOError):  # somebody took it for that of a dead process
            _flock(file)
            if _is_at(path, held.inode):
                return held
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def remove_dead_lock(path: Path) -> None:
    """Remove the lock of a track that nobody holds any more; where locks do not work, none is one."""
    try:
        _removed_of_dead(str(path))
    except OSError:
        with suppress(OSError):
            path.unlink()


def _removed_of_dead(path: str) -> bool:
    """Remove a name that nobody holds any more, or return False when somebody does. Raise OSError.

    Its file is not gone on with: other tracks may have it, too, and would have to wait for ours.
    """
    try:
        file = _locked(path)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    try:
        info = os.fstat(file)
        if _is_at(path, (info.st_dev, info.st_ino)):  # else whoever had it has removed it
            os.unlink(path)  # noqa: PTH108 - one a track
    finally:
        _close(file)
    return True


def _locked(path: str) -> int:
    """Return the file at `path`, open and locked. Raise BlockingIOError when somebody has locked it, or OSError."""
    file = os.open(path, _FLAGS)
    try:
        _flock(file)
    except BaseException:
        os.close(file)
        raise
    return file


def _flock(file: int) -> None:
    """Lock a file that is open. Raise BlockingIOError when somebody has locked it, or OSError."""
    try:
        import fcntl
    except ImportError:  # Windows
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP)) from None
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _close(file: int) -> None:
    import fcntl

    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_UN)  # a fork may have the file, too
    os.close(file)


def _is_at(path: str, inode: tuple[int, int]) -> bool:
    """Return whether a file still has its name: another process may have removed that."""
    with suppress(FileNotFoundError):
        info = os.lstat(path)
        return (info.st_dev, info.st_ino) == inode
    return False
