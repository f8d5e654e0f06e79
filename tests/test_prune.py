"""Prune: a pure plan, applied whole or in part, never more."""

from __future__ import annotations

import os
import shutil
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachestore.entry import Entry
from cachestore.errors import Cancelled
from cachestore.links import LinkMode
from cachestore.prune import (
    Candidate,
    Limits,
    Outcome,
    Plan,
    apply,
    apply_further,
    holds,
    plan_for,
    prune,
)
from cachestore.prune.applying import HELD, PINNED
from cachestore.prune.plan import LINKED, YOUNG
from cachestore.root import BALLAST, drop_ballast
from cachestore.rows import Bundle, BundleFile
from cachestore.store.costs import cost_of
from cachestore.store.evict import LOCKED
from cachestore.store.writer import Store
from cachestore.track import Track
from tests.invariants import faults
from tests.stores import count_blocks_late, drop_rows, etag, lock, put

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NOW = 1_000_000.0
HOUR = 3600.0


def entry(name: str, used_at: float) -> Entry:
    return Entry("s", name, etag("1"), f"d{name}", 100, "audio/wav", "wav", name, used_at, used_at, used_at)


def blob(name: str, cost: int = 100, *, age: float = HOUR, protected: str = "", frees: int | None = None) -> Candidate:
    return Candidate(
        f"d{name}", (entry(name, NOW - age),), NOW - age, cost, cost, cost if frees is None else frees, protected
    )


def made(*blobs: Candidate, free: int = 10**12, need: int = 0, **limits: float | None) -> Plan:
    """Return the plan for blobs given in the order of their use."""
    bounded = sum(candidate.cost for candidate in blobs if candidate.protected != HELD)
    bounds = Limits(**({"max_size": 10**12} | limits))  # type: ignore[arg-type]
    return Plan(blobs, bounded=bounded, free=free, limits=bounds, now=NOW, need=need)


def walked(plan: Plan) -> list[tuple[str, str]]:
    """Walk a plan and return what goes, and why."""
    return [(victim.blob.entries[0].id, victim.reason) for victim in plan]


def names(plan: Plan) -> list[str]:
    return [name for name, _ in walked(plan)]


def test_within_every_bound_nothing_goes() -> None:
    assert names(made(blob("a"), blob("b"), max_size=200)) == []


def test_over_the_bound_the_least_recently_used_go_down_to_the_low_watermark() -> None:
    three = blob("a", age=3), blob("b", age=2), blob("c", age=1)
    assert walked(made(*three, max_size=299)) == [("a", "max_size")]
    assert names(made(*three, max_size=220)) == ["a", "b"]
    assert names(made(*three, max_size=300)) == []


def test_a_plan_looks_no_further_than_it_must() -> None:
    def candidates() -> Iterator[Candidate]:
        yield from (blob("a", age=3), blob("b", age=2))
        pytest.fail("the third was asked for")

    plan = Plan(candidates(), bounded=300, free=10**12, limits=Limits(max_size=299), now=NOW)
    assert names(plan) == ["a"]


def test_what_stays_against_a_wish_is_accounted_for_and_the_shortfall_is_told() -> None:
    plan = made(
        blob("held", 1000, protected=HELD), blob("pinned", protected=PINNED), blob("a"), blob("young", age=1),
        max_size=50, min_age=60.0,
    )  # fmt: skip
    assert names(plan) == ["a"]
    assert plan.stayed == {HELD: 1000, PINNED: 100, YOUNG: 100}
    assert (plan.over_max_size, plan.under_min_free) == (150, 0)


def test_held_blobs_cost_nothing_and_are_not_evicted() -> None:
    assert names(made(blob("held", protected=HELD), blob("a"), max_size=100)) == []


def test_what_was_used_in_the_future_is_not_young_since_a_clock_was_wrong() -> None:
    assert names(made(blob("a", age=-HOUR), max_size=0, min_age=60.0)) == ["a"]


