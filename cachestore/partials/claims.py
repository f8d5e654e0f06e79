"""Getting a partial that nobody else has: a kept one, what a crash left, or a new one."""

from __future__ import annotations

import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from cachestore.partials.partial import Partial
from cachestore.partials.sidecar import rescuable, sidecar_of, track_name

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from cachestore.partials.locks import DownloadLock


@contextmanager
def claim(folder: Path, address: str, lock: DownloadLock, cancel: threading.Event) -> Iterator[Partial]:
    """Give a partial of the track that nobody else has, with what earlier runs left. Raise Cancelled or NoSpace."""
    path = _kept(folder, address) or _rescued(folder, address) or _new(folder, address)
    with Partial(path, address, lock) as partial:
        partial.adopt(cancel)
        yield partial


def _new(folder: Path, address: str) -> Path:
    return folder / f"{track_name(address)}.{uuid4().hex}.work"


def _kept(folder: Path, address: str) -> Path | None:
    """Claim a partial that was given back."""
    for kept in folder.glob(f"{track_name(address)}.*.part"):
        claimed = kept.with_suffix(".work")
        with suppress(FileNotFoundError):  # somebody else was first
            kept.rename(claimed)
            return claimed
    return None


def _rescued(folder: Path, address: str) -> Path | None:
    """Copy what a process wrote that was killed since the machine was started, the longest of several.

    A copy, since nobody can tell for sure that the process is dead: locks may lie. What it copies is a beginning of the
    body in any case, because files only grow; that its sidecar is the same afterwards shows that it was not begun anew.
    """
    left = [path for path in folder.glob(f"{track_name(address)}.*.work") if rescuable(path)]
    copy = _new(folder, address)
    with suppress(OSError, ValueError):  # it is gone, or there is none, or no space for a copy
        source = max(left, key=lambda path: path.stat().st_size)
        before = sidecar_of(source).read_bytes()
        shutil.copyfile(source, copy)
        sidecar_of(copy).write_bytes(before)
        if sidecar_of(source).read_bytes() == before:
            return copy
    copy.unlink(missing_ok=True)
    sidecar_of(copy).unlink(missing_ok=True)
    return None
