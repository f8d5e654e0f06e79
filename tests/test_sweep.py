"""Sweep: what crashes leave behind goes, and nothing else."""

from __future__ import annotations

import errno
import math
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cachestore.links import LinkMode
from cachestore.rows import BLOBS, ENTRIES, RUNS, Bundle, RunRow, Totals
from cachestore.store.counting import counted
from cachestore.store.reader import StoreReader
from cachestore.store.writer import Store
from cachestore.sweep import Leftovers, empty_quarantine, foresee, give_up_quarantine, sweep, trim_quarantine
from cachestore.track import Track
from tests.stores import drop_rows, plant_row, put

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cachestore.store.evict import Eviction, MayGo

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
        plant_row(rows, RUNS.key(DEAD), RunRow("export", 0.0, str(dest)).to_row())


@pytest.mark.parametrize("place", [".", "bundle"])
def test_what_a_dead_run_staged_and_its_row_and_lock_file_go(store: Store, tmp_path: Path, place: str) -> None:
    staging = tmp_path / place / f".bundle.cachestore-{DEAD}"
    die(store, tmp_path / "bundle", staging)
    sweep(store, time.time(), max_size=math.inf)
    assert not staging.exists()
    assert list(store.runs()) == []
    assert list(store.root.runs.iterdir()) == []
    assert [entry.id for entry in store.entries()] == ["linked"]


def test_what_a_dead_run_staged_on_another_disk_gives_this_one_nothing(store: Store, another_disk: Path) -> None:
    staging = another_disk / f".bundle.cachestore-{DEAD}"
    staging.mkdir()
    (staging / "copy.wav").write_bytes(b"?" * 65_000)
    with store._index.transaction() as rows:
        plant_row(rows, RUNS.key(DEAD), RunRow("export", 0.0, str(another_disk / "bundle")).to_row())
    assert foresee(store, time.time(), max_size=math.inf).disk == 0
    sweep(store, time.time(), max_size=math.inf)
    assert not staging.exists()


@pytest.mark.parametrize("name", ["my music", ".bundle.cachestore-", f"cachestore-{DEAD} notes", "." + "1" * 32])
def test_a_folder_that_does_not_bear_the_runs_name_is_never_removed(store: Store, tmp_path: Path, name: str) -> None:
    die(store, tmp_path / "bundle", tmp_path / name)
    sweep(store, time.time(), max_size=math.inf)
    assert (tmp_path / name / "01.wav").exists()


def test_a_row_that_is_of_no_run_removes_nothing(store: Store, tmp_path: Path) -> None:
    (tmp_path / "Music").mkdir()
    for key in ("r:", "r:Music", f"r:{DEAD}x"):
        with store._index.transaction() as rows:
            plant_row(rows, key, RunRow("export", 0.0, str(tmp_path / "Music")).to_row())
    sweep(store, time.time(), max_size=math.inf)
    assert (tmp_path / "Music").is_dir()


def test_the_row_of_a_dead_run_stays_while_its_volume_is_away(store: Store, tmp_path: Path) -> None:
    die(store, tmp_path / "volume" / "bundle", tmp_path / "elsewhere")
    sweep(store, time.time(), max_size=math.inf)
    assert [run_id for run_id, _ in store.runs()] == [DEAD]
    staging = tmp_path / "volume" / f".bundle.cachestore-{DEAD}"
    staging.mkdir(parents=True)
    sweep(store, time.time(), max_size=math.inf)
    assert not staging.exists()
    assert list(store.runs()) == []


def test_a_living_run_keeps_everything(store: Store, tmp_path: Path) -> None:
    with store.run("export", dest=tmp_path / "bundle") as run_id:
        (tmp_path / f".bundle.cachestore-{run_id}").mkdir()
        sweep_twice(store, time.time() + 30 * DAY)
        assert [living for living, _ in store.runs()] == [run_id]
        assert (tmp_path / f".bundle.cachestore-{run_id}").is_dir()


