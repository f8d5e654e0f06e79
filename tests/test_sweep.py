"""Sweep: what crashes leave behind goes, and nothing else."""

from __future__ import annotations

import os
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from cachestore.links import LinkMode
from cachestore.rows import RUNS, Bundle, RunRow
from cachestore.store.writer import Store
from cachestore.sweep import sweep
from cachestore.track import Track
from tests.stores import put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEAD = "0" * 32
DAY = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "root") as opened:
        yield opened


def die(store: Store, dest: Path, staging: Path) -> None:
    """Leave what a run leaves that was killed while it was linking into `staging`."""
    staging.mkdir(parents=True)
    entry = put(store, "linked", b"linked")
    store.link(entry, staging / "01.wav", LinkMode.HARDLINK)
    (store.root.runs / DEAD).touch()
    with store._index.transaction() as rows:
        rows.set(RUNS.key(DEAD), RunRow("export", 0.0, str(dest)).to_row())


@pytest.mark.parametrize("place", [".", "bundle"])
def test_what_a_dead_run_staged_and_its_row_and_lock_file_go(store: Store, tmp_path: Path, place: str) -> None:
    staging = tmp_path / place / f".bundle.cachestore-{DEAD}"
    die(store, tmp_path / "bundle", staging)
    sweep(store, time.time())
    assert not staging.exists()
    assert list(store.runs()) == []
    assert list(store.root.runs.iterdir()) == []
    assert [entry.id for entry in store.entries()] == ["linked"]


@pytest.mark.parametrize("name", ["my music", ".bundle.cachestore-", f"cachestore-{DEAD} notes", "." + "1" * 32])
def test_a_folder_that_does_not_bear_the_runs_name_is_never_removed(store: Store, tmp_path: Path, name: str) -> None:
    die(store, tmp_path / "bundle", tmp_path / name)
    sweep(store, time.time())
    assert (tmp_path / name / "01.wav").exists()


def test_a_row_that_is_of_no_run_removes_nothing(store: Store, tmp_path: Path) -> None:
    (tmp_path / "Music").mkdir()
    for key in ("r:", "r:Music", f"r:{DEAD}x"):
        with store._index.transaction() as rows:
            rows.set(key, RunRow("export", 0.0, str(tmp_path / "Music")).to_row())
    sweep(store, time.time())
    assert (tmp_path / "Music").is_dir()


def test_the_row_of_a_dead_run_stays_while_its_volume_is_away(store: Store, tmp_path: Path) -> None:
    die(store, tmp_path / "volume" / "bundle", tmp_path / "elsewhere")
    sweep(store, time.time())
    assert [run_id for run_id, _ in store.runs()] == [DEAD]
    staging = tmp_path / "volume" / f".bundle.cachestore-{DEAD}"
    staging.mkdir(parents=True)
    sweep(store, time.time())
    assert not staging.exists()
    assert list(store.runs()) == []


def test_a_living_run_keeps_everything(store: Store, tmp_path: Path) -> None:
    with store.run("export", dest=tmp_path / "bundle") as run_id:
        (tmp_path / f".bundle.cachestore-{run_id}").mkdir()
        sweep(store, time.time() + 30 * DAY)
        assert [living for living, _ in store.runs()] == [run_id]
        assert (tmp_path / f".bundle.cachestore-{run_id}").is_dir()


def test_a_blob_whose_publishing_crashed_goes_and_one_older_than_the_index_stays(store: Store, tmp_path: Path) -> None:
    entry = put(store, "a", b"a")
    orphan, older = store.blobs.path("xxh3-128:" + "1" * 32), store.blobs.path("xxh3-128:" + "2" * 32)
    for path in (orphan, older):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"?")
    os.utime(older, (1.0, 1.0))
    (tmp_path / "bundle.wav").hardlink_to(older)
    (tmp_path / "bundle.wav").unlink()
    sweep(store, time.time())
    assert not orphan.exists()
    assert older.exists()
    assert store.is_whole(entry)


def partial(store: Store, suffix: str, age: float) -> Path:
    path = store.root.partials / f"{uuid.uuid4().hex}.{uuid.uuid4().hex}.{suffix}"
    path.write_bytes(b"?")
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_kept_partials_go_after_their_age_and_foreign_files_never(store: Store) -> None:
    old, young = partial(store, "part", 8 * DAY), partial(store, "part", 6 * DAY)
    foreign = store.root.partials / "thesis.txt"
    foreign.write_text("mine")
    os.utime(foreign, (1.0, 1.0))
    sweep(store, time.time())
    assert [path.exists() for path in (old, young, foreign)] == [False, True, True]


def test_a_blob_with_a_damaged_row_is_no_orphan(store: Store) -> None:
    entry = put(store, "a", b"a")
    with store._index.transaction() as rows:
        rows._cache.set(f"b:{entry.digest}", "{")
    sweep(store, time.time())
    assert store.blobs.path(entry.digest).exists()


def test_a_living_run_whose_row_is_damaged_may_be_a_fetch(store: Store) -> None:
    claimed = partial(store, "work", 0)
    with store.run("fetch") as run_id:
        with store._index.transaction() as rows:
            rows._cache.set(f"r:{run_id}", "{")
        sweep(store, time.time())
        assert claimed.exists()


def test_a_claimed_partial_goes_once_no_fetch_lives(store: Store) -> None:
    claimed = partial(store, "work", 0)
    with store.run("fetch"):
        sweep(store, time.time())
        assert claimed.exists()
    sweep(store, time.time())
    assert not claimed.exists()


def test_quarantine_keeps_what_it_got_for_thirty_days_however_old_the_file_is(store: Store) -> None:
    foreign = store.root.blobs / "photo.jpg"
    foreign.write_bytes(b"mine")
    os.utime(foreign, (1.0, 1.0))
    store.quarantine_file(foreign)
    sweep(store, time.time() + 29 * DAY)
    assert [path.read_bytes() for path in store.root.quarantine.iterdir()] == [b"mine"]
    sweep(store, time.time() + 31 * DAY)
    assert list(store.root.quarantine.iterdir()) == []


def test_a_deleted_bundle_is_forgotten_and_one_on_an_unplugged_disk_is_not(store: Store, tmp_path: Path) -> None:
    for dest in (tmp_path / "deleted", tmp_path / "unplugged" / "bundle", tmp_path / "living"):
        store.register(Bundle(dest, dest.name, 0.0, ()))
    (tmp_path / "living").mkdir()
    sweep(store, time.time())
    assert sorted(bundle.name for bundle in store.bundles()) == ["bundle", "living"]


def test_a_pinned_blob_whose_file_is_gone_costs_nothing_any_more(store: Store) -> None:
    entry = put(store, "1", b"1" * 5000)
    store.pin(Track("s", "1"), pinned=True)
    store.blobs.remove(entry.digest)
    sweep(store, time.time())
    assert store.totals().exclusive == 0
    assert [kept.pinned for kept in store.entries()] == [True]
