"""The store: rows and blobs that change together."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import sqlite3
import stat
import time
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachestore.blobs import BlobDigest, hash_file, is_rot, witness_of
from cachestore.errors import BlobDamaged, DigestCollision, NoSpace, NotInCache, RootMissing
from cachestore.links import LinkMode
from cachestore.prune import Limits, apply, plan_for
from cachestore.rows import Bundle, BundleFile
from cachestore.store import publish as publishing
from cachestore.store.ledger import Ledger
from cachestore.store.reader import StoreReader
from cachestore.store.writer import Store
from cachestore.sweep import sweep
from cachestore.track import Track, parse_address
from cachestore.usage import usage
from cachestore.verify import repair
from cachestore.version import Version, VersionKind
from tests.library import make_colliding_waves
from tests.stores import count_hashes, drop_rows, etag, held_staging, incoming, put, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "root") as opened:
        yield opened


def test_a_body_that_was_put_is_found_with_its_bytes_under_its_digest_and_read_only(store: Store) -> None:
    entry = put(store, "t1", b"one")
    assert store.find(Track("s", "t1")) == entry
    blob = store.blobs.path(entry.digest)
    assert blob.read_bytes() == b"one"
    assert hash_file(blob) == entry.digest
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444


def test_the_finished_partial_becomes_the_blob_and_leaves_nothing_behind(store: Store) -> None:
    put(store, "t1", b"one")
    assert list(store.root.partials.iterdir()) == []


def test_two_tracks_with_equal_bytes_share_one_blob(store: Store) -> None:
    one, other = put(store, "t1", b"same"), put(store, "t2", b"same")
    assert one.digest == other.digest
    assert one.key != other.key
    assert [row.keys for _, row in store.blob_rows()] == [(one.key, other.key)]


def test_equal_ids_of_two_sources_never_meet(store: Store) -> None:
    put(store, "t1", b"of s", source="s")
    put(store, "t1", b"of r", source="r")
    found = [store.find(Track(source, "t1")) for source in "sr"]
    assert [store.blobs.path(entry.digest).read_bytes() for entry in found if entry] == [b"of s", b"of r"]


def test_a_new_version_is_current_and_the_old_one_is_kept(store: Store) -> None:
    old, new = put(store, "t1", b"old", version=etag("1")), put(store, "t1", b"new", version=etag("2"))
    track = Track("s", "t1")
    assert store.find(track) == new
    assert store.kept([track]) == {"s:t1": [new, old]}
    assert store.find(Track("s", "t1", version=old.version.hex)) == old
    assert store.find(Track("s", "t1", version='"1"')) == old


def test_a_validator_that_comes_back_with_other_bytes_gets_a_key_of_its_own(store: Store) -> None:
    old, new = put(store, "t1", b"old", version=etag("1")), put(store, "t1", b"new", version=etag("1"))
    assert old.key != new.key
    assert new.version.digest == new.digest
    assert store.blobs.path(old.digest).read_bytes() == b"old"
    assert put(store, "t1", b"new", version=etag("1")).key == new.key


def test_a_body_without_any_version_is_named_by_its_own_digest(store: Store) -> None:
    entry = put(store, "t1", b"one", version=None)
    assert entry.version == Version(VersionKind.DIGEST, entry.digest)


def test_bytes_are_compared_when_the_digest_is_there_already(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = put(store, "t1", b"one")
    forged = incoming(store, "t2", b"two", digest=kept.digest)
    monkeypatch.setattr(publishing, "hash_file", lambda _: kept.digest)
    with pytest.raises(DigestCollision):
        store.put([forged])
    assert store.find(Track("s", "t2")) is None
    assert store.blobs.path(kept.digest).read_bytes() == b"one"


def test_two_bodies_of_one_batch_are_compared_with_each_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one = incoming(store, "t1", b"one")
    forged = incoming(store, "t2", b"two", digest=one.digest)
    monkeypatch.setattr(publishing, "hash_file", lambda _: one.digest)
    with pytest.raises(DigestCollision):
        store.put([one, forged])
    assert list(store.entries()) == []
    assert (one.path.read_bytes(), forged.path.read_bytes()) == (b"one", b"two")


def test_equal_bodies_of_one_batch_are_published_in_one_transaction(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_compare", Mock(side_effect=[None]))  # there is no second time
    one, other = store.put([incoming(store, "t1", b"same"), incoming(store, "t2", b"same")])
    assert [row.keys for _, row in store.blob_rows()] == [(one.key, other.key)]
    assert [store.find(Track("s", name)) for name in ("t1", "t2")] == [one, other]
    assert list(store.root.partials.iterdir()) == []


def test_two_bodies_that_were_made_to_collide_are_told_apart(store: Store) -> None:
    one, other = make_colliding_waves()
    both = [incoming(store, "t1", one), incoming(store, "t2", other)]
    assert one != other
    assert both[0].digest == both[1].digest
    with pytest.raises(DigestCollision):
        store.put(both)
    entry = put(store, "t1", one)
    with pytest.raises(DigestCollision):
        put(store, "t2", other)
    assert store.blobs.path(entry.digest).read_bytes() == one


def test_bodies_whose_rows_find_no_room_are_where_they_were(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "t0", b"one")
    bodies = [incoming(store, name, data) for name, data in [("t1", b"one"), ("t2", b"two"), ("t3", b"two")]]
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "settle", Mock(side_effect=full))
        with pytest.raises(NoSpace):
            store.put(bodies)
    assert [item.path.read_bytes() for item in bodies] == [b"one", b"two", b"two"]
    assert [store.blobs.stat(item.digest) is None for item in bodies] == [False, True, True]
    assert [entry.id for entry in store.put(bodies)] == ["t1", "t2", "t3"]
    assert list(store.root.partials.iterdir()) == []


def test_a_body_that_is_gone_is_not_taken_for_a_blob_that_is(store: Store) -> None:
    put(store, "t1", b"one")
    gone = incoming(store, "t2", b"one")
    gone.path.unlink()
    with pytest.raises(FileNotFoundError):
        store.put([gone])


def test_a_blob_changed_between_compare_and_publish_is_compared_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = put(store, "t1", b"one")
    compare, compared = publishing.compare, []

    def change_afterwards(*args: object) -> object:
        compared.append(compare(*args))  # type: ignore[arg-type]
        if len(compared) == 1:
            _overwrite(store.blobs.path(kept.digest), b"0ne")
        return compared[-1]

    monkeypatch.setattr("cachestore.store.writer.compare", change_afterwards)
    entry = put(store, "t2", b"one")
    assert store.blobs.path(entry.digest).read_bytes() == b"one"
    assert [path.read_bytes() for path in store.root.quarantine.iterdir()] == [b"0ne"]


@pytest.mark.parametrize("plant", ["folder", "pipe", "symlink"])
def test_what_is_no_file_in_the_place_of_a_blob_is_a_miss_and_is_put_away(
    store: Store, tmp_path: Path, plant: str
) -> None:
    entry = put(store, "t1", b"one")
    place = store.blobs.path(entry.digest)
    place.unlink()
    (tmp_path / "equal").write_bytes(b"one")
    if plant == "folder":
        place.mkdir()
    elif plant == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(tmp_path / "equal")
    assert store.find(Track("s", "t1")) is None
    again = put(store, "t1", b"one")
    assert store.find(Track("s", "t1")) == again
    assert place.read_bytes() == b"one"
    assert not place.is_symlink()


def test_what_is_no_file_in_the_place_of_a_blob_does_not_stop_an_eviction(store: Store) -> None:
    entry = put(store, "t1", b"one")
    store.blobs.path(entry.digest).unlink()
    store.blobs.path(entry.digest).mkdir()
    assert store.evict([entry.key])[0].kept_because == ""
    assert list(store.entries()) == []


def test_tracks_that_share_a_damaged_blob_share_it_again_once_its_bytes_came(store: Store) -> None:
    one, other = put(store, "t1", b"same"), put(store, "t2", b"same")
    store.blobs.path(one.digest).unlink()
    store.retire(one.digest)
    assert store.find(Track("s", "t2")) is None
    put(store, "t1", b"same")
    store.evict([one.key])
    assert store.find(Track("s", "t2")) == other


def test_a_blob_that_healed_since_it_was_judged_is_not_retired(store: Store) -> None:
    entry = put(store, "t1", b"one")
    store.retire(entry.digest)
    assert store.find(Track("s", "t1")) == entry


def test_an_edit_while_a_link_is_made_is_not_taken_for_our_own_doing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "t1", b"one")

    def link_and_edit(source: Path, dest: Path, mode: LinkMode) -> LinkMode:
        os.link(source, dest)
        _overwrite(dest, b"0ne")
        return mode

    monkeypatch.setattr("cachestore.links.link", link_and_edit)
    store.link(entry, tmp_path / "a", LinkMode.HARDLINK)
    store.flush()
    assert store.find(Track("s", "t1")) is None


def test_a_copy_of_a_blob_that_is_edited_meanwhile_is_not_left(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "t1", b"one")
    store.link(entry, tmp_path / "a", LinkMode.HARDLINK)

    def copy_and_edit(source: str, dest: Path, mode: LinkMode) -> LinkMode:
        _overwrite(tmp_path / "a", b"0ne")
        shutil.copyfile(source, dest)
        return mode

    monkeypatch.setattr("cachestore.links.link", copy_and_edit)
    with pytest.raises(BlobDamaged):
        store.link(entry, tmp_path / "b", LinkMode.COPY)
    assert not (tmp_path / "b").exists()
    assert (tmp_path / "a").read_bytes() == b"0ne"


def test_a_copy_of_a_blob_that_was_only_linked_meanwhile_is_made_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "t1", b"one")
    made: list[Path] = []

    def copy_and_link(source: Path, dest: Path, mode: LinkMode) -> LinkMode:
        if not made:
            os.link(source, tmp_path / "a")
        made.append(dest)
        shutil.copyfile(source, dest)
        return mode

    monkeypatch.setattr("cachestore.links.link", copy_and_link)
    assert store.link(entry, tmp_path / "b", LinkMode.COPY) is LinkMode.COPY
    assert (tmp_path / "b").read_bytes() == b"one"
    assert len(made) == 2


def test_a_version_confirmed_before_another_was_published_does_not_become_current_again(tmp_path: Path) -> None:
    with Store.open(tmp_path) as mine, Store.open(tmp_path) as theirs:
        old = put(mine, "t1", b"old", version=etag("1"))
        mine.validated(old)
        new = put(theirs, "t1", b"new", version=etag("2"))
        mine.flush()
        assert theirs.find(Track("s", "t1")) == new


def test_a_clock_that_was_once_ahead_does_not_rule_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: now + 10**8)
        entry = put(store, "t1", b"one")
    store.used([entry])
    store.flush()
    assert [found.used_at for found in store.entries()] == [pytest.approx(now, abs=60)]


DAMAGE = ['{"size":"1"}', "[]", "{", '{"used_at":"x"}', '{"kept":[1],"pinned":0}', '{"hits":"x"}', "null"]


@pytest.mark.parametrize("text", DAMAGE)
@pytest.mark.parametrize("kind", ["t:s:t1", "e:", "b:", "meta", "x:1", "r:" + "0" * 32])
def test_a_damaged_row_wedges_nothing_and_repair_drops_it(tmp_path: Path, kind: str, text: str) -> None:
    with Store.open(tmp_path) as store:
        entry, other = put(store, "t1", b"one"), put(store, "t2", b"two")
        key = {"e:": f"e:{entry.key}", "b:": f"b:{entry.digest}"}.get(kind, kind)
        with store._index.transaction() as rows:
            rows._cache.set(key, text)
    with Store.open(tmp_path) as store:
        assert store.find(Track("s", "t2")) == other
        store.find(Track("s", "t1"))
        usage(store)
        sweep(store, time.time(), max_size=math.inf)
        apply(store, plan_for(store, Limits(max_size=10**9), time.time()))
        list(repair(store, verify(store).problems))
    with Store.open(tmp_path) as store:
        assert put(store, "t1", b"one").digest == entry.digest
        assert [problem for problem in verify(store).problems if problem.kind == "damaged-row"] == []
        assert store.find(Track("s", "t2")) == other


def test_a_damaged_blob_does_not_stand_in_the_way_of_its_own_bytes(store: Store) -> None:
    entry = put(store, "t1", b"one")
    _overwrite(store.blobs.path(entry.digest), b"bad")
    again = put(store, "t1", b"one")
    assert store.find(Track("s", "t1")) == again
    assert store.blobs.path(entry.digest).read_bytes() == b"one"
    assert [path.read_bytes() for path in store.root.quarantine.iterdir()] == [b"bad"]


@pytest.mark.parametrize("bytes_now", [b"0ne", b"on", b"one more"])
def test_a_blob_that_was_edited_is_a_miss_even_when_its_mtime_was_restored(store: Store, bytes_now: bytes) -> None:
    entry = put(store, "t1", b"one")
    blob = store.blobs.path(entry.digest)
    before = blob.stat()
    _overwrite(blob, bytes_now)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.find(Track("s", "t1")) is None


def test_a_blob_that_was_only_touched_is_hashed_once_and_then_trusted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "t1", b"one")
    os.utime(store.blobs.path(entry.digest))
    hashed = count_hashes(monkeypatch)
    assert store.find(Track("s", "t1")) == entry
    store.flush()
    assert store.find(Track("s", "t1")) == entry
    assert len(hashed) == 1


def test_after_a_reboot_a_blob_is_hashed_once_and_then_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path) as store:
        put(store, "t1", b"one")
    monkeypatch.setattr("cachestore.store.housekeeping.boot_id", lambda: "another boot")
    hashed = count_hashes(monkeypatch)
    for _ in range(2):
        with Store.open(tmp_path) as store:
            assert store.find(Track("s", "t1")) is not None
    assert len(hashed) == 1


def test_a_blob_without_a_row_is_a_miss(store: Store) -> None:
    entry = put(store, "t1", b"one")
    drop_rows(store, f"b:{entry.digest}")
    assert store.find(Track("s", "t1")) is None


def test_a_row_without_a_blob_is_a_miss(store: Store) -> None:
    entry = put(store, "t1", b"one")
    store.blobs.path(entry.digest).unlink()
    assert store.find(Track("s", "t1")) is None


def test_linking_gives_a_hard_link_and_does_not_cause_another_hash(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "t1", b"one")
    hashed = count_hashes(monkeypatch)
    for name in "abc":
        assert store.link(entry, tmp_path / name, LinkMode.AUTO) is LinkMode.HARDLINK
    store.flush()
    assert store.find(Track("s", "t1")) == entry
    assert hashed == []
    assert (tmp_path / "a").stat().st_ino == store.blobs.path(entry.digest).stat().st_ino


def test_linking_never_overwrites(store: Store, tmp_path: Path) -> None:
    entry = put(store, "t1", b"one")
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        store.link(entry, tmp_path / "a", LinkMode.AUTO)
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_an_edit_through_a_bundle_is_noticed_the_bundle_keeps_the_work_and_is_named(
    store: Store, tmp_path: Path
) -> None:
    entry = put(store, "t1", b"one")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    store.link(entry, bundle / "01.wav", LinkMode.HARDLINK)
    store.register(_bundle(bundle, entry.digest))
    _overwrite(bundle / "01.wav", b"0ne")
    with pytest.raises(BlobDamaged) as caught:
        store.link(entry, tmp_path / "other", LinkMode.AUTO)
    assert caught.value.bundles == (str(bundle),)
    assert str(bundle) in str(caught.value)
    assert (bundle / "01.wav").read_bytes() == b"0ne"
    assert not store.blobs.path(entry.digest).exists()
    assert list(store.root.quarantine.iterdir()) == []


@pytest.mark.parametrize("by_disk", [True, False])
def test_a_damaged_file_that_nobody_else_has_is_kept_and_named_and_what_a_disk_did_is_told_from_an_edit(
    store: Store, tmp_path: Path, *, by_disk: bool
) -> None:
    entry = put(store, "t1", b"one")
    blob = store.blobs.path(entry.digest)
    _overwrite(blob, b"0ne")
    if by_disk:  # as if its stat had always been this one
        with store._transaction() as ledger:
            row = ledger.blob(entry.digest)
            assert row is not None
            ledger.put_blob(entry.digest, row._replace(witness=witness_of(blob.stat()), boot="another"))
    with pytest.raises(BlobDamaged) as caught:
        store.link(entry, tmp_path / "other", LinkMode.AUTO)
    [kept] = store.root.quarantine.iterdir()
    assert caught.value.quarantined == kept
    assert f"; it is kept at {kept};" in str(caught.value)
    assert kept.read_bytes() == b"0ne"
    assert is_rot(kept.name) is by_disk


def test_a_bundle_that_is_being_staged_is_not_named_as_one_that_shares_a_file(store: Store, tmp_path: Path) -> None:
    entry = put(store, "t1", b"one")
    with store.run("export") as run_id:
        staging = held_staging(store, run_id, tmp_path / "Friday", entry)
        assert store.totals().held > 0
        _overwrite(staging / "01.wav", b"0ne")
        assert [problem.bundles for problem in verify(store).problems] == [()]
        with pytest.raises(BlobDamaged) as caught:
            store.link(entry, tmp_path / "other", LinkMode.AUTO)
        assert caught.value.bundles == ()


def test_evicting_the_last_entry_of_a_blob_removes_it_and_evicting_another_does_not(store: Store) -> None:
    one, other = put(store, "t1", b"same" * 5000), put(store, "t2", b"same" * 5000)
    [first] = store.evict([one.key])
    assert first.freed == 0
    assert store.find(Track("s", "t2")) == other
    [second] = store.evict([other.key])
    assert second.freed >= 20000
    assert not store.blobs.path(one.digest).exists()
    assert list(store.entries()) == []
    assert list(store.blob_rows()) == []


def test_what_must_stay_stays_and_says_why(store: Store) -> None:
    entry = put(store, "t1", b"one")
    [eviction] = store.evict([entry.key], lambda *_: "pinned")
    assert eviction.kept_because == "pinned"
    assert store.find(Track("s", "t1")) == entry


def test_what_a_living_run_leases_stays(tmp_path: Path) -> None:
    with Store.open(tmp_path) as mine, Store.open(tmp_path) as theirs:
        entry = put(mine, "t1", b"one")
        with mine.run("export") as run:
            mine.lease(run, [entry.digest])
            assert theirs.evict([entry.key])[0].kept_because == "in use by a running export"
        assert theirs.evict([entry.key])[0].kept_because == ""


def test_a_pin_of_a_track_follows_its_newest_version(store: Store) -> None:
    put(store, "t1", b"old", version=etag("1"))
    track = Track("s", "t1")
    store.pin(track, pinned=True)
    put(store, "t1", b"new", version=etag("2"))
    assert [(entry.version.value, entry.pinned) for entry in store.kept([track])["s:t1"]] == [
        ('"2"', True),
        ('"1"', False),
    ]
    assert [entry.pinned for entry in store.entries()].count(True) == 1


def test_a_pin_of_a_version_stays_with_it(store: Store) -> None:
    old = put(store, "t1", b"old", version=etag("1"))
    store.pin(parse_address(old.key), pinned=True)
    put(store, "t1", b"new", version=etag("2"))
    assert [entry.version.value for entry in store.entries() if entry.pinned] == ['"1"']
    store.pin(Track("s", "t1"), pinned=False)
    assert not any(entry.pinned for entry in store.entries())


def test_pinning_what_is_not_there_names_it(store: Store) -> None:
    with pytest.raises(NotInCache, match="s:none is not in the cache"):
        store.pin(Track("s", "none"), pinned=True)


def test_ids_with_awkward_characters_come_back_as_they_went(store: Store) -> None:
    for awkward in ("a@b", "100%", "a:b", "ünïcode ♫", "../../etc/passwd", "x\ny"):
        entry = put(store, awkward, awkward.encode())
        assert store.find(Track("s", awkward)) == entry
        assert store.find(parse_address(entry.key)) == entry


def test_looking_writes_nothing_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RootMissing):
        StoreReader.open_readonly(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
    with Store.open(tmp_path / "root") as store:
        entry = put(store, "t1", b"one")
    before = _snapshot(tmp_path)
    with StoreReader.open_readonly(tmp_path / "root") as reader:
        assert list(reader.entries()) == [entry]
        assert reader.kept([Track("s", "t1")]) == {"s:t1": [entry]}
        assert reader.holders_of([entry.digest]) == {}
        assert reader.held_change().gained == {}
    assert _snapshot(tmp_path) == before


def test_processes_that_publish_at_once_lose_nothing(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_publish_many, args=(tmp_path, number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    with Store.open(tmp_path) as store:
        assert len(list(store.entries())) == 3 * 20
        assert len(list(store.blob_rows())) == 20
        assert all(store.is_whole(entry) for entry in store.entries())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "evict"]), st.integers(0, 3), st.integers(0, 2)), max_size=25))
def test_any_sequence_of_puts_and_evictions_agrees_with_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    model: dict[str, bytes] = {}
    with Store.open(tmp_path_factory.mktemp("store")) as store:
        for verb, track, content in steps:
            data = bytes([content]) * 10
            if verb == "put":
                model[put(store, str(track), data, version=etag(str(content))).key] = data
            else:
                key = f"s:{track}@{etag(str(content)).hex}"
                store.evict([key])
                model.pop(key, None)
        stored = {entry.key: store.blobs.path(entry.digest).read_bytes() for entry in store.entries()}
        assert stored == model
        assert {digest for digest, _ in store.blob_rows()} == {_digest(data) for data in model.values()}
        assert len(list(store.blobs.iterate())) == len(set(model.values()))


def _digest(data: bytes) -> str:
    running = BlobDigest()
    running.update(data)
    return running.hexdigest()


def _publish_many(root: Path, number: int) -> None:
    with Store.open(root) as store:
        for content in range(20):
            put(store, f"{number}-{content}", f"content {content}".encode())


def _bundle(dest: Path, digest: str) -> Bundle:
    return Bundle(dest, "b", 0.0, (BundleFile("01.wav", digest, LinkMode.HARDLINK),))


def _overwrite(path: Path, data: bytes) -> None:
    """Write into the same inode, as an editor with its own ideas would."""
    path.chmod(0o644)
    path.write_bytes(data)


def _snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file but the two by which SQLite's readers and writers keep out of each other's way."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
