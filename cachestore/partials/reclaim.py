"""Giving back what runs that died had claimed, where it is known that they are dead."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from cachestore.partials.locks import DownloadLock
from cachestore.partials.sidecar import is_partial, is_plain, read_sidecar, rescuable, sidecar_of, track_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def reclaim(folder: Path, may_be_owned: Callable[[], bool], *, still: float) -> None:
    """Give back what is claimed and nobody has written for `still` seconds, or remove it if it cannot be gone on with.

    `may_be_owned` is whether a run lives that may have claimed some. It is asked after the folder was listed: whoever
    begins later claims nothing of that list without the lock of its track. Where locks do not work, nothing is done.
    """
    left = [path for path in folder.glob("*.work") if _is_ours(path) and not was_written(path, within=still)]
    if left and not may_be_owned():
        for path in left:
            _give_back(path)


def was_written(path: Path, *, within: float) -> bool:
    """Return whether somebody has written a file in the last seconds, or removed it."""
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime < within
    return True


def _is_ours(path: Path) -> bool:
    return is_partial(path) and is_plain(path)


def _give_back(path: Path) -> None:
    known = read_sidecar(sidecar_of(path))
    if known is None or not path.name.startswith(track_name(known.address)):  # a copy of a blob, or nobody's
        return
    lock = DownloadLock.acquire(path.parent, known.address)
    if lock is None:
        return
    with suppress(OSError):  # it is gone, or stays as it is
        if lock.is_real:
            _keep(path) if rescuable(path) else _remove(path)
    lock.release()


def _keep(path: Path) -> None:
    """Give a partial back as its owner would have: its bytes on the disk first."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.rename(path.with_suffix(".part"))


def _remove(path: Path) -> None:
    path.unlink()
    sidecar_of(path).unlink(missing_ok=True)
