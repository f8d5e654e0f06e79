"""What runs that died have not finished: their partials, and what they staged."""

from __future__ import annotations

import math
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.errors import AddressError
from cachestore.partials import STILL, abandoned, drop_unclaimed, ownerless, reclaim
from cachestore.partials.sidecar import sidecar_of
from cachestore.runs import is_alive, remove_if_dead, run_ids, staging_suffix
from cachestore.store.costs import children, cost_of, files_below
from cachestore.track import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cachestore.partials import Abandoned
    from cachestore.partials.sidecar import Sidecar
    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store
    from cachestore.sweep.leftovers import Leftovers

_OLD_PARTIAL = _OLD_STAGING = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class _Partial:
    """A partial that nobody will go on with."""

    partial: Abandoned

    def foresee(self, _: StoreReader, left: Leftovers) -> None:
        _foresee(self.partial.path, left)

    def take(self, _: Store) -> None:
        self.partial.remove()


def _foresee(partial: Path, left: Leftovers) -> None:
    left.partials.add(partial)
    for path in {partial, sidecar_of(partial)}:
        left.partial += cost_of(path)
        left.add(files_below(path))


def give_up_partials(store: StoreReader, size: int) -> None:
    """Remove the oldest partials that nobody goes on with, until about `size` bytes of disk are free.

    What was just written stays, unless a lock tells that it has no owner: where locks lie nobody seems to live.
    """
    reclaim(store.root.partials, lambda: a_fetch_lives(store), still=STILL)
    drop_unclaimed(store.root.partials, size)


def foresee_partials(store: StoreReader, size: int, left: Leftovers) -> None:
    """Add what `give_up_partials` would remove to what is `left`."""
    before = left.partial
    for path in ownerless(store.root.partials, lives=a_fetch_lives(store)):
        if left.partial - before >= size:
            return
        if path not in left.partials:
            _foresee(path, left)


def dead_partials(store: StoreReader, known_at: float) -> Iterator[_Partial]:
    """Yield what is old, and what is claimed and of no use; nothing claimed while a run lives that may own it."""
    left = list(abandoned(store.root.partials, before=known_at - _OLD_PARTIAL))
    lives = a_fetch_lives(store)
    for partial in left:
        if partial.is_claimed and lives:
            continue
        if partial.is_old or not _is_of_use(store, partial.rest):
            yield _Partial(partial)


def a_fetch_lives(store: StoreReader, but: str = "") -> bool:
    """Return whether a run lives that may have claimed partials, besides one."""
    others = {run_id for run_id, run in store.runs() if run.command != "fetch"} | {but}
    return any(is_alive(store.root.runs, run_id) for run_id in {*run_ids(store.root.runs)} - others)


def _is_of_use(store: StoreReader, rest: Sidecar | None) -> bool:
    """Return whether a partial is one of something that is not in the store yet."""
    if rest is None or rest.version is None:
        return False
    try:
        track = parse_address(rest.address)
    except AddressError:  # no program of ours wrote that
        return False
    return all(entry.version != rest.version for entry in store.kept([track]).get(track.address, []))


@dataclass(frozen=True, slots=True)
class _DeadRun:
    """A run that has died: its lock file, its staging folders in `dest` or beside it, and its rows, if it has any.

    Of what it staged, that goes in which nothing was made since `before` (Unix seconds).
    """

    id: str
    dest: str | None
    has_row: bool
    before: float

    def foresee(self, store: StoreReader, left: Leftovers) -> None:
        device = store.root.device
        for staging in self._left_alone():  # on another disk, perhaps
            left.add(info for info in files_below(staging) if info.st_dev == device)

    def take(self, store: Store) -> None:
        if not remove_if_dead(store.root.runs, self.id):
            return
        for staging in self._left_alone():
            shutil.rmtree(staging, ignore_errors=True)
        store.let_go(self.id, store.leased_by(self.id))
        # An unplugged disk may come back, and then nothing but the row tells what lies there.
        is_there = self.dest is None or Path(self.dest).parent.is_dir()
        if self.has_row and is_there and not any(self._staged()):
            store.forget_runs([self.id])

    def _left_alone(self) -> Iterator[Path]:
        """Yield the staging folders that go."""
        return (staging for staging in self._staged() if _changed_at(staging) < self.before)

    def _staged(self) -> Iterator[Path]:
        for place in (Path(self.dest), Path(self.dest).parent) if self.dest is not None else ():
            for staging in children(place):
                # The name ends in the run's id: nothing else can be meant.
                if staging.name.endswith(staging_suffix(self.id)) and not staging.is_symlink():
                    yield staging


def _changed_at(staging: Path) -> float:
    """Return when something was last made or written there, in Unix seconds; linked files are as old as their blobs."""
    with suppress(OSError):
        return max(path.lstat().st_mtime for path in (staging, *children(staging)))
    return math.inf  # somebody changes it just now


def dead_runs(store: StoreReader, known_at: float) -> Iterator[_DeadRun]:
    """Yield the runs that have died; `take` removes what one left behind.

    Those of a store that this one was copied from may live, and their locks are there: age decides of what they stage,
    which has to be old at `known_at` (Unix seconds).
    """
    is_moved, long_ago = store.is_moved(), known_at - _OLD_STAGING
    folder, known = store.root.runs, dict(store.runs())
    for run_id in {*known, *run_ids(folder)}:
        if not is_alive(folder, run_id):
            run = known.get(run_id)
            is_foreign = run is not None and (is_moved or run.is_foreign)
            dest, before = run.dest if run else None, long_ago if is_foreign else math.inf
            yield _DeadRun(run_id, dest, run is not None, before)