@pytest.mark.parametrize("mtime", [1.0, None, time.time() + 3650 * DAY], ids=["long ago", "now", "in ten years"])
def test_a_blob_that_no_row_knows_counts_and_stays_whatever_the_clock_was(store: Store, mtime: float | None) -> None:
    blob = store.blobs.path("xxh3-128:" + "1" * 32)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"?" * 5000)
    os.utime(blob, None if mtime is None else (mtime, mtime))
    sweep(store, time.time(), max_size=math.inf)
    assert blob.exists()
    assert store.totals().exclusive == blob.stat().st_blocks * 512


def test_a_store_that_lost_its_index_while_the_clock_was_wrong_loses_no_blob(tmp_path: Path) -> None:
    with Store.open(tmp_path / "root") as store:
        entry = put(store, "a", b"a" * 5000)
    shutil.rmtree(tmp_path / "root" / "index-v1")
    with pytest.MonkeyPatch.context() as patch, Store.open(tmp_path / "root") as store:
        patch.setattr("time.time", lambda: 5.0)
        sweep(store, 5.0, max_size=math.inf)
        assert [digest for digest, _ in store.blob_rows()] == [entry.digest]
        assert put(store, "a", b"a" * 5000).digest == entry.digest
        assert store.blobs.path(entry.digest).stat().st_nlink == 1


def sweep_twice(store: Store, now: float) -> None:
    """Take what is old: it has to be so at two sweeps."""
    sweep(store, now, max_size=math.inf)
    sweep(store, now, max_size=math.inf)


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
    sweep_twice(store, time.time())
    assert [path.exists() for path in (old, young, foreign)] == [False, True, True]


def test_a_blob_with_a_damaged_row_is_no_orphan(store: Store) -> None:
    entry = put(store, "a", b"a")
    with store._index.transaction() as rows:
        rows._cache.set(f"b:{entry.digest}", "{")
    sweep(store, time.time(), max_size=math.inf)
    assert store.blobs.path(entry.digest).exists()


def test_a_living_run_whose_row_is_damaged_may_be_a_fetch(store: Store) -> None:
    claimed = partial(store, "work", 0)
    with store.run("fetch") as run_id:
        with store._index.transaction() as rows:
            rows._cache.set(f"r:{run_id}", "{")
        sweep(store, time.time(), max_size=math.inf)
        assert claimed.exists()


def test_a_claimed_partial_goes_once_no_fetch_lives(store: Store) -> None:
    claimed = partial(store, "work", 0)
    with store.run("fetch"):
        sweep(store, time.time(), max_size=math.inf)
        assert claimed.exists()
    sweep(store, time.time(), max_size=math.inf)
    assert not claimed.exists()


def test_quarantine_keeps_what_it_got_for_thirty_days_however_old_the_file_is(store: Store) -> None:
    foreign = store.root.blobs / "photo.jpg"
    foreign.write_bytes(b"mine")
    os.utime(foreign, (1.0, 1.0))
    store.quarantine_file(foreign)
    sweep_twice(store, time.time() + 29 * DAY)
    assert [path.read_bytes() for path in store.root.quarantine.iterdir()] == [b"mine"]
    sweep_twice(store, time.time() + 31 * DAY)
    assert list(store.root.quarantine.iterdir()) == []


def test_a_deleted_bundle_is_forgotten_and_one_on_an_unplugged_disk_is_not(store: Store, tmp_path: Path) -> None:
    for dest in (tmp_path / "deleted", tmp_path / "unplugged" / "bundle", tmp_path / "living"):
        store.register(Bundle(dest, dest.name, 0.0, ()))
    (tmp_path / "living").mkdir()
    sweep(store, time.time(), max_size=math.inf)
    assert sorted(bundle.name for bundle in store.bundles()) == ["bundle", "living"]


def test_a_pinned_blob_whose_file_is_gone_costs_nothing_any_more(store: Store) -> None:
    entry = put(store, "1", b"1" * 5000)
    store.pin(Track("s", "1"), pinned=True)
    store.blobs.remove(entry.digest)
    sweep(store, time.time(), max_size=math.inf)
    assert store.totals().exclusive == 0
    assert [kept.pinned for kept in store.entries()] == [True]


