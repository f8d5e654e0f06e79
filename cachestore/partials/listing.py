"""What lies among the partials, for people, for who waits for another process, and for the sweep."""

from __future__ import annotations

import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.partials.locks import DownloadLock, is_locked, remove_dead_lock
from cachestore.partials.reclaim import STILL, was_written
from cachestore.partials.sidecar import (
    claimed_anew,
    is_partial,
    is_plain,
    read_sidecar,
    remove_bytes,
    rescuable,
    sidecar_of,
    track_name,
)
from cachestore.root import cost_of_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cachestore.partials.sidecar import Sidecar

_NAME = re.compile(r"[0-9a-f]{32}\.([0-9a-f]{32}\.(part|work|json)|lock)")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An unfinished download: `track` is its address, empty if unknown, `changed_at` Unix seconds."""

    track: str
    received: int
    total: int | None
    changed_at: float


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A file that may be removed: it `is_old`, or it `is_claimed`, by a run that may be dead.

    `rest` says what a fetch could still make of the bytes, None if nothing.
    """

    path: Path
    is_old: bool
    is_claimed: bool
    rest: Sidecar | None

    def remove(self) -> None:
        """Remove the file, and what is known of it, unless it is gone or in use: then somebody has claimed both."""
        if self.path.suffix == ".lock":
            remove_dead_lock(self.path)
        elif self.rest is None or not self.is_claimed:
            self._unlink()
        # Who gets the lock of the track goes on with such bytes under the name that they have.
        elif lock := DownloadLock.acquire(self.path.parent, self.rest.address):
            self._unlink()
            lock.release()

    def _unlink(self) -> None:
        with suppress(FileNotFoundError):
            remove_bytes(self.path)


def unfinished(folder: Path) -> Iterator[Unfinished]:
    """Yield the downloads that are under way or can be resumed; none where there is no such folder."""
    yield from _listed(folder, "*")


def newest(folder: Path, address: str) -> Unfinished | None:
    """Return the partial of a track that was written last, None if there is none; a crash may have left a longer."""
    return max(_listed(folder, track_name(address)), key=lambda partial: partial.changed_at, default=None)


def abandoned(folder: Path, *, before: float) -> Iterator[Abandoned]:
    """Yield what nobody has touched since `before` (Unix seconds), and all that is claimed or locked; but no folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if _NAME.fullmatch(path.name) and not _is_sidecar(path):
            with suppress(FileNotFoundError):
                info = path.lstat()
                is_claimed, is_old = path.suffix != ".part", info.st_mtime < before
                if (is_claimed or is_old) and not stat.S_ISDIR(info.st_mode):
                    yield Abandoned(path, is_old, is_claimed, rescuable(path))


def drop_unclaimed(folder: Path, size: int, *, but: str | None = None) -> int:
    """Remove the oldest partials that nobody goes on with, until `size` bytes of disk are free, and return how many.

    Those of the track with the address `but` stay.
    """
    dropped = 0
    for path in sorted(_unclaimed(folder, but), key=_changed_at):
        if dropped >= size:
            break
        with suppress(FileNotFoundError):  # somebody claimed it
            # Under a name of its own, so that who gets the lock of the track does not take it for ownerless.
            taken = path.rename(claimed_anew(path))
            for file in (taken, sidecar_of(path)):
                with suppress(FileNotFoundError):
                    dropped += cost_of_file(file.lstat())
                    file.unlink()
    return dropped


def ownerless(folder: Path, *, lives: bool) -> list[Path]:
    """Return the bytes that nobody goes on with now, the oldest first, also what the dead had claimed; no folder: none.

    `lives` is whether a run lives that may have claimed some; what was claimed under a lock, that lock tells of.
    """
    claimed = [path for path in folder.glob("*.work") if is_partial(path) and is_plain(path)]
    dead = [path for path in claimed if _is_dead(path, lives=lives)]
    return sorted([*_unclaimed(folder, None), *dead], key=_changed_at)


def _is_dead(path: Path, *, lives: bool) -> bool:
    known = rescuable(path)
    if known is None:
        return False
    if known.locked:
        return not is_locked(path.parent, known.address)
    return not (lives or was_written(path, within=STILL))


def may_come_free(folder: Path, *, but: str, lives: bool) -> Iterator[Path]:
    """Yield the files of the partials that can be dropped, or that somebody may go on with; none of the track `but`.

    What is claimed may be gone on with if a run `lives` that may have claimed it, or if it was just written.
    """
    for path in folder.glob("*"):
        is_bytes = is_partial(path) and not path.name.startswith(track_name(but)) and is_plain(path)
        if is_bytes and (path.suffix == ".part" or lives or was_written(path, within=STILL)):
            yield from (path, sidecar_of(path))


def files_of(folder: Path, address: str) -> list[Path]:
    """Return the files of the partials of a track."""
    return [*folder.glob(f"{track_name(address)}.*.*")]


def _unclaimed(folder: Path, but: str | None) -> list[Path]:
    spared = track_name(but) if but is not None else " "  # no name begins so
    return [
        path
        for path in folder.glob("*.part")
        if is_partial(path) and is_plain(path) and not path.name.startswith(spared)
    ]


def _changed_at(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _is_sidecar(path: Path) -> bool:
    """Return whether the file goes with the bytes beside it, however old it is: it is written before them."""
    return path.suffix == ".json" and any(path.with_suffix(suffix).exists() for suffix in (".part", ".work"))


def _listed(folder: Path, track: str) -> Iterator[Unfinished]:
    for path in sorted(folder.glob(f"{track}.*.*")):
        if path.suffix in {".part", ".work"} and _NAME.fullmatch(path.name):
            with suppress(OSError):
                info = path.lstat()
                known = read_sidecar(sidecar_of(path))
                address, total = (known.address, known.total) if known else ("", None)
                yield Unfinished(address, info.st_size, total, info.st_mtime)
