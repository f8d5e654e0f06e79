"""Giving back what runs that died had claimed, where it is known that they are dead."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from cachestore.boot import boot_id
from cachestore.partials.locks import DownloadLock
from cachestore.partials.sidecar import (
    is_of_this_boot,
    is_partial,
    is_plain,
    read_sidecar,
    remove_bytes,
    rescuable,
    sidecar_of,
    track_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cachestore.partials.sidecar import Sidecar

STILL = 120.0  # seconds, as who waits for another process has patience


def reclaim(folder: Path, may_be_owned: Callable[[], bool], *, still: float) -> None:
    """Give back what is claimed and has no owner any more, or remove it if it cannot be gone on with.

    A sidecar whose bytes are gone is removed, too: a crash came between the two. Of what was claimed under the lock of
    its track, that lock tells, whoever lives. Of the rest, what nobody has written for `still` seconds has no owner if
    none of the runs lives that may have claimed it, which is `may_be_owned`. It is asked after the folder was listed:
    whoever begins later claims nothing of that list without the lock of its track. Where locks do not work, nothing is
    done. What does not say that it was written under this boot may be another machine's, whose locks keep nobody out
    here: it has to be still for two minutes.
    """
    left = [path for path in folder.glob("*") if _is_left(path)]
    unsure = [path for path in left if not _is_judged_by_lock(path) and not was_written(path, within=still)]
    if unsure and not may_be_owned():
        for path in unsure:
            _give_back(path)


def was_written(path: Path, *, within: float) -> bool:
    """Return whether somebody has written a file in the last seconds, or removed it.

    Times of the future tell of a clock that was ahead: those that are farther off than that are of no use.
    """
    with suppress(FileNotFoundError):
        return abs(time.time() - path.stat().st_mtime) < within
    return True


def _is_left(path: Path) -> bool:
    """Return whether a file is claimed, or what is known of bytes that are not there."""
    if path.suffix == ".json":
        beside = [path.with_suffix(suffix) for suffix in (".part", ".work")]
        return is_partial(beside[0]) and is_plain(path) and not any(one.exists() for one in beside)
    return path.suffix == ".work" and is_partial(path) and is_plain(path)


def _is_judged_by_lock(path: Path) -> bool:
    """Give a file back if the lock of its track tells that it has no owner; return False where no lock can tell."""
    known = read_sidecar(sidecar_of(path))
    if known is None or not known.locked or not _is_of(path, known):
        return False
    if known.boot != boot_id() and was_written(path, within=STILL):
        return True
    return _gave_back_locked(path, known, lambda lock: lock.keeps_out())


def _give_back(path: Path) -> None:
    known = read_sidecar(sidecar_of(path))
    if not is_of_this_boot(path, known) and was_written(path, within=STILL):
        return
    with suppress(OSError):  # it is gone, or stays as it is
        if known is None:  # a copy of a blob, or damaged
            remove_bytes(path)
        elif _is_of(path, known):  # else it is nobody's
            _gave_back_locked(path, known, lambda lock: lock.is_real)


def _is_of(path: Path, known: Sidecar) -> bool:
    return path.name.startswith(track_name(known.address))


def _gave_back_locked(path: Path, known: Sidecar, is_good: Callable[[DownloadLock], bool]) -> bool:
    """Give a file back under the lock of its track if that is good; return False if it is not.

    Its bytes need not be on the disk: without a digest in the sidecar nobody relies on them under another boot.
    """
    lock = DownloadLock.acquire(path.parent, known.address)
    if lock is None:
        return True
    try:
        if not is_good(lock):
            return False
        with suppress(OSError):  # it is gone, or stays as it is
            path.rename(path.with_suffix(".part")) if path.suffix == ".work" and rescuable(path) else remove_bytes(path)
        return True
    finally:
        lock.release()
