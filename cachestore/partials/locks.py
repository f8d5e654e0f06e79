"""Who downloads a track: a lock that spares the others the same download, and on which nothing else rests."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Self

from cachestore.partials.sidecar import track_name

if TYPE_CHECKING:
    from pathlib import Path

    from filelock import BaseFileLock


class DownloadLock:
    """Held while a track is downloaded and until it is published, by whichever thread ends that."""

    def __init__(self, path: Path, lock: BaseFileLock | None) -> None:
        self._path = path
        self._lock = lock

    @classmethod
    def acquire(cls, folder: Path, address: str) -> Self | None:
        """Return the lock of a track, None when another download has it. Where locks do not work, it holds nothing."""
        from filelock import FileLock, Timeout

        path = folder / f"{track_name(address)}.lock"
        lock = FileLock(path, thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return None
        except (OSError, NotImplementedError):
            return cls(path, None)
        return cls(path, lock)

    @classmethod
    def without(cls, folder: Path) -> Self:
        """Return a lock that holds nothing, for a download that goes alone."""
        return cls(folder, None)

    @property
    def is_real(self) -> bool:
        """Return whether somebody else would be kept out."""
        return self._lock is not None

    def release(self) -> None:
        """Let another process download the track; more than once does no harm."""
        if self._lock is not None:
            with suppress(OSError):
                self._path.unlink()
            self._lock.release()
            self._lock = None
