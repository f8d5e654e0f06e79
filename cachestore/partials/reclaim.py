"""Giving back what runs that died had claimed, where it is known that they are dead."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from cachestore.boot import boot_id
from cachestore.partials.locks import DownloadLock
from cachestore.partials.sidecar import is_partial, is_plain, read_sidecar, rescuable, sidecar_of, track_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STILL = 120.0  # seconds, as who waits for another process has patience


def reclaim(folder: Path, may_be_owned: Callable[[], bool], *, still: float) -> None:
    """Give back what is claimed and nobody has written for `still` seconds, or remove it if it cannot be gone on with.

    A sidecar whose bytes are gone is removed, too: a crash came between the two. `may_be_owned` is whether a run lives
    that may have claimed some. It is asked after the folder was listed: whoever begins later claims nothing of that
    list without the lock of its track. Where locks do not work, nothing is done. What does not say that it was written
    under this boot may be another machine's, whose locks keep nobody out here: it has to be still for two minutes.
    """
    left = [path for path in folder.iterdir() if _is_left(path) and not was_written(path, within=still)]
    if left and not may_be_owned():
        for path in left:
            _give_back(path)


def was_written(path: Path, *, within: float) -> bool:
    """Return whether somebody has written a file in the last seconds, or removed it."""
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime < within
    return True


def _is_left(path: Path) -> bool:
    """Return whether a file is claimed, or what is known of bytes that are not there."""
    if path.suffix == ".json":
        beside = [path.with_suffix(suffix) for suffix in (".part", ".work")]
        return is_partial(beside[0]) and is_plain(path) and not any(one.exists() for one in beside)
    return path.suffix == ".work" and is_partial(path) and is_plain(path)


def _give_back(path: Path) -> None:
    known = read_sidecar(sidecar_of(path))
    if (known is None or known.boot != boot_id()) and was_written(path, within=STILL):
        return
    with suppress(OSError):  # it is gone, or stays as it is
        if known is None:  # a copy of a blob, or damaged
            _remove(path)
        elif path.name.startswith(track_name(known.address)):  # else it is nobody's
            _give_back_locked(path, known.address)


def _give_back_locked(path: Path, address: str) -> None:
    lock = DownloadLock.acquire(path.parent, address)
    if lock is None:
        return
    try:
        if lock.is_real:
            _keep(path) if path.suffix == ".work" and rescuable(path) else _remove(path)
    finally:
        lock.release()


def _keep(path: Path) -> None:
    """Give a partial back as its owner would have: its bytes on the disk first."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.rename(path.with_suffix(".part"))


def _remove(path: Path) -> None:
    path.unlink()
    sidecar_of(path).unlink(missing_ok=True)
