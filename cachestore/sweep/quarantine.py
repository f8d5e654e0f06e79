"""What was put into quarantine long ago, or has no room there. The newest always has, and so has that of a day."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.blobs import moved_at
from cachestore.store.costs import children, cost_of, files_below
from cachestore.usage import QUARANTINE_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store
    from cachestore.sweep.leftovers import Leftovers

_OLD_QUARANTINE = 30 * 86400.0
# What is put there may be somebody's edit, larger than the share: whoever is told of it has the time to save it.
_TIME_TO_SAVE = 86400.0


def trim_quarantine(store: Store, now: float, max_size: float) -> None:
    """Cut quarantine down to its share of `max_size`, for who enforces that and does not sweep."""
    for found in surplus(store.root.quarantine, now, 0.0, max_size):
        found.take(store)


@dataclass(frozen=True, slots=True)
class _Quarantined:
    """A file or folder in quarantine that has been there for long, or is more than there is room for."""

    path: Path

    def foresee(self, _: StoreReader, left: Leftovers) -> None:
        left.quarantine += cost_of(self.path)
        left.add(files_below(self.path))

    def take(self, _: Store) -> None:
        with suppress(OSError):
            is_folder = self.path.is_dir() and not self.path.is_symlink()
            shutil.rmtree(self.path) if is_folder else self.path.unlink()


def surplus(folder: Path, now: float, known_old_at: float, max_size: float) -> Iterator[_Quarantined]:
    """Yield what was put into quarantine long ago, and the oldest of what has no room there.

    For want of room neither the newest goes, nor what was put there within a day: that costs what it costs. Its
    name says when: its own times mean something else. What does not say so was put there by somebody else.
    """
    dated = ((moved_at(path.name), path) for path in children(folder))
    found = sorted((when, path, cost_of(path)) for when, path in dated if when is not None)
    too_much = sum(cost for _, _, cost in found) - max_size * QUARANTINE_SHARE
    for position, (when, path, cost) in enumerate(found, 1):
        has_room = too_much <= 0 or position == len(found) or when > now - _TIME_TO_SAVE
        if not has_room or when < known_old_at - _OLD_QUARANTINE:
            too_much -= cost
            yield _Quarantined(path)
