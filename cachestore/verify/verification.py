"""One pass over a store: every file among the blobs, every row, and the bytes of every blob."""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from cachestore.entry import Entry
from cachestore.rows import BLOBS, META, BlobRow
from cachestore.verify.cursor import Position
from cachestore.verify.folders import folders
from cachestore.verify.judge import Judge
from cachestore.verify.problems import Problem, ProblemKind
from cachestore.verify.tally import Tally

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cachestore.rows import SeenRow
    from cachestore.store.reader import StoreReader

_START = Position()


class _Blob(NamedTuple):
    """A blob to be judged, and the number of its row."""

    number: int
    digest: str
    row: BlobRow


class _NoTimeError(Exception):
    """The time was over before the blob of the row `number` was begun."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Verification:
    """One pass, made while it is iterated for what is wrong; its figures are those so far.

    `checked` of `total` blobs were looked at, `found` problems found; all is `ok` when those are unindexed blobs, and
    `complete` when the pass has come to its end. All bytes are hashed again, on all processors; a `quick` pass looks at
    what the index knows only, and hashes only blobs whose witness differs. A pass that begins at `after` leaves out
    what is before it. After `time_limit` seconds no further blob is begun, but one always is. `tell` is called with
    `checked` and `total` as they change. Iterating raises Cancelled soon after `cancel` is set, and IndexDamaged before
    anything else.
    """

    def __init__(
        self,
        store: StoreReader,
        *,
        quick: bool = False,
        after: Position = _START,
        time_limit: float | None = None,
        cancel: threading.Event | None = None,
        tell: Callable[[int, int], None] = lambda _checked, _total: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.position = Position(row=0) if quick and after == _START else after
        self.checked = 0
        self.total = store.count_blobs(after.row or 0)
        self._are_filed = store.meta().counts > 0
        self._has_damaged_rows = False
        self._tally = Tally(store)
        self._last_row = store.last_row()  # what is stored from now on was looked at by whoever stores it
        self.found = 0
        self.ok = True
        self.complete = False
        self._store = store
        self._judge = Judge(store.blobs, cancel, quick=quick)
        self._tell = tell
        self._clock = clock
        self._deadline = math.inf if time_limit is None else clock() + time_limit

    @property
    def left(self) -> int:
        """Return how many blobs a pass from `position` on would look at."""
        return 0 if self.complete else self._store.count_blobs(self.position.row or 0)

    def __iter__(self) -> Iterator[Problem]:
        with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            for problem in self._problems(threads):
                self.found += 1
                self.ok = self.ok and problem.kind is ProblemKind.UNINDEXED
                yield problem

    def _problems(self, threads: ThreadPoolExecutor) -> Iterator[Problem]:
        if self.position == _START:
            self._store.check_index()
        if self.position.row is None:
            yield from self._look_at_folders(threads)
        if self.position.row is not None:
            yield from self._look_at_rows(threads)

    def _is_over(self) -> bool:
        return self._clock() >= self._deadline

    def _look_at_folders(self, threads: ThreadPoolExecutor) -> Iterator[Problem]:
        for folder, names in folders(self._store.root.blobs, self.position.folder):
            yield from self._strangers(folder, names, threads)
            self.position = Position(folder)
            self._judge.check_cancel()
            if self._is_over():
                return
        self.position = Position(row=0)

    def _look_at_rows(self, threads: ThreadPoolExecutor) -> Iterator[Problem]:
        if self.position.row == 0:
            self._tally.begin()
        for page in self._store.pages(self.position.row or 0, self._last_row):
            self._tally.add(page)
            yield from self._look_at_page(page, threads)
            self._tell(self.checked, self.total)
            self._judge.check_cancel()
            if self._is_over():
                return
        # What a damaged row counts for shows only once that is mended.
        if not self._has_damaged_rows and self._tally.is_miscounted(self._judge.check_cancel):
            yield Problem(ProblemKind.MISCOUNTED, META.prefix)
        self.position, self.complete = _START, True

    def _strangers(self, folder: str, names: Sequence[str], threads: ThreadPoolExecutor) -> Iterator[Problem]:
        """Yield what is wrong with the files of a folder that no row knows of."""
        place, blobs = self._store.root.blobs / folder, self._store.blobs
        digests = {path: blobs.digest_of(path) for path in (f"{place}{os.sep}{name}" for name in names)}
        known = self._store.known_blobs(digest for digest in digests.values() if digest is not None)
        unknown = {path: digest for path, digest in digests.items() if digest not in known}
        kinds = threads.map(self._judge.judge_stranger, unknown.values())
        for (path, digest), kind in zip(unknown.items(), kinds, strict=True):
            self._count(0 if digest is None else 1)
            if kind is not None:
                yield Problem(kind, path, digest=digest or "")

    def _count(self, unknown: int) -> None:
        """Count blobs that no row knows."""
        self.checked += unknown
        self.total += unknown
        self._tell(self.checked, self.total)

    def _look_at_page(self, page: Sequence[SeenRow], threads: ThreadPoolExecutor) -> Iterator[Problem]:
        """Yield what is wrong with the rows of a page and their blobs, up to where the time is over."""
        blobs = [_Blob(row.number, BLOBS.name(row.key), row.value) for row in page if isinstance(row.value, BlobRow)]
        verdicts, end = self._judge_all(blobs, threads)
        seen = [row for row in page if row.number < end]
        wrong = [row for row in seen if row.value is None or (row.is_misfiled and self._are_filed)]
        self._has_damaged_rows = self._has_damaged_rows or any(row.value is None for row in wrong)
        yield from (Problem(ProblemKind.DAMAGED_ROW, row.key, row=row.number) for row in wrong)
        yield from _blob_problems(self._store, verdicts)
        here = {blob.digest for blob in blobs}
        entries = [row.value for row in seen if isinstance(row.value, Entry) and row.value.digest not in here]
        yield from _entries_without_blob(self._store, entries)
        self.position = Position(row=seen[-1].number)

    def _judge_all(self, blobs: Sequence[_Blob], threads: ThreadPoolExecutor) -> tuple[dict[str, ProblemKind], float]:
        """Return what is wrong, by digest, and the number of the first of `blobs` that there was no time for."""
        suspects = [blob for blob in blobs if not self._judge.believes(blob.digest, blob.row)]
        wrong = {blob.digest: ProblemKind.UNINDEXED for blob in blobs if not blob.row.keys}
        end = math.inf
        try:
            for done, kind in enumerate(threads.map(self._judge_in_time, suspects, count())):
                self._tell(self.checked + done, self.total)
                if kind is not None:
                    wrong[suspects[done].digest] = kind
        except _NoTimeError as over:
            end = over.number
        seen = [blob.digest for blob in blobs if blob.number < end]
        self.checked += len(seen)
        return {digest: wrong[digest] for digest in seen if digest in wrong}, end

    def _judge_in_time(self, blob: _Blob, place: int) -> ProblemKind | None:
        """Return what is wrong with a blob. Raise _NoTimeError, but never for the first of a page: a pass goes on."""
        if place > 0 and self._is_over():
            raise _NoTimeError(blob.number)
        return self._judge.judge(blob.digest, blob.row)


def _blob_problems(store: StoreReader, wrong: Mapping[str, ProblemKind]) -> Iterator[Problem]:
    """Yield a problem for every track of the wrong blobs that the index still knows: others were evicted meanwhile."""
    rows = store.blob_rows_of(wrong)
    holders = store.holders_of(wrong)
    for digest, row in rows.items():
        bundles = tuple(sorted(str(bundle.dest) for bundle in holders.get(digest, [])))
        entries = store.entries_of(row.keys)
        for key in entries or [str(store.blobs.path(digest))]:
            label = entries[key].label if key in entries else ""
            yield Problem(wrong[digest], key, label, digest, bundles)


def _entries_without_blob(store: StoreReader, entries: Sequence[Entry]) -> Iterator[Problem]:
    known = store.blob_rows_of(entry.digest for entry in entries)
    suspects = [entry.key for entry in entries if entry.digest not in known]
    for entry in store.entries_of(suspects).values():
        if entry.digest not in store.blob_rows_of([entry.digest]):
            yield Problem(ProblemKind.MISSING, entry.key, entry.label, entry.digest)