@pytest.mark.parametrize("days", [400, -400])
def test_one_sweep_under_a_wrong_clock_takes_nothing_for_its_age(store: Store, days: int) -> None:
    kept = partial(store, "part", 6 * DAY)
    quarantine(store, "photo.jpg", 5000)
    sweep(store, time.time(), max_size=math.inf)
    sweep(store, time.time() + days * DAY, max_size=math.inf)
    sweep(store, time.time(), max_size=math.inf)
    assert kept.exists()
    assert len(quarantined(store)) == 1


def test_one_sweep_under_a_clock_that_is_ahead_takes_no_edit_of_today(store: Store) -> None:
    for name in ("edit", "newest"):
        quarantine(store, name, 8192)
    sweep(store, time.time(), max_size=0)
    assert foresee(store, time.time() + 2 * DAY, max_size=0).quarantine == 0
    sweep(store, time.time() + 2 * DAY, max_size=0)
    assert quarantined(store) == ["edit", "newest"]


def quarantine(store: Store, name: str, size: int) -> None:
    (store.root.blobs / name).write_bytes(b"?" * size)
    store.quarantine_file(store.root.blobs / name)


def quarantined(store: Store) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in store.root.quarantine.iterdir())


def test_quarantine_has_a_tenth_of_max_size_for_the_newest_it_got(store: Store) -> None:
    for name in ("oldest", "older", "newest"):
        quarantine(store, name, 8192)
    (store.root.quarantine / "thesis.txt").write_bytes(b"?" * 100_000)
    later = time.time() + 2 * DAY
    sweep(store, later, max_size=math.inf)
    sweep(store, later, max_size=3 * 81_920)
    assert quarantined(store) == ["", "newest", "older", "oldest"]
    sweep(store, later, max_size=2 * 81_920)
    assert quarantined(store) == ["", "newest", "older"]
    sweep(store, later, max_size=0)
    assert (store.root.quarantine / "thesis.txt").exists()
    assert quarantined(store) == ["", "newest"]


def test_what_quarantine_got_within_a_day_stays_whatever_room_there_is(store: Store) -> None:
    for name in ("older", "newest"):
        quarantine(store, name, 8192)
    for _ in range(2):
        sweep(store, time.time() + DAY - 60, max_size=0)
    assert quarantined(store) == ["newest", "older"]
    sweep(store, time.time() + DAY + 60, max_size=math.inf)
    assert foresee(store, time.time() + DAY + 60, max_size=0).quarantine == 8192
    trim_quarantine(store, time.time() + 2 * DAY + 120, max_size=0)  # a day after a sweep that found it that old
    assert quarantined(store) == ["newest"]


def test_what_cannot_be_removed_from_quarantine_is_told_and_what_has_another_name_frees_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fixed", "linked", "plain"):
        quarantine(store, name, 8192)
    for path in store.root.quarantine.glob("linked-*"):
        (tmp_path / "elsewhere").hardlink_to(path)
    unlink = Path.unlink

    def fixed(path: Path, *, missing_ok: bool = False) -> None:
        if path.name.startswith("fixed-"):
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", fixed)
    outcomes = {path.name.rpartition("-")[0]: outcome for path, outcome in empty_quarantine(store)}
    assert outcomes == {"fixed": "Operation not permitted", "linked": 0, "plain": 8192}
    assert quarantined(store) == ["fixed"]


def test_a_folder_that_somebody_else_put_into_quarantine_is_named_and_all_else_goes(
    store: Store, tmp_path: Path
) -> None:
    folder = store.root.quarantine
    for name in ("mine", f"index-{1:019}"):
        (folder / name).mkdir()
        (folder / name / "file").write_bytes(b"?" * 8192)
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(tmp_path)
    outcomes = {path.name: outcome for path, outcome in empty_quarantine(store)}
    assert str(outcomes.pop("mine")).startswith("a folder that cachestore has not put there")
    assert {*outcomes} == {f"index-{1:019}", "link", "pipe"}
    assert outcomes[f"index-{1:019}"] == 8192
    assert [path.name for path in folder.iterdir()] == ["mine"]
    assert tmp_path.is_dir()


