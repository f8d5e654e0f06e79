"""Who downloads a track: a lock that spares the others the same download, and on which nothing else rests."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from cachestore.partials.sidecar import track_name

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def is_locked(folder: Path, address: str) -> bool:
    """Return whether somebody has the lock of a track, or that cannot be told; nothing is made."""
    try:
        file = _locked(f"{folder}{os.sep}{track_name(address)}.lock", _FLAGS & ~os.O_CREAT)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    os.close(file)
    return False


class DownloadLock:
    """Held while a track is downloaded and until it is published, by whichever thread ends that.

    One file each is too much for filelock, which looks at every folder above it.
    """

    def __init__(self, path: str, file: int | None) -> None:
        self._path = path
        self._file = file

    @classmethod
    def acquire(cls, folder: Path, address: str) -> Self | None:
        """Return the lock of a track, None when another download has it. Where locks do not work, it holds nothing."""
        path = f"{folder}{os.sep}{track_name(address)}.lock"
        with suppress(OSError):
            while True:
                try:
                    file = _locked(path)
                except BlockingIOError:
                    return None
                if _is_at(path, file):
                    return cls(path, file)
                os.close(file)  # whoever had it has unlinked it
        return cls(path, None)

    @classmethod
    def without(cls, folder: Path) -> Self:
        """Return a lock that holds nothing, for a download that goes alone."""
        return cls(str(folder), None)

    @property
    def is_real(self) -> bool:
        """Return whether somebody else would be kept out."""
        return self._file is not None

    def keeps_out(self) -> bool:
        """Return whether somebody else is kept out, which is tried: there are disks where everybody gets a lock."""
        if self._file is None:
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
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108 - one a track
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)  # a fork may have the file, too
            os.close(file)


def _locked(path: str, flags: int = _FLAGS) -> int:
    """Return the file at `path`, open and locked. Raise BlockingIOError when somebody has locked it, or OSError."""
    file = os.open(path, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(file)
        raise
    return file


def _is_at(path: str, file: int) -> bool:
    """Return whether an open file still has its name: the one who had it locked may have removed that."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.lstat(path), os.fstat(file))
    return False
