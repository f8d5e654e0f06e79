"""What happens to the file of one track, and is no reason to end the others."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from cachestore.errors import CachedFileError, TooLarge, TrackError

if TYPE_CHECKING:
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.track import Track

_OF_ONE_FILE = frozenset({errno.EIO, errno.EACCES, errno.EPERM})


def failure_of(track: Track, error: OSError, partials: Path) -> TrackError | None:
    """Return the failure of a track, None if the error is one of the whole store."""
    if error.errno == errno.EFBIG:
        reason = (
            f"no file in {partials} can be that large; "
            "put ROOT on a disk without such a limit, or raise that of the process (ulimit -f)"
        )
        return TooLarge(track.address, track.label, reason)
    return removed(track, partials) if is_removed(error, partials) else None


def is_removed(error: OSError, partials: Path) -> bool:
    """Return whether somebody removed what was downloaded, or the folder it lies in."""
    return error.errno == errno.ENOENT and str(error.filename).startswith(str(partials))


def removed(track: Track, partials: Path) -> TrackError:
    """Return the failure of a track whose file somebody removed."""
    reason = f"what was downloaded of it was removed from {partials}; let nothing remove files there, and try again"
    return TrackError(track.address, track.label, reason)


def is_of_blob(error: OSError, blob: Path) -> bool:
    """Return whether a disk or a lock keeps the file of one blob from us."""
    return error.errno in _OF_ONE_FILE and str(error.filename) == str(blob)


def unusable(of: Track | Entry, error: OSError, problem: str, remedy: str) -> CachedFileError:
    """Return the failure of a track whose file in the store a disk or a lock keeps from us."""
    return CachedFileError(of.address, of.label, f"{problem} ({error.filename}: {error.strerror}); {remedy}")