def test_what_nobody_has_written_to_goes_before_what_may_be_an_edit(store: Store) -> None:
    quarantine(store, "edit", 8192)
    for name in ("rot", "later"):
        rotten = put(store, name, name.encode() * 3000)
        store.blobs.move(rotten.digest, store.root.quarantine, is_rot=True)
    sweep(store, time.time(), max_size=250_000)
    assert [name[:4] for name in quarantined(store) if not name.endswith(".rot")] == ["edit"]
    assert len(quarantined(store)) == 2
    assert give_up_quarantine(store, time.time(), 100_000)
    assert quarantined(store) == ["edit"]
    assert not give_up_quarantine(store, time.time(), 100_000)
    assert give_up_quarantine(store, time.time() + 2 * DAY, 100_000) is False


@pytest.mark.parametrize("place", ["partials-v1", "runs-v1", "quarantine-v1"])
def test_what_somebody_put_into_a_folder_of_the_store_under_a_name_of_ours_stops_no_sweep(
    store: Store, tmp_path: Path, place: str
) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").write_text("mine")
    for number, name in enumerate((f"{'{0}' * 32}.{'1' * 32}.part", f"{'{0}' * 32}.lock", "{0}" * 32, "x-{0}")):
        folder, link = (store.root.path / place / name.format(digit) for digit in (number, number + 5))
        folder.mkdir()
        (folder / "file").write_text("mine")
        link.symlink_to(tmp_path / "documents")
        os.utime(folder, (1.0, 1.0))
        os.utime(link, (1.0, 1.0), follow_symlinks=False)
    (store.root.path / place / "mix-2024").write_text("mine")
    sweep_twice(store, time.time())
    assert (tmp_path / "documents" / "thesis.txt").exists()
    assert (store.root.path / place / "mix-2024").exists()


def test_what_a_sweep_would_do_can_be_asked_where_folders_are_gone(tmp_path: Path) -> None:
    with Store.open(tmp_path / "root") as store:
        put(store, "a", b"a")
    for name in ("runs-v1", "partials-v1", "quarantine-v1"):
        shutil.rmtree(tmp_path / "root" / name)
    with StoreReader.open_readonly(tmp_path / "root") as reader:
        assert foresee(reader, time.time(), max_size=0) == Leftovers()


def test_the_rows_of_lost_blobs_that_a_living_run_has_leased_stay_and_cost_nothing(store: Store) -> None:
    entry, other = put(store, "a", b"a" * 5000), put(store, "b", b"b" * 5000)
    drop_rows(store, ENTRIES.key(other.key), BLOBS.key(other.digest))
    store.bill([other.digest])
    with store.run("export") as run_id:
        store.lease(run_id, [entry.digest, other.digest])
        for digest in (entry.digest, other.digest):
            store.blobs.remove(digest)
        left = foresee(store, time.time(), max_size=math.inf)
        totals = store.totals() + left.change
        sweep(store, time.time(), max_size=math.inf)
        assert store.totals() == totals == Totals(entries=1, blobs=2, logical=10_000)


def test_a_blob_that_was_gone_and_is_downloaded_while_a_sweep_looks_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "a", b"a" * 5000)
    store.blobs.remove(entry.digest)
    evict = store.evict

    def late(keys: Sequence[str], may_go: MayGo) -> list[Eviction]:
        with Store.open(store.root.path) as other:
            put(other, "a", b"a" * 5000)
        return evict(keys, may_go)

    monkeypatch.setattr(store, "evict", late)
    sweep(store, time.time(), max_size=math.inf)
    assert store.find(Track("s", "a")) is not None
    assert store.totals() == counted(store)
