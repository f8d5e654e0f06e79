"""What a large store costs, held without a clock: statements, transactions, looks at files, memory."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachestore.cli.ls import _found
from cachestore.prune import Limits, apply, plan_for
from cachestore.store import pauses
from cachestore.store.pauses import in_pieces
from cachestore.store.reader import StoreReader
from cachestore.store.writer import Store
from cachestore.track import Track
from cachestore.usage import usage
from cachestore.verify import Verification
from tests.benchmarks.large_stores import fill

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cachestore.index.reader import IndexReader

NO_ROOM = Limits(max_size=0)


class Clock:
    """A time that only goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        fake = SimpleNamespace(monotonic=self.tell, sleep=self.slept.append)
        monkeypatch.setattr("cachestore.store.pauses.time", fake)

    def tell(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@contextmanager
def statements(index: IndexReader) -> Iterator[Counter[str]]:
    """Count what is asked of SQLite within the block, by its first word."""
    counts: Counter[str] = Counter()
    last = [""]

    def note(sql: str) -> None:
        if sql != last[0]:  # it is told once more for every trigger
            counts[sql.split(maxsplit=1)[0]] += 1
        last[0] = sql

    connections: list[sqlite3.Connection] = [index._connection]
    if hasattr(index, "_cache"):
        connections.append(index._cache._con)
    for connection in connections:
        connection.set_trace_callback(note)
    yield counts
    for connection in connections:
        connection.set_trace_callback(None)


def counted_calls(monkeypatch: pytest.MonkeyPatch, name: str) -> Counter[str]:
    """Count the calls of a function of `os` by the path that it is given."""
    counts: Counter[str] = Counter()
    real: Callable[..., object] = getattr(os, name)

    def called(*arguments: object, **named: object) -> object:
        counts[str(arguments[0])] += 1
        return real(*arguments, **named)

    monkeypatch.setattr(os, name, called)
    return counts


@given(st.lists(st.floats(0, 0.05), max_size=60), st.integers(1, 9))
def test_pieces_hold_every_item_once_and_end_when_their_time_is_over(durations: list[float], most: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        worked, pieces, took, done = [], [], [], most
        for piece in in_pieces(enumerate(durations), most):
            assert len(piece.items) <= done + done // 4 + 1  # else rows are read that there is no time for
            began, longest = clock.now, 0.0
            for number, duration in piece:
                worked.append(number)
                clock.now += duration
                longest = duration
            pieces.append(clock.now - began - longest)
            took.append(clock.now - began)
            done = piece.done
    assert worked == list(range(len(durations)))
    assert all(before_the_last <= pauses._LONGEST_WORK + 1e-9 for before_the_last in pieces)
    assert len(pieces) >= len(durations) / most
    assert len(clock.slept) == len(pieces)
    assert all(pause >= max(work, pauses._SHORTEST_PAUSE) for pause, work in zip(clock.slept, took, strict=True))


def test_evicting_asks_for_few_statements_and_looks_at_each_file_once(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "store", 1000)
    with Store.open(tmp_path / "store") as store:
        keys, places = [entry.key for entry in store.entries()], [*store.blobs.iterate()]
        looks, unlinks = counted_calls(monkeypatch, "lstat"), counted_calls(monkeypatch, "unlink")
        with statements(store._index) as asked:
            evictions = store.evict(keys)
        assert all(eviction.freed for eviction in evictions)
        assert store.totals().entries == 0
    assert asked["COMMIT"] == 10
    assert asked["DELETE"] == 10
    assert asked.total() <= 120
    assert unlinks == dict.fromkeys(places, 1)
    assert {looks[place] for place in places} == {1}
    assert looks.total() < 3000  # the others are the folders that lead there, at most two for a file


def test_a_piece_that_takes_long_is_committed_before_the_next_is_begun(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "store", 30)
    with Store.open(tmp_path / "store") as store:
        real = store.blobs.remove

        def slow(digest: str) -> None:
            real(digest)
            clock.now += 0.004

        monkeypatch.setattr(store.blobs, "remove", slow)
        with statements(store._index) as asked:
            store.evict([entry.key for entry in store.entries()])
        assert not list(store.entries())
        assert not list(store.blobs.iterate())
    assert asked["COMMIT"] == 10
    assert len(clock.slept) == 10


def test_info_and_find_ask_for_the_same_whatever_is_in_the_store(tmp_path: Path) -> None:
    asked = []
    for entries in (1, 1200):
        root = tmp_path / str(entries)
        fill(root, entries)
        with StoreReader.open_readonly(root) as reader, statements(reader._reader) as of_info:
            usage(reader)
        with Store.open(root) as store, statements(store._index) as of_find:
            assert store.find(Track("bench", "t0"))
        asked.append((of_info, of_find))
    assert asked[0] == asked[1]
    assert asked[0][1].total() == 3


WALKS: dict[str, Callable[[StoreReader], object]] = {
    "ls": lambda store: sum(1 for _ in _found(store, "")),
    "prune": lambda store: sum(1 for _ in plan_for(store, NO_ROOM, time.time())),
    "verify": lambda store: sum(1 for _ in Verification(store, quick=True)),
}


def peak_of(walk: Callable[[StoreReader], object], root: Path) -> int:
    """Return the most bytes that a walk over a store had at once, begun when all is imported."""
    with StoreReader.open_readonly(root) as store:
        walk(store)
        tracemalloc.start()
        try:
            walk(store)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@pytest.mark.long
def test_a_walk_over_many_rows_takes_no_more_memory_than_one_over_few(tmp_path: Path) -> None:
    fill(tmp_path / "few", 1000)
    fill(tmp_path / "many", 5000)
    for name, walk in WALKS.items():
        few, many = (peak_of(walk, tmp_path / size) for size in ("few", "many"))
        assert many < few * 1.05 + 100_000, (name, few, many)


@pytest.mark.long
def test_pruning_many_rows_takes_no_more_memory_than_pruning_few(tmp_path: Path, clock: Clock) -> None:
    peaks = []
    for entries in (1000, 4000):
        fill(tmp_path / str(entries), entries)
        with Store.open(tmp_path / str(entries)) as store:
            assert sum(1 for _ in plan_for(store, NO_ROOM, time.time())) == entries
            tracemalloc.start()
            try:
                assert sum(1 for _ in apply(store, plan_for(store, NO_ROOM, time.time()))) == entries
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    # The folders that were looked at are remembered; there are never more than 65,536 of them.
    assert peaks[1] < peaks[0] * 1.05 + 300_000
