"""Leases: what a living run needs stays, as often as it took it, and not longer."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING

import pytest

from cachestore.rows import LEASES
from cachestore.store import leases, runkeeping
from cachestore.store.writer import Store
from cachestore.sweep import sweep
from tests.stores import incoming, plant_row, put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IN_USE = "in use by a running export"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    with Store.open(store.root.path) as opened:
        yield opened


def digests(count: int) -> list[str]:
    return [f"xxh3-128:{number:032x}" for number in range(count)]


def rows(store: Store) -> list[int]:
    """Return how many digests each row of leases has."""
    return sorted(len(row.digests) for _, row in store.scan(LEASES))


def test_what_a_run_publishes_is_leased_from_the_first_moment(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.run("fetch") as run_id:
        [entry] = store.put([incoming(store, "1", b"1")], run_id)
        assert other.evict([entry.key])[0].kept_because == IN_USE
        store.unlease(run_id, [entry.digest])
        assert store.evict([entry.key])[0].kept_because == ""
    assert other.leases().digests == frozenset()


def test_what_could_not_be_published_with_others_is_leased_once_when_it_is_published_alone(store: Store) -> None:
    with store.run("fetch") as run_id:
        there, gone = incoming(store, "1", b"1"), incoming(store, "2", b"2")
        gone.path.unlink()
        with pytest.raises(FileNotFoundError):
            store.put([there, gone], run_id)
        [entry] = store.put([there], run_id)
        store.unlease(run_id, [entry.digest])
        assert store.evict([entry.key])[0].kept_because == ""


def test_what_was_only_stored_since_a_run_began_may_go(store: Store, other: Store) -> None:
    with store.run("fetch"):
        entry = put(other, "1", b"1")
        assert other.evict([entry.key])[0].kept_because == ""


def test_a_lease_that_was_taken_twice_ends_the_second_time(store: Store) -> None:
    entry = put(store, "1", b"1")
    with store.run("fetch") as run_id:
        store.lease(run_id, [entry.digest, entry.digest])
        store.unlease(run_id, [entry.digest])
        assert store.evict([entry.key])[0].kept_because == IN_USE
        store.unlease(run_id, [entry.digest, entry.digest])
        store.lease(run_id, [entry.digest])
        assert store.evict([entry.key])[0].kept_because == IN_USE
        store.unlease(run_id, [entry.digest])
        assert store.evict([entry.key])[0].kept_because == ""


def test_ended_leases_are_written_with_what_is_written_next(store: Store, other: Store) -> None:
    with store.run("fetch") as run_id:
        store.lease(run_id, digests(10))
        store.unlease(run_id, digests(9))
        assert len(other.leases().digests) == 10
        put(store, "1", b"1")
        assert len(other.leases().digests) == 1


@pytest.mark.parametrize(("seconds", "left"), [(0.0, range(64)), (math.inf, range(200, 201))])
def test_many_ended_leases_are_written_though_nothing_else_is_but_not_at_every_moment(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch, seconds: float, left: range
) -> None:
    monkeypatch.setattr(runkeeping, "_BETWEEN_NOTES", seconds)
    with store.run("fetch") as run_id:
        store.lease(run_id, digests(200))
        for digest in digests(200):
            store.unlease(run_id, [digest])
        assert len(other.leases().digests) in left


def test_no_row_of_leases_grows(store: Store) -> None:
    with store.run("fetch") as run_id:
        for start in range(0, 200, 10):
            store.lease(run_id, digests(200)[start : start + 10])
        assert sum(rows(store)) == 200
        assert max(rows(store)) <= leases._DIGESTS_PER_ROW
        store.unlease(run_id, digests(195))
        put(store, "1", b"1")
        assert sum(rows(store)) == 5
    assert rows(store) == []


def test_what_a_dead_run_leased_may_go_and_its_rows_are_swept(store: Store) -> None:
    entry, dead = put(store, "1", b"1"), "0" * 32
    with store._index.transaction() as written:
        plant_row(written, f"l:{dead}:0", {"digests": entry.digest})
        written._cache.set(f"l:{dead}:1", json.dumps({"digests": 1}))
        plant_row(written, f"r:{dead}", {"command": "fetch", "started_at": 0.0, "dest": None})
    assert store.leases().digests == frozenset()
    sweep(store, time.time(), max_size=math.inf)
    assert list(store.names(LEASES)) == []
    assert store.evict([entry.key])[0].kept_because == ""


def test_leases_of_a_run_that_nobody_knows_are_dropped_by_a_recount(store: Store) -> None:
    with store.run("fetch") as run_id:
        store.lease(run_id, digests(2))
        with store._index.transaction() as written:
            plant_row(written, f"l:{'0' * 32}:0", {"digests": digests(1)[0]})
        store.recount()
        assert [name.partition(":")[0] for name in store.names(LEASES)] == [run_id]


def test_leases_are_read_again_when_the_store_has_lost_its_own_row_and_counts_anew(store: Store, other: Store) -> None:
    with store.run("fetch") as run_id:
        for number in range(1, 6):
            store.lease(run_id, digests(number))
        assert len(other.leases().digests) == 5
        then = store.meta().leases
        with store._index.transaction() as rows:
            rows._cache.set("meta", "{")
        Store.open(store.root.path).close()
        for number in range(6, 12):
            store.lease(run_id, digests(number))
            if store.meta().leases == then:
                break
        assert len(other.leases().digests) == number


def test_leases_are_read_again_only_when_they_have_changed(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.run("fetch") as run_id:
        store.lease(run_id, digests(2))
        assert len(other.leases().digests) == 2
        scanned: list[object] = []

        def noting(table: object) -> Iterator[object]:
            scanned.append(table)
            return iter(())

        monkeypatch.setattr(other, "scan", noting)
        assert len(other.leases().digests) == 2
        assert scanned == []
        store.lease(run_id, digests(3))
        other.leases()
        assert scanned == [LEASES]


def test_leases_that_end_in_the_order_in_which_they_were_taken_rewrite_few_rows(store: Store, other: Store) -> None:
    with store.run("fetch") as run_id:
        store.lease(run_id, digests(640))
        before = dict(other.scan(LEASES))
        store.unlease(run_id, digests(640)[:70])
        store.write_notes()
        after = dict(other.scan(LEASES))
    assert len(before) == 10
    assert [len(after[name].digests) for name in before if after.get(name) != before[name] and name in after] == [58]
    assert len(before.keys() - after.keys()) == 1
