"""What is done about each problem, one by one, as a pass finds them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.blobs import checked
from cachestore.errors import is_full
from cachestore.store.evict import GONE
from cachestore.verify.judge import raise_if_set, whole_witness
from cachestore.verify.problems import ProblemKind

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cachestore.entry import Entry
    from cachestore.store.writer import Store
    from cachestore.verify.problems import Problem

_RIGHT = "it is right by now"


@dataclass(frozen=True, slots=True)
class Repair:
    """A problem and what was done about it; not `mended` is what is as it was, and does harm."""

    problem: Problem
    action: str
    mended: bool = True


def repair(store: Store, problems: Iterable[Problem], cancel: threading.Event | None = None) -> Iterator[Repair]:
    """Act on each problem as it is found, and yield what was done.

    What is repaired is downloaded again when it is next asked for. What the filesystem refuses is said, and left. Raise
    Cancelled soon after `cancel` is set. At last the totals are counted anew.
    """
    for problem in problems:
        with checked(partial(raise_if_set, cancel)):
            done = _act(store, problem)
        yield done
    store.recount()


def _act(store: Store, problem: Problem) -> Repair:
    try:
        return _ACTIONS[problem.kind](store, problem)
    except OSError as error:
        if is_full(error):
            raise
        return Repair(problem, f"cannot be mended: {error.strerror or error}", mended=False)


def _put_away(store: Store, problem: Problem) -> Repair:
    """Put a damaged blob away and drop its entry, if it is still wrong; the pin of a track stays with the track."""
    entry = store.entries_of([problem.key]).get(problem.key)
    if entry is not None and store.is_whole(entry):
        return Repair(problem, f"left alone: {_RIGHT}")
    if entry is not None and _index_again(store, entry):
        return Repair(problem, "indexed again")
    quarantined = store.retire(problem.digest).quarantined
    where = f"; what there was is kept at {quarantined}" if quarantined else ""
    if entry is None:
        return _drop_blob(store, problem, where)
    [eviction] = store.evict([problem.key], lambda *_: _RIGHT if _is_there(store, problem.digest) else "")
    if why := eviction.kept_because:
        return Repair(problem, f"left alone: {why}", mended=why in {_RIGHT, GONE})
    return Repair(problem, f"removed; the next export downloads it again{where}")


def _is_there(store: Store, digest: str) -> bool:
    """Return whether there is a file again, which an export put there since the damaged one was put away."""
    return store.blobs.stat(digest) is not None


def _index_again(store: Store, entry: Entry) -> bool:
    """Write the row of a blob that is whole and has lost it, or has a damaged one, and return whether it was so."""
    if store.blob_rows_of([entry.digest]):
        return False
    path = store.blobs.path(entry.digest)
    seen = whole_witness(path, entry.digest)
    return seen is not None and store.adopt(entry, path, seen)


def _drop_blob(store: Store, problem: Problem, where: str) -> Repair:
    """Drop the row of a blob that no entry has, once its bytes are put away, which is `where`."""
    if store.blobs.stat(problem.digest) is not None:
        return Repair(problem, f"left alone: {_RIGHT}")
    store.evict_unindexed([problem.digest])
    return Repair(problem, f"put away; no track is known for it{where}")


def _read_again(store: Store, problem: Problem) -> Repair:
    """Leave a file that cannot be read: that is the disk's failure, or a mode's, and no damage that is known."""
    try:
        whole_witness(store.blobs.path(problem.digest), problem.digest)
    except OSError as error:
        again = "; cachestore rm has it downloaded again" if store.entries_of([problem.key]) else ""
        return Repair(problem, f"cannot be mended: {error.strerror or error}{again}", mended=False)
    return Repair(problem, "left alone: it can be read by now")


def _quarantine_file(store: Store, problem: Problem) -> Repair:
    moved = store.quarantine_file(Path(problem.key))
    return Repair(problem, f"moved to quarantine: {moved}" if moved else "left alone: gone already")


def _settle_unindexed(store: Store, problem: Problem) -> Repair:
    """Keep and count a blob that no row knows: it is whole."""
    store.bill([problem.digest])
    return Repair(problem, "kept: cachestore repair --adopt DEST finds its track in a bundle")


def _mend_row(store: Store, problem: Problem) -> Repair:
    return Repair(problem, store.mend_row(problem.row) or "left alone: it is right by now, or gone")


def _count_anew(store: Store, problem: Problem) -> Repair:
    store.recount()
    return Repair(problem, "counted anew")


_ACTIONS: Mapping[ProblemKind, Callable[[Store, Problem], Repair]] = {
    ProblemKind.CORRUPT: _put_away,
    ProblemKind.TRUNCATED: _put_away,
    ProblemKind.MISSING: _put_away,
    ProblemKind.UNREADABLE: _read_again,
    ProblemKind.FOREIGN: _quarantine_file,
    ProblemKind.UNINDEXED: _settle_unindexed,
    ProblemKind.DAMAGED_ROW: _mend_row,
    ProblemKind.MISCOUNTED: _count_anew,
}
