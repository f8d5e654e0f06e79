"""Getting a partial that nobody else has: a kept one, what a crash left, or a new one."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from cachestore.errors import Cancelled
from cachestore.partials.partial import Partial
from cachestore.partials.reclaim import STILL
from cachestore.partials.sidecar import (
    begun_anew,
    claimed_anew,
    is_plain,
    read_sidecar,
    remove_bytes,
    rescuable,
    sidecar_of,
    track_name,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from cachestore.partials.locks import DownloadLock

_COPY_CHUNK = 1024 * 1024
_MOST_ALIVE = 3


class Remains:
    """What lies in `folder` of each track: listed once, for many claims, since each would list all of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._expected: set[str] = set()

    def of(self, address: str) -> list[Path]:
        """Return the bytes that were left of a track; some may be gone by now."""
        name = track_name(address)
        return [*self._folder.glob(f"{name}.*.*")] if name in self._expected else self._listed.get(name, [])

    def expect(self, address: str) -> None:
        """Take that somebody may leave something of the track from now on, so that it has to be looked for."""
        self._expected.add(track_name(address))

    @cached_property
    def _listed(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for name in os.listdir(self._folder):
            if not name.endswith(".lock"):
                found.setdefault(name.partition(".")[0], []).append(self._folder / name)
        return found


@contextmanager
def claim(
    folder: Path,
    address: str,
    lock: DownloadLock,
    cancel: threading.Event,
    remains: Remains | None = None,
    *,
    take_room: Callable[[int], None] = lambda _size: None,
) -> Iterator[Partial]:
    """Give a partial of the track that nobody else has, with what earlier runs left.

    `take_room` is called before so many bytes are copied. Raise Cancelled, NoSpace, or what `take_room` raises.
    """
    try:
        left = [path for path in (remains or Remains(folder)).of(address) if is_plain(path)]
        path = _kept(left, lock) or _ownerless(left, lock)
        if path is not None:
            others = [*_given_back(left, lock), *(_dead(left) if lock.is_real else [])]
            _remove(other for other in others if other != path)
        else:
            path = begun_anew(folder, address)
            if left:
                _rescue(left, path, lock, cancel, take_room)
    except BaseException:
        lock.release()
        raise
    with Partial(path, address, lock) as partial:
        if left:
            partial.adopt(cancel)
        yield partial


def _kept(left: Iterable[Path], lock: DownloadLock) -> Path | None:
    """Claim a partial that was given back, the longest of several."""
    for kept in sorted((path for path in left if path.suffix == ".part"), key=_worth, reverse=True):
        with suppress(FileNotFoundError):  # somebody else was first
            return _claimed(kept) if lock.is_real else _claimed_alone(kept)
    return None


def _claimed(kept: Path) -> Path:
    return kept.rename(kept.with_suffix(".work"))


def _claimed_alone(kept: Path) -> Path:
    """Claim a partial without the lock of its track. Raise FileNotFoundError when somebody else was first.

    It gets a name of its own, under which nothing ever says that its owner has the lock: who gets that takes such bytes
    for ownerless.
    """
    known = read_sidecar(sidecar_of(kept))
    claimed = claimed_anew(kept)
    if known is not None:
        replace(known, locked=False).write(sidecar_of(claimed))
    try:
        kept.rename(claimed)
    except FileNotFoundError:
        sidecar_of(claimed).unlink(missing_ok=True)
        raise
    sidecar_of(kept).unlink(missing_ok=True)
    return claimed


def _ownerless(left: Iterable[Path], lock: DownloadLock) -> Path | None:
    """Return what somebody had claimed under the lock of the track, which we have now, the longest of several."""
    works = [path for path in _works(left) if (known := rescuable(path)) is not None and known.locked]
    return max(works, key=_worth) if works and lock.keeps_out() else None


def _worth(path: Path) -> int:
    """Return how many bytes of a partial can be gone on with."""
    known = read_sidecar(sidecar_of(path))
    with suppress(OSError):  # it is gone
        return path.stat().st_size if known is not None and known.resumable and known.is_on_disk else 0
    return 0


def _given_back(left: Iterable[Path], lock: DownloadLock) -> Iterator[Path]:
    """Claim the other partials of a track, of which only one is gone on with."""
    while (path := _kept(left, lock)) is not None:
        yield path


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            remove_bytes(path)


def _rescue(
    left: Iterable[Path], copy: Path, lock: DownloadLock, cancel: threading.Event, take_room: Callable[[int], None]
) -> None:
    """Copy what a process wrote that was killed since the machine was started, the longest of several.

    A copy, since the process may live: no lock tells of it. What it copies is a beginning of the body in any case,
    because files only grow; that its sidecar is the same afterwards shows that it was not begun anew. If the lock is
    real, nothing stays behind that nobody has written for two minutes, be there room for a copy or not. Before that,
    the owner may live: where locks lie, or when it went alone because another one stood still; of three at most that is
    thought.
    """
    is_rescued, dead = False, (_dead(left) if lock.is_real else iter(()))
    with suppress(OSError, ValueError):  # it is gone, or there is none, or no space for a copy
        source = max(filter(rescuable, _works(left)), key=lambda path: path.stat().st_size)
        before = sidecar_of(source).read_bytes()
        try:
            take_room(source.stat().st_size)
        except BaseException:
            _remove(dead)
            raise
        _copy(source, copy, cancel)
        sidecar_of(copy).write_bytes(before)
        is_rescued = sidecar_of(source).read_bytes() == before
    _remove(dead if is_rescued else [copy])


def _works(left: Iterable[Path]) -> list[Path]:
    return [path for path in left if path.suffix == ".work"]


def _dead(left: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that nobody has written for long, and all but the few that were written last."""
    written: dict[Path, float] = {}
    for path in _works(left):
        with suppress(OSError):  # it is gone
            written[path] = path.stat().st_mtime
    alive = sorted(written, key=written.__getitem__)[-_MOST_ALIVE:]
    yield from (path for path in written if path not in alive or abs(time.time() - written[path]) > STILL)


def _copy(source: Path, copy: Path, cancel: threading.Event) -> None:
    """Copy a file. Raise Cancelled, and leave nothing then, or OSError."""
    with source.open("rb") as read, copy.open("wb") as written:
        while chunk := read.read(_COPY_CHUNK):
            written.write(chunk)
            if cancel.is_set():
                copy.unlink()
                raise Cancelled
