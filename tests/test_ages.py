"""Ages: what goes for its age was that old by the clock of an earlier day, whatever command has noted that."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cachestore.cache import Cache
from cachestore.config import Config
from cachestore.errors import NoSpace
from cachestore.prune import Limits, apply, prune
from cachestore.rows import MetaRow
from cachestore.store.writer import Store
from cachestore.sweep import sweep, take_leftovers
from tests.stores import put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86400.0
NOW = time.time()


class Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOW
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(time, "time_ns", lambda: int(self.now * 1e9))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> Iterator[Cache]:
    """Return a cache of the first day, with one track and a `max_age` of thirty days."""
    assert clock.now == NOW
    with Cache.open(Config(root=tmp_path / "root", max_age=30 * DAY, min_free=0)) as opened:
        put(opened.store, "old", b"old" * 3000)
        yield opened


def tracks(cache: Cache) -> list[str]:
    return [entry.id for entry in cache.store.entries()]


def quarantine(cache: Cache, name: str) -> None:
    path = cache.store.root.blobs / name
    path.write_bytes(b"?" * 8192)
    cache.store.quarantine_file(path)


def quarantined(cache: Cache) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in cache.store.root.quarantine.iterdir())


def end_exports(cache: Cache, clock: Clock, *days: float) -> None:
    """End an export on each of these days."""
    for day in days:
        clock.now = NOW + day * DAY
        cache.enforce_bound()


def test_max_age_holds_in_a_store_that_only_exports_and_was_swept_once(cache: Cache, clock: Clock) -> None:
    sweep(cache.store, clock.now, max_size=math.inf)
    end_exports(cache, clock, 10, 29)
    assert tracks(cache) == ["old"]
    end_exports(cache, clock, 31, 33)
    assert tracks(cache) == []


def test_a_prune_after_a_year_of_exports_takes_what_was_old_at_the_last_of_them(cache: Cache, clock: Clock) -> None:
    sweep(cache.store, clock.now, max_size=math.inf)
    end_exports(cache, clock, 10, 360)
    put(cache.store, "new", b"new" * 3000)
    clock.now = NOW + 365 * DAY
    list(apply(cache.store, prune(cache.store, Limits(10**9, max_age=300 * DAY), clock.now)))
    assert tracks(cache) == ["new"]


def test_a_day_of_exports_under_a_clock_that_is_ahead_takes_nothing(cache: Cache, clock: Clock) -> None:
    end_exports(cache, clock, 0, 1)
    quarantine(cache, "edit")
    quarantine(cache, "newest")
    cache.config = Config(root=cache.config.root, max_age=30 * DAY, min_free=0, max_size=30_000)
    end_exports(cache, clock, 400, 400.3, 400.9, 1.5, 400.95, 1.9)
    assert tracks(cache) == ["old"]
    assert quarantined(cache) == ["edit", "newest"]
    end_exports(cache, clock, 400, 401, 402)
    assert tracks(cache) == []
    assert quarantined(cache) == []


def test_a_prune_and_an_export_on_a_day_with_a_wrong_clock_take_nothing(cache: Cache, clock: Clock) -> None:
    end_exports(cache, clock, 0)
    sweep(cache.store, NOW + 1 * DAY, max_size=math.inf)
    clock.now = NOW + 400 * DAY
    list(apply(cache.store, prune(cache.store, Limits(10**9, max_age=30 * DAY), clock.now)))
    end_exports(cache, clock, 400.2, 400.6)
    assert tracks(cache) == ["old"]


def test_what_a_run_swept_for_room_proves_nothing_at_its_end(cache: Cache, clock: Clock) -> None:
    end_exports(cache, clock, 0, 1)
    clock.now = NOW + 400 * DAY
    take_leftovers(cache.store, clock.now, cache.store.meta().known_at(clock.now), max_size=math.inf)
    cache.enforce_bound()
    assert tracks(cache) == ["old"]


def test_a_store_that_was_never_swept_keeps_an_edit_of_the_day_whatever_the_clock(cache: Cache, clock: Clock) -> None:
    quarantine(cache, "edit")
    quarantine(cache, "newest")
    cache.config = Config(root=cache.config.root, min_free=0, max_size=30_000)
    end_exports(cache, clock, 0, 2, 2.5)
    assert quarantined(cache) == ["edit", "newest"]


def test_sweeps_under_a_clock_that_is_behind_date_nothing_back(cache: Cache, clock: Clock) -> None:
    """Neither what is in quarantine nor a partial: under the right clock it would be old."""
    quarantine(cache, "edit")
    [path] = cache.store.root.quarantine.iterdir()
    partial = cache.store.root.partials / f"{'0' * 32}.{'1' * 32}.part"
    partial.write_bytes(b"?")
    before = partial.stat().st_mtime_ns
    for days in (0, -9000, -9000, -9001, 0, 0):
        clock.now = NOW + days * DAY
        sweep(cache.store, clock.now, max_size=0)
        cache.enforce_bound()
    assert partial.stat().st_mtime_ns == before
    assert list(cache.store.root.quarantine.iterdir()) == [path]


def test_the_clock_is_noted_once_a_day(cache: Cache, clock: Clock) -> None:
    def noted() -> tuple[float, float]:
        return cache.store.meta().clocks

    end_exports(cache, clock, 0)
    assert noted() == (0.0, NOW)
    end_exports(cache, clock, 0.9)
    assert noted() == (0.0, NOW)
    end_exports(cache, clock, 1.1)
    assert noted() == (NOW, NOW + 1.1 * DAY)


def test_an_export_that_finds_no_room_to_note_its_clock_has_not_failed(
    cache: Cache, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def full(store: Store) -> Iterator[None]:
        raise NoSpace(store.root.path)
        yield

    monkeypatch.setattr(Store, "_transaction", full)
    end_exports(cache, clock, 1)
    assert cache.store.meta().clocks == (0.0, 0.0)


@pytest.mark.parametrize(
    ("clocks", "now", "known"),
    [
        ((0.0, 0.0), 100, 0.0),
        ((0.0, 100.0), 100.5, 0.0),
        ((0.0, 100.0), 101, 100.0),
        ((99.0, 100.0), 100.5, 99.0),
        ((99.0, 100.0), 99.5, 0.0),  # the clock was put back by hours
        ((99.0, 500.0), 100.0, 100.0),  # ... and by more than a year
    ],
)
def test_what_an_export_has_noted_counts_a_day_later(clocks: tuple[float, float], now: float, known: float) -> None:
    row = MetaRow(clocks=(clocks[0] * DAY, clocks[1] * DAY))
    assert row.known_at(now * DAY) == known * DAY
    assert MetaRow.from_row(row.to_row()) == row
