"""What was put into quarantine long ago, or has no room there.

What may be somebody's edit has room for a day, and the newest of those longer; what a disk has done to a file has not.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.blobs import is_rot, moved_at
from cachestore.store.costs import children, cost_of, files_below
from cachestore.sweep.leftovers import Leftovers
from cachestore.usage import QUARANTINE_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store

_OLD_QUARANTINE = 30 * 86400.0
# What is put there may be somebody's edit, larger than the share: whoever is told of it has the time to save it.
_TIME_TO_SAVE = 86400.0


def trim_quarantine(store: Store, now: float, max_size: float) -> None:
    """Cut quarantine down to its share of `max_size`, for who enforces that and does not sweep."""
    for found in surplus(store.root.quarantine, store.meta().known_at(now), max_size * QUARANTINE_SHARE):
        found.take(store)


def give_up_quarantine(store: Store, now: float, size: int) -> bool:
    """Give up to `size` bytes of disk back as `trim_quarantine` does, and return whether anything of it could go."""
    gone = [*_surplus(_in_order(store.root.quarantine), store.meta().known_at(now), size)]
    for found in gone:
        found.take(store)
    return bool(gone)


def empty_quarantine(store: Store) -> Iterator[tuple[Path, int | str]]:
    """Remove what is in quarantine, and yield the path of each and the bytes of disk it freed, or why it stays.

    All files go, whoever put them there, since all count; of folders those that were put away.
    """
    for path in sorted(children(store.root.quarantine)):
        yield path, _emptied(path)


def _emptied(path: Path) -> int | str:
    if moved_at(path.name) is None and _is_folder(path):
        return "a folder that cachestore has not put there; move it away if you need it, or remove it"
    left = Leftovers()
    left.add(files_below(path))
    try:
        _remove(path)
    except OSError as error:
        return error.strerror or str(error)
    return left.disk


def _remove(path: Path) -> None:
    shutil.rmtree(path) if _is_folder(path) else path.unlink()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


@dataclass(frozen=True, slots=True)
class _Quarantined:
    """A file or folder in quarantine that has been there for long, or is more than there is room for."""

    path: Path

    def foresee(self, _: StoreReader, left: Leftovers) -> None:
        left.quarantine += cost_of(self.path)
        left.add(files_below(self.path))

    def take(self, _: Store) -> None:
        with suppress(OSError):
            _remove(self.path)


def surplus(folder: Path, known_at: float, room: float) -> Iterator[_Quarantined]:
    """Yield what was put into quarantine long ago, and what is more than `room`, in bytes of disk.

    What is old was so at `known_at` (Unix seconds).
    """
    found = _in_order(folder)
    yield from _surplus(found, known_at, sum(cost for *_, cost in found) - room)


def _in_order(folder: Path) -> list[tuple[bool, float, Path, int]]:
    """Return what is in quarantine, in the order in which it goes: first what nobody has written to, then the oldest.

    Each with whether it may be somebody's edit, since when it is there, and its cost. Its name says when: its own times
    mean something else. What does not say so was put there by somebody else.
    """
    dated = ((moved_at(path.name), path) for path in children(folder))
    return sorted((not is_rot(path.name), when, path, cost_of(path)) for when, path in dated if when is not None)


def _surplus(
    found: Sequence[tuple[bool, float, Path, int]], known_at: float, too_much: float
) -> Iterator[_Quarantined]:
    """Yield what goes. What may be an edit stays for a day, and the newest for longer: that costs what it costs."""
    for position, (may_be_edit, when, path, cost) in enumerate(found, 1):
        is_kept = may_be_edit and (position == len(found) or when > known_at - _TIME_TO_SAVE)
        if (too_much > 0 and not is_kept) or when < known_at - _OLD_QUARANTINE:
            too_much -= cost
            yield _Quarantined(path)
