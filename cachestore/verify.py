"""The truth about the store: `verify` reports what is wrong and changes nothing, `repair` acts on the report."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.blobs import hash_file, witness_of
from cachestore.boot import boot_id
from cachestore.errors import Cancelled
from cachestore.rows import batches

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping

    from cachestore.blobs import Blobs
    from cachestore.rows import BlobRow
    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store


class ProblemKind(StrEnum):
    """What can be wrong."""

    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    MISSING = "missing"
    FOREIGN = "foreign"
    UNINDEXED = "unindexed"
    DAMAGED_ROW = "damaged-row"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `key` is an entry's key, an index row's or a file's path, `bundles` share the file."""

    kind: ProblemKind
    key: str
    label: str = ""
    digest: str = ""
    bundles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """How many blobs were looked at, and what is wrong; `complete` unless it was cut short."""

    checked: int
    problems: tuple[Problem, ...]
    complete: bool = True

    @property
    def ok(self) -> bool:
        """Return whether nothing is wrong: blobs that a lost index has left behind are whole, and harm nobody."""
        return all(problem.kind is ProblemKind.UNINDEXED for problem in self.problems)


@dataclass(frozen=True, slots=True)
class Repair:
    """A problem and what was done about it."""

    problem: Problem
    action: str


def verify(
    store: StoreReader,
    *,
    quick: bool = False,
    cancel: threading.Event | None = None,
) -> Report:
    """Check every blob, every row and every file among the blobs, and report what is wrong.

    All bytes are hashed again; `quick` hashes only blobs whose witness differs. Raise Cancelled
    when `cancel` is set.
    """
    checker = _Checker(store.blobs, boot_id() if quick else None)
    problems: list[Problem] = [Problem(ProblemKind.DAMAGED_ROW, key) for key in store.damaged_rows()]
    checked = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as threads:
        for batch in batches(store.blob_rows()):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            kinds = threads.map(checker.check, batch)
            wrong = {digest: kind for (digest, _), kind in zip(batch, kinds, strict=True) if kind is not None}
            problems += _blob_problems(store, wrong)
            checked += len(batch)
    problems += _entries_without_blob(store)
    problems += _files_without_row(store)
    return Report(checked, tuple(problems))


class _Checker:
    """Say what is wrong with a blob. With a boot, a witness recorded under it is believed."""

    def __init__(self, blobs: Blobs, believed_boot: str | None) -> None:
        self._blobs = blobs
        self._believed_boot = believed_boot

    def check(self, item: tuple[str, BlobRow]) -> ProblemKind | None:
        digest, row = item
        info = self._blobs.stat(digest)
        if info is None:
            return ProblemKind.MISSING
        if info.st_size < row.size:
            return ProblemKind.TRUNCATED
        if row.boot == self._believed_boot and witness_of(info) == row.witness:
            return None
        try:
            is_whole = stat.S_ISREG(info.st_mode) and hash_file(self._blobs.path(digest)) == digest
        except FileNotFoundError:
            return ProblemKind.MISSING
        except OSError:
            return ProblemKind.CORRUPT
        return None if is_whole else ProblemKind.CORRUPT


def _blob_problems(store: StoreReader, wrong: dict[str, ProblemKind]) -> Iterator[Problem]:
    """Yield a problem for every entry of the wrong blobs that the index still knows: others were evicted meanwhile."""
    if not wrong:
        return
    holders = store.holders()
    for digest, row in store.blob_rows_of(wrong).items():
        entries = store.entries_of(row.keys)
        bundles = tuple(str(bundle.dest) for bundle in holders.get(digest, []))
        for key in row.keys:
            label = entries[key].label if key in entries else ""
            yield Problem(wrong[digest], key, label, digest, bundles)


def _entries_without_blob(store: StoreReader) -> Iterator[Problem]:
    for batch in batches(store.entries()):
        known = store.blob_rows_of(entry.digest for entry in batch)
        suspects = [entry for entry in batch if entry.digest not in known]
        still_there = store.entries_of(entry.key for entry in suspects)
        for entry in still_there.values():
            yield Problem(ProblemKind.MISSING, entry.key, entry.label, entry.digest)


def _files_without_row(store: StoreReader) -> Iterator[Problem]:
    for batch in batches(store.blobs.iterate()):
        digests = {path: store.blobs.digest_of(path) for path in batch}
        known = store.known_blobs(digest for digest in digests.values() if digest is not None)
        for path, digest in digests.items():
            if digest is None:
                yield Problem(ProblemKind.FOREIGN, str(path))
            elif digest not in known:
                yield Problem(ProblemKind.UNINDEXED, str(path), digest=digest)


def repair(store: Store, report: Report) -> list[Repair]:
    """Act on each problem of `report` and say how; what is repaired is downloaded again when it is next asked for."""
    return [Repair(problem, _ACTIONS[problem.kind](store, problem)) for problem in report.problems]


def _drop_entry(store: Store, problem: Problem) -> str:
    """Put the blob away and drop its entry, if it is still wrong; the pin of a track stays with the track."""
    entry = store.entries_of([problem.key]).get(problem.key)
    if entry is None or store.is_whole(entry):
        return "left alone: mended or gone already"
    store.retire(problem.digest)
    [eviction] = store.evict([problem.key])
    if eviction.kept_because:
        return f"left alone: {eviction.kept_because}"
    return "removed; the next export downloads it again"


def _quarantine_file(store: Store, problem: Problem) -> str:
    return "moved to quarantine" if store.quarantine_file(Path(problem.key)) else "left alone: gone already"


def _remove_orphan(store: Store, problem: Problem) -> str:
    info = store.blobs.stat(problem.digest)
    if info is not None and info.st_mtime <= store.meta().created_at:
        return "kept: it is older than the index"
    removed = store.remove_orphans([problem.digest])
    return "removed: its download was never finished" if removed else "left alone: gone already"


def _forget_row(store: Store, problem: Problem) -> str:
    store.forget([problem.key])
    return "removed"


_ACTIONS: Mapping[ProblemKind, Callable[[Store, Problem], str]] = {
    ProblemKind.CORRUPT: _drop_entry,
    ProblemKind.TRUNCATED: _drop_entry,
    ProblemKind.MISSING: _drop_entry,
    ProblemKind.FOREIGN: _quarantine_file,
    ProblemKind.UNINDEXED: _remove_orphan,
    ProblemKind.DAMAGED_ROW: _forget_row,
}