def test_what_was_not_used_for_max_age_goes_whatever_the_size() -> None:
    assert walked(made(blob("old", age=100), blob("new", age=10), max_age=50.0)) == [("old", "max_age")]


def test_room_is_made_until_enough_of_the_disk_is_free() -> None:
    plan = made(blob("a", age=3), blob("b", age=2), blob("c", age=1), free=50, min_free=200)
    assert walked(plan) == [("a", "min_free"), ("b", "min_free")]


def test_what_frees_nothing_does_not_go_for_min_free_but_does_for_max_size() -> None:
    linked = blob("a", frees=0)
    plan = made(linked, blob("b"), free=50, min_free=100)
    assert walked(plan) == [("b", "min_free")]
    assert plan.stayed == {LINKED: 100}
    assert walked(made(linked, max_size=50)) == [("a", "max_size")]


def test_room_is_made_for_what_is_needed_on_top() -> None:
    two = blob("a", age=2), blob("b", age=1)
    assert names(made(*two, max_size=250, need=50)) == []
    assert names(made(*two, max_size=250, need=51)) == ["a"]
    assert walked(made(*two, free=100, min_free=100, need=1)) == [("a", "min_free")]


def test_what_stayed_after_all_is_missing_and_nothing_goes_in_its_place() -> None:
    plan = made(blob("a", age=3), blob("b", age=2), blob("c", age=1), max_size=250, min_free=0)
    victims = iter(plan)
    first = next(victims)
    plan.note(Outcome(first, 0, {first.blob.entries[0].key: "pinned"}))
    assert list(victims) == []
    assert (plan.over_max_size, plan.stayed) == (50, {"pinned": 100})


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 1000), st.sampled_from(["", "", PINNED, HELD]))),
    st.integers(0, 5000),
    st.integers(0, 5000),
)
def test_a_plan_frees_enough_or_everything_it_may_and_never_more_than_it_must(
    blobs: list[tuple[int, float, str]], max_size: int, free: int
) -> None:
    oldest_first = sorted(blobs, key=lambda blob: -blob[1])
    candidates = [blob(str(n), cost, age=age, protected=why) for n, (cost, age, why) in enumerate(oldest_first)]
    plan = made(*candidates, free=free, max_size=max_size, min_free=1000)
    victims = [victim.blob for victim in plan]
    bounded = sum(candidate.cost for candidate in candidates if candidate.protected != HELD)
    freed = sum(victim.cost for victim in victims)
    movable = [candidate for candidate in candidates if not candidate.protected]
    assert victims == [candidate for candidate in movable if candidate in victims]
    assert plan.over_max_size == max(0, bounded - max_size - freed)
    if plan.over_max_size or plan.under_min_free:
        assert sum(victim.cost for victim in victims) == sum(candidate.cost for candidate in movable)
        assert sum(plan.stayed.values()) == sum(c.cost for c in candidates if c.protected)
    if victims:
        without_last = freed - victims[-1].cost
        too_big = bounded > max_size and bounded - without_last > int(max_size * 0.9)
        assert too_big or free + without_last < 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "root") as opened:
        yield opened


def later(store: Store) -> float:
    return max(found.used_at for found in store.entries()) + HOUR


def gone(outcomes: Iterable[Outcome]) -> list[str]:
    return [entry.id for done in outcomes for entry in done.victim.blob.entries if entry.key not in done.stayed]


def test_applying_does_what_the_plan_says(store: Store) -> None:
    for name in "abc":
        put(store, name, name.encode() * 10_000)
    [outcome] = apply(store, plan_for(store, Limits(max_size=30_000), later(store)))
    assert gone([outcome]) == ["a"]
    assert outcome.freed == outcome.victim.blob.frees > 0
    assert sorted(found.id for found in store.entries()) == ["b", "c"]


