"""Sweep: what crashes leave behind goes, and nothing else."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from cachestore.links import LinkMode
from cachestore.rows import RUN, Bundle, RunRow
from cachestore.store.writer import Store
from cachestore.sweep import sweep
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


def die(store: Store, staging: Path) -> None:
    """Leave what a run leaves that was killed while it was linking into `staging`."""
    staging.mkdir()
    entry = put(store, "linked", b"linked")
    store.link(entry, staging / "01.wav", LinkMode.HARDLINK)
    (store.root.runs / DEAD).touch()
    with store._index.transaction() as rows:
        rows.set(RUN + DEAD, RunRow("export", 0.0, str(staging), None, (entry.digest,)).to_row())


def test_the_staging_folder_row_and_lock_file_of_a_dead_run_go(store: Store, tmp_path: Path) -> None:
    staging = tmp_path / f".bundle.cachestore-{DEAD}"
    die(store, staging)
    sweep(store, time.time())
    assert not staging.exists()
    assert list(store.runs()) == []
    assert list(store.root.runs.iterdir()) == []
    assert [entry.id for entry in store.entries()] == ["linked"]


def test_a_folder_that_does_not_bear_the_runs_name_is_never_removed(store: Store, tmp_path: Path) -> None:
    staging = tmp_path / "my music"
    die(store, staging)
    sweep(store, time.time())
    assert (staging / "01.wav").exists()


def test_a_living_run_keeps_everything(store: Store, tmp_path: Path) -> None:
    with store.run("export", staging=lambda run_id: tmp_path / run_id) as run_id:
        sweep(store, time.time() + 30 * DAY)
        assert [living for living, _ in store.runs()] == [run_id]


def test_a_blob_whose_publishing_crashed_goes_and_one_older_than_the_index_stays(store: Store) -> None:
    entry = put(store, "a", b"a")
    orphan, older = store.blobs.path("xxh3-128:" + "1" * 32), store.blobs.path("xxh3-128:" + "2" * 32)
    for path in (orphan, older):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"?")
    created_at = store.meta()["created_at"]
    with store._index.transaction() as rows:
        rows.set("meta", store.meta() | {"created_at": time.time() + DAY})
    sweep(store, time.time())
    assert orphan.exists()
    with store._index.transaction() as rows:
        rows.set("meta", store.meta() | {"created_at": created_at})
    sweep(store, time.time())
    assert not orphan.exists()
    assert store.is_whole(entry)


def test_partials_and_quarantine_go_after_their_age(store: Store) -> None:
    now = time.time()
    for folder, age in ((store.root.partials, 7 * DAY), (store.root.quarantine, 30 * DAY)):
        for name, back in (("old", age + 60), ("young", age - 60)):
            (folder / name).write_bytes(b"?")
            os.utime(folder / name, (now - back, now - back))
    sweep(store, now)
    assert [path.name for path in store.root.partials.iterdir()] == ["young"]
    assert [path.name for path in store.root.quarantine.iterdir()] == ["young"]


def test_a_deleted_bundle_is_forgotten_and_one_on_an_unplugged_disk_is_not(store: Store, tmp_path: Path) -> None:
    for dest in (tmp_path / "deleted", tmp_path / "unplugged" / "bundle", tmp_path / "living"):
        store.register(Bundle(dest, dest.name, 0.0, ()))
    (tmp_path / "living").mkdir()
    sweep(store, time.time())
    assert sorted(bundle.name for bundle in store.bundles()) == ["bundle", "living"]
