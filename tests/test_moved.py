"""A store that was copied or moved: what its rows say of bundles and runs is true of another one, and is forgotten."""

from __future__ import annotations

import math
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from cachestore.blobs import Blobs, hash_file
from cachestore.boot import boot_id
from cachestore.links import LinkMode
from cachestore.prune import Limits, apply, plan_for, prune
from cachestore.rows import Bundle, BundleFile, Home, RunRow, Totals
from cachestore.runs import staging_suffix
from cachestore.store.reader import StoreReader
from cachestore.store.writer import Store
from cachestore.sweep import foresee, sweep
from cachestore.track import Track
from cachestore.usage import usage
from tests.stores import count_hashes, put

if TYPE_CHECKING:
    from pathlib import Path

    from cachestore.entry import Entry


@pytest.fixture(params=["the same disk", "another disk"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return where no store is yet."""
    folder: Path = tmp_path if request.param == "the same disk" else request.getfixturevalue("another_disk")
    return folder / "elsewhere"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def export(store: Store, dest: Path, *entries: Entry) -> None:
    """Make and register a bundle whose folder has not changed for long."""
    dest.mkdir()
    for entry in entries:
        store.link(entry, dest / f"{entry.id}.wav", LinkMode.HARDLINK)
    os.utime(dest, (100, 100))
    files = (BundleFile(f"{entry.id}.wav", entry.digest, LinkMode.HARDLINK) for entry in entries)
    store.register(Bundle(dest, dest.name, 0.0, tuple(files)))


def filled(root: Path, bundle: Path) -> list[Entry]:
    """Make a store of four blobs, two of them in a bundle, and return these."""
    with Store.open(root) as store:
        entries = [put(store, str(number), bytes([number]) * 50_000) for number in range(4)]
        export(store, bundle, *entries[:2])
        assert store.totals().held > 0
        return entries[:2]


def copy(root: Path, elsewhere: Path) -> None:
    shutil.copytree(root, elsewhere)  # as cp -a does it


def put_back(root: Path, tmp_path: Path, *entries: Entry) -> None:
    """Give blobs the files that a backup has of them."""
    for entry in entries:
        blob = Blobs(root / "blobs-v1").path(entry.digest)
        shutil.copy2(blob, tmp_path / "backup")
        os.replace(tmp_path / "backup", blob)  # noqa: PTH105


def test_the_blobs_of_a_copied_store_are_held_by_nobody_and_go(root: Path, elsewhere: Path, tmp_path: Path) -> None:
    filled(root, tmp_path / "bundle")
    copy(root, elsewhere)
    limits = Limits(100_000)
    with StoreReader.open_readonly(elsewhere) as reader:
        assert usage(reader).held_bytes == 0
        plan = plan_for(reader, limits, time.time(), left=foresee(reader, time.time(), max_size=limits.max_size))
        foreseen = [victim.blob.digest for victim in plan]
        assert plan.over_max_size == 0
        assert all(not reader.held_change().is_held(digest, row) for digest, row in reader.blob_rows())
    with Store.open(elsewhere) as store:
        made = prune(store, limits, time.time())
        outcomes = list(apply(store, made))
        assert [outcome.victim.blob.digest for outcome in outcomes] == foreseen
        assert all(outcome.freed for outcome in outcomes)
        assert store.totals().held == 0
        assert store.totals().exclusive <= limits.max_size
    with StoreReader.open_readonly(root) as original:
        assert original.totals().held == usage(original).held_bytes > 0
        assert (tmp_path / "bundle" / "0.wav").stat().st_nlink == 2


def test_each_blob_of_a_copied_store_is_hashed_once(
    root: Path, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = filled(root, tmp_path / "bundle")
    copy(root, elsewhere)
    for times in (len(linked), 0):
        hashed = count_hashes(monkeypatch)
        with Store.open(elsewhere) as store:
            monkeypatch.setattr(store._ticks, "may_hide", lambda *_: False)
            assert store.whole(linked) == linked
        assert len(hashed) == times


def test_the_store_that_was_moved_evicts_what_lost_its_bundles(root: Path, elsewhere: Path, tmp_path: Path) -> None:
    linked = filled(root, tmp_path / "bundle")
    is_rename = elsewhere.parent == tmp_path
    shutil.move(root, elsewhere)
    with Store.open(elsewhere) as store:
        sweep(store, time.time(), max_size=math.inf)
        rows = store.blob_rows_of(entry.digest for entry in linked).values()
        assert [row.is_held for row in rows] == [is_rename, is_rename]
        list(apply(store, prune(store, Limits(0), time.time())))
        assert (store.totals().blobs, store.totals().exclusive) == (2 if is_rename else 0, 0)


def test_a_store_without_bundles_is_as_it_was_wherever_it_is_moved(root: Path, elsewhere: Path) -> None:
    with Store.open(root) as store:
        entry = put(store, "1", b"1" * 50_000)
        store.pin(Track("s", "1"), pinned=True)
        totals = store.totals()
    shutil.move(root, elsewhere)
    with Store.open(elsewhere) as store:
        assert store.find(Track("s", "1")) == store.named(Track("s", "1"))[0]
        assert hash_file(store.blobs.path(entry.digest)) == entry.digest
        assert store.totals().entries == totals.entries == 1
        assert store.pinned() == {entry.key}


def test_a_store_that_is_moved_together_with_its_bundles_holds_what_they_have(root: Path, tmp_path: Path) -> None:
    """As when a disk is copied with its hard links, and the copy is mounted in its place."""
    linked = filled(root, bundle := tmp_path / "bundle")
    moved = tmp_path / "moved"
    copy(root, moved)
    with StoreReader.open_readonly(moved) as reader:
        places = {entry: reader.blobs.path(entry.digest) for entry in linked}
    for entry, place in places.items():
        (bundle / f"{entry.id}.wav").unlink()
        os.link(place, bundle / f"{entry.id}.wav")
    with StoreReader.open_readonly(moved) as reader:
        left = foresee(reader, time.time(), max_size=math.inf)
        foreseen = reader.totals() + reader.held_change().totals + left.change
    with Store.open(moved) as store:
        sweep(store, time.time(), max_size=math.inf)
        assert store.totals() == foreseen
        rows = store.blob_rows_of(entry.digest for entry in linked).values()
        assert all(row.is_held for row in rows)


def test_what_a_living_export_stages_is_not_swept_by_a_copy_of_its_store(
    root: Path, elsewhere: Path, tmp_path: Path
) -> None:
    with Store.open(root) as store, store.run("export", dest=tmp_path / "bundle") as run_id:
        entry = put(store, "1", b"1" * 50_000)
        store.lease(run_id, [entry.digest])
        staging = tmp_path / f".bundle{staging_suffix(run_id)}"
        staging.mkdir()
        store.link(entry, staging / "1.wav", LinkMode.HARDLINK)
        (staging / "copy.wav").write_bytes(b"2" * 50_000)
        copy(root, elsewhere)
        with StoreReader.open_readonly(elsewhere) as reader:
            assert foresee(reader, time.time(), max_size=math.inf).disk == 0
        with Store.open(elsewhere) as copied:
            sweep(copied, time.time(), max_size=math.inf)
            sweep(copied, time.time(), max_size=math.inf)
            assert not copied.is_alive(run_id)
            assert copied.lease_rows(run_id) == []
            with copied.run("export", dest=tmp_path / "bundle"):  # it keeps nobody out
                pass
        assert sorted(path.name for path in staging.iterdir()) == ["1.wav", "copy.wav"]
        assert [living for living, _ in store.runs()] == [run_id]


def test_what_a_killed_export_staged_goes_after_a_week_wherever_its_store_is_now(
    root: Path, elsewhere: Path, tmp_path: Path
) -> None:
    run_id = "0" * 32
    with Store.open(root) as store, store._transaction() as ledger:
        (store.root.runs / run_id).touch()
        ledger.put_run(run_id, RunRow("export", 0.0, str(tmp_path / "bundle"), reserved=10**9, announced=10**9))
    staging = tmp_path / f".bundle{staging_suffix(run_id)}"
    (staging / "media").mkdir(parents=True)
    (staging / "media" / "1.wav").write_bytes(b"1" * 50_000)
    shutil.copytree(root, elsewhere)
    shutil.rmtree(root)
    week = 7 * 86400.0
    with Store.open(elsewhere) as store:
        assert store.reserved() == store.announced() == 0
        for later in (0.0, week - 60):
            sweep(store, time.time() + later, max_size=math.inf)
            assert staging.exists()
    with Store.open(elsewhere) as store:
        sweep(store, time.time() + week + 60, max_size=math.inf)
        assert staging.exists()  # by one clock only
        frees = foresee(store, time.time() + week + 60, max_size=math.inf).disk > 0
        assert frees is (elsewhere.parent == tmp_path)
        sweep(store, time.time() + week + 60, max_size=math.inf)
        assert not staging.exists()
        assert list(store.runs()) == []


def test_the_run_of_a_copied_store_that_has_staged_nothing_is_forgotten(
    root: Path, elsewhere: Path, tmp_path: Path
) -> None:
    with Store.open(root) as store, store.run("export", dest=tmp_path / "bundle"):
        copy(root, elsewhere)
    with Store.open(elsewhere) as copied:
        sweep(copied, time.time(), max_size=math.inf)
        assert list(copied.runs()) == []


def test_a_run_that_began_in_the_copy_is_its_own(root: Path, elsewhere: Path, tmp_path: Path) -> None:
    filled(root, tmp_path / "bundle")
    copy(root, elsewhere)
    with (
        Store.open(elsewhere) as one,
        one.run("export", dest=tmp_path / "other") as run_id,
        Store.open(elsewhere) as two,
    ):
        assert [living for living, _ in two.runs()] == [run_id]


def test_another_boot_or_mount_may_call_the_same_disk_otherwise(root: Path, tmp_path: Path) -> None:
    filled(root, tmp_path / "bundle")
    info = root.stat()
    made_ns = (root / "CACHEDIR.TAG").stat().st_ctime_ns
    for home, is_moved in [
        (Home("another boot", info.st_dev + 1, info.st_ino), False),
        (Home("another boot", info.st_dev, info.st_ino + 1), True),
        # A disk that was unplugged, or a copy on another one.
        (Home(boot_id(), info.st_dev + 1, info.st_ino, made_ns), False),
        (Home(boot_id(), info.st_dev + 1, info.st_ino, made_ns - 1), True),
        (Home(boot_id(), info.st_dev + 1, info.st_ino), True),
        (Home(boot_id(), info.st_dev, info.st_ino, made_ns - 1), False),
    ]:
        with Store.open(root) as store:
            with store._transaction() as ledger:
                meta = ledger.meta()
                assert meta is not None
                ledger.put_meta(type(meta)(**{name: getattr(meta, name) for name in meta.__slots__} | {"home": home}))
            assert store.is_moved() is is_moved


def test_a_blob_that_was_put_back_from_a_backup_is_held_by_nobody(root: Path, tmp_path: Path) -> None:
    linked = filled(root, tmp_path / "bundle")
    put_back(root, tmp_path, *linked)
    with Store.open(root) as store:
        left = foresee(store, time.time(), max_size=math.inf)
        foreseen = store.totals() + store.held_change().totals + left.change
        sweep(store, time.time(), max_size=math.inf)
        assert store.totals() == foreseen
        assert store.totals().held == 0


def test_blobs_that_were_put_back_from_a_backup_are_evicted_though_their_rows_name_holders(
    root: Path, tmp_path: Path
) -> None:
    linked = filled(root, tmp_path / "bundle")
    put_back(root, tmp_path, *linked)
    with Store.open(root) as store:
        outcomes = list(apply(store, plan_for(store, Limits(0), time.time(), need=10**6)))
        assert {entry.digest for entry in linked} <= {outcome.victim.blob.digest for outcome in outcomes}
        assert [outcome for outcome in outcomes if outcome.stayed] == []
        assert store.totals() == Totals()


def test_a_file_with_the_number_of_a_blob_on_another_disk_holds_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(root) as store:
        entry = put(store, "1", b"1" * 50_000)
        bundle = tmp_path / "bundle"
        monkeypatch.setattr(type(store.root), "device", property(lambda _: bundle.stat().st_dev + 1))
        export(store, bundle, entry)
        assert store.totals().held == 0


def test_a_crash_while_a_copied_store_is_counted_anew_is_mended_at_the_next_opening(
    root: Path, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(root, tmp_path / "bundle")
    copy(root, elsewhere)

    def crash(_: Store) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as crashing:
        crashing.setattr(Store, "recount", crash)
        with pytest.raises(ZeroDivisionError):
            Store.open(elsewhere)
    with Store.open(elsewhere) as store:
        assert store.totals().held == 0
        assert store.totals().exclusive > 0