def test_what_goes_frees_what_the_plan_says_where_blocks_are_counted_late(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a", b"a" * 50_000)
    count_blocks_late(monkeypatch)
    [outcome] = apply(store, plan_for(store, Limits(0), later(store)))
    assert outcome.freed == outcome.victim.blob.frees >= 50_000


def test_a_blob_goes_with_all_its_entries(store: Store) -> None:
    for name in "ab":
        put(store, name, b"one body")
    [outcome] = apply(store, plan_for(store, Limits(max_size=0), later(store)))
    assert gone([outcome]) == ["a", "b"]
    assert outcome.freed == 4096


def test_what_was_pinned_or_used_since_the_plan_stays_and_is_reported(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        put(store, name, name.encode() * 10_000)
    plan = plan_for(store, Limits(max_size=0), later(store))
    victims = list(plan)
    with Store.open(tmp_path / "root") as other:
        other.pin(Track("s", "a"), pinned=True)
        put(other, "b", b"b" * 10_000)
    monkeypatch.setattr(Plan, "__iter__", lambda _: iter(victims))
    outcomes = list(apply(store, plan))
    assert gone(outcomes) == ["c"]
    assert plan.over_max_size > 0
    assert [list(done.stayed.values()) for done in outcomes] == [["pinned"], ["used since"], []]


def test_what_is_locked_stays_whole_and_keeps_nothing_else(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = [put(store, name, name.encode() * 10_000) for name in "abc"]
    lock(monkeypatch, store.blobs.path(first.digest))
    plan = plan_for(store, Limits(max_size=0), later(store))
    outcomes = list(apply(store, plan))
    assert gone(outcomes) == ["b", "c"]
    assert outcomes[0].stayed == {first.key: LOCKED}
    assert plan.over_max_size == outcomes[0].victim.blob.cost
    assert store.find(Track("s", "a")) == first
    assert faults(store.root.path, {f"s:{name}": [name.encode() * 10_000] for name in "abc"}) == []


def test_a_plan_leaves_out_what_is_known_to_be_locked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = [put(store, name, name.encode() * 10_000) for name in "ab"]
    lock(monkeypatch, store.blobs.path(first.digest))
    limits = Limits(max_size=15_000)
    assert gone(apply(store, plan_for(store, limits, later(store)))) == []
    plan = plan_for(store, limits, later(store), locked={first.digest})
    assert gone(apply(store, plan)) == ["b"]
    assert plan.stayed == {LOCKED: cost_of(store.blobs.path(first.digest))}


def test_where_room_is_needed_what_comes_next_goes_in_the_place_of_what_is_locked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [put(store, name, name.encode() * 10_000) for name in "abcde"]
    lock(monkeypatch, *(store.blobs.path(entry.digest) for entry in entries[:3:2]))
    plan = plan_for(store, Limits(max_size=4 * 12_288), later(store))
    assert gone(apply_further(store, plan)) == ["b", "d"]
    assert plan.missing == 0


def test_a_plan_whose_victims_all_stay_is_gone_on_with_to_its_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [put(store, name, name.encode() * 10_000) for name in "abc"]
    lock(monkeypatch, *(store.blobs.path(entry.digest) for entry in entries))
    plan = plan_for(store, Limits(max_size=30_000, max_age=10**6), later(store))
    assert [list(outcome.stayed.values()) for outcome in apply_further(store, plan)] == [[LOCKED]] * 3
    assert plan.missing > 0


def test_a_file_of_a_lost_index_that_is_locked_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = put(store, "a", b"a" * 10_000).digest
    drop_rows(store, "e:s:a@" + etag("1").hex, f"b:{digest}")
    prune(store, Limits(max_size=0, min_age=HOUR), NOW)
    lock(monkeypatch, store.blobs.path(digest))
    [eviction] = store.evict_unindexed([digest])
    assert (eviction.kept_because, eviction.freed) == (LOCKED, 0)
    assert store.blobs.path(digest).exists()
    assert store.known_blobs([digest]) == {digest}


def test_a_blob_in_a_living_bundle_is_held_until_the_bundle_is_deleted(store: Store, tmp_path: Path) -> None:
    found = put(store, "a", b"a" * 10_000)
    dest = tmp_path / "bundle"
    dest.mkdir()
    store.link(found, dest / "01.wav", LinkMode.AUTO)
    store.register(Bundle(dest, "bundle", NOW, (BundleFile("01.wav", found.digest, LinkMode.HARDLINK),)))
    plan = prune(store, Limits(max_size=0), later(store))
    assert names(plan) == []
    assert plan.over_max_size == 0
    (dest / "01.wav").unlink()
    assert names(prune(store, Limits(max_size=0), later(store))) == ["a"]


def test_bounds_hold_for_sure_only_when_what_bundles_hold_would_not_break_them_either(
    store: Store, tmp_path: Path
) -> None:
    found = put(store, "a", b"a" * 10_000)
    dest = tmp_path / "bundle"
    dest.mkdir()
    store.link(found, dest / "01.wav", LinkMode.AUTO)
    store.register(Bundle(dest, "bundle", NOW, (BundleFile("01.wav", found.digest, LinkMode.HARDLINK),)))
    cost = store.totals().held
    assert cost
    assert store.totals().exclusive == 0
    assert holds(store, Limits(max_size=cost))
    assert not holds(store, Limits(max_size=cost - 1))
    assert not holds(store, Limits(max_size=cost, max_age=HOUR))
    assert not holds(store, Limits(max_size=cost, min_free=10**18))


def test_links_that_no_bundle_explains_hold_nothing(store: Store, tmp_path: Path) -> None:
    found = put(store, "a", b"a" * 10_000)
    store.link(found, tmp_path / "backup.wav", LinkMode.AUTO)
    [outcome] = apply(store, plan_for(store, Limits(max_size=0), later(store)))
    assert gone([outcome]) == ["a"]
    assert outcome.freed == 0
    assert (tmp_path / "backup.wav").read_bytes() == b"a" * 10_000


def test_what_a_lost_index_left_behind_counts_and_goes_by_its_age(store: Store) -> None:
    put(store, "a", b"a" * 10_000)
    digest = f"xxh3-128:{'1' * 32}"
    left = store.blobs.path(digest)
    left.parent.mkdir(parents=True)
    left.write_bytes(b"?" * 20_000)
    os.utime(left, (1.0, 1.0))
    assert list(prune(store, Limits(max_size=40_000), later(store))) == []
    [outcome] = apply(store, prune(store, Limits(max_size=30_000), later(store)))
    assert (outcome.victim.blob.names, outcome.freed, dict(outcome.stayed)) == ([digest], 20_480, {})
    assert not left.exists()
    assert store.totals().exclusive == 12_288


def test_min_free_is_to_hold_when_the_ballast_is_taken_in_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a", b"a")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=BALLAST))
    assert names(plan_for(store, Limits(max_size=10**9, min_free=BALLAST), later(store))) == []
    drop_ballast(store.root)
    assert names(plan_for(store, Limits(max_size=10**9, min_free=BALLAST), later(store))) == ["a"]


def test_a_prune_that_is_cancelled_stops(store: Store) -> None:
    put(store, "a", b"a")
    cancel = threading.Event()
    plan = prune(store, Limits(max_size=0), later(store), cancel)
    cancel.set()
    with pytest.raises(Cancelled):
        next(apply(store, plan))
    assert store.find(Track("s", "a"))


def test_what_a_bundle_came_to_hold_since_it_was_planned_stays(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "1", b"1" * 5000)
    plan = plan_for(store, Limits(max_size=0), NOW)
    victims = list(plan)
    monkeypatch.setattr(Plan, "__iter__", lambda _: iter(victims))
    dest = tmp_path / "bundle"
    dest.mkdir()
    store.link(entry, dest / "1.wav", LinkMode.HARDLINK)
    store.register(Bundle(dest, "bundle", 0.0, (BundleFile("1.wav", entry.digest, LinkMode.HARDLINK),)))
    [outcome] = apply(store, plan)
    assert outcome.stayed == {entry.key: HELD}
