"""Looking at bundles: who holds a blob, told without listing what has not changed."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pytest

from cachestore.blobs import witness_of
from cachestore.links import LinkMode
from cachestore.rows import BLOBS, BUNDLES, Bundle, BundleFile, Totals
from cachestore.store import looking, pending, registry
from cachestore.store.counting import counted
from cachestore.store.drafts import Draft
from cachestore.store.reader import StoreReader
from cachestore.store.writer import Store
from tests.stores import drop_rows, plant_row, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cachestore.entry import Entry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "root") as opened:
        yield opened


@pytest.fixture
def entry(store: Store) -> Entry:
    return put(store, "1", b"1" * 5000)


def export(store: Store, dest: Path, *entries: Entry, age: int = 100) -> Bundle:
    """Make and register a bundle whose folders changed `age` seconds after the beginning of time."""
    (dest / "media").mkdir(parents=True)
    for entry in entries:
        store.link(entry, dest / "media" / f"{entry.id}.wav", LinkMode.HARDLINK)
    let_time_pass(dest, age)
    files = (BundleFile(f"media/{entry.id}.wav", entry.digest, LinkMode.HARDLINK) for entry in entries)
    bundle = Bundle(dest, dest.name, 0.0, tuple(files))
    store.register(bundle)
    return bundle


def let_time_pass(dest: Path, age: int) -> None:
    for folder in (dest, dest / "media"):
        os.utime(folder, (age, age))


def is_held(store: StoreReader, entry: Entry) -> bool:
    return store.blob_rows_of([entry.digest])[entry.digest].is_held


def listings(monkeypatch: pytest.MonkeyPatch) -> list[Bundle]:
    """Return the bundles that are listed from now on."""
    seen: list[Bundle] = []
    look_at = looking.look_at

    def noting(bundle: Bundle, device: int) -> looking.Sight:
        seen.append(bundle)
        return look_at(bundle, device)

    monkeypatch.setattr(looking, "look_at", noting)
    monkeypatch.setattr(registry, "look_at", noting)
    return seen


def overtake(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Let something happen right after the next look has seen a bundle, before it writes anything of that."""
    look_at = looking.look_at

    def overtaken(bundle: Bundle, device: int) -> looking.Sight:
        sight = look_at(bundle, device)
        monkeypatch.setattr(registry, "look_at", look_at)
        do()
        return sight

    monkeypatch.setattr(registry, "look_at", overtaken)


def crash(*_: object) -> NoReturn:
    raise ZeroDivisionError


def test_a_bundle_holds_what_it_was_registered_with(store: Store, entry: Entry, tmp_path: Path) -> None:
    cost = store.totals().exclusive
    bundle = export(store, tmp_path / "a", entry)
    assert is_held(store, entry)
    assert (store.totals().exclusive, store.totals().held) == (0, cost)
    assert store.holders_of([entry.digest]) == {entry.digest: [bundle]}


def test_what_is_noted_of_blobs_and_their_entries_is_written_with_their_holders(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "_COARSE", 0.0)
    monkeypatch.setitem(vars(store._ticks), "_are_fine", True)
    store.flush()
    store.used([entry])
    bundle = export(store, tmp_path / "a", entry)
    with StoreReader.open_readonly(store.root.path) as reader:
        row = reader.blob_rows_of([entry.digest])[entry.digest]
        assert row.holders == (bundle.id,)
        assert row.witness == witness_of(store.blobs.path(entry.digest).stat())
        assert row.used_at == reader.entries_of([entry.key])[entry.key].used_at > entry.used_at
    assert list(store._pending.take()) == []


def test_only_bundles_that_changed_are_listed(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_hour_later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: an_hour_later)
    for name in "abc":
        export(store, tmp_path / name, entry)
    seen = listings(monkeypatch)
    store.look_at_bundles()
    assert store.held_change() == looking.HeldChange({}, {})
    assert seen == []
    (tmp_path / "b" / "media" / "1.wav").unlink()
    store.held_change()
    store.look_at_bundles()
    assert [bundle.name for bundle in seen] == ["b", "b"]


def test_a_folder_that_changed_just_now_is_listed_again_whatever_its_time_says(
    store: Store, entry: Entry, tmp_path: Path
) -> None:
    dest = tmp_path / "a"
    export(store, dest, entry)
    now = store.root.path.stat().st_mtime_ns
    for folder in (dest, dest / "media"):
        os.utime(folder, ns=(now, now))
    store.look_at_bundles()
    (dest / "media" / "1.wav").unlink()
    os.utime(dest / "media", ns=(now, now))
    store.look_at_bundles()
    assert not is_held(store, entry)


def test_a_folder_whose_time_was_put_back_is_listed_again(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_hour_later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: an_hour_later)
    dest = tmp_path / "a"
    export(store, dest, entry, age=100)
    (dest / "media" / "1.wav").unlink()
    let_time_pass(dest, 100)
    store.look_at_bundles()
    assert not is_held(store, entry)


def test_what_a_look_would_change_is_told_by_a_reader(store: Store, entry: Entry, tmp_path: Path) -> None:
    other = put(store, "2", b"2" * 5000)
    export(store, tmp_path / "a", entry)
    export(store, tmp_path / "b", entry, other)
    before = store.totals()
    (tmp_path / "a" / "media" / "1.wav").unlink()
    shutil.rmtree(tmp_path / "b")
    with StoreReader.open_readonly(store.root.path) as reader:
        change = reader.held_change()
        assert change.lost.keys() == {entry.digest, other.digest}
        assert not any(change.is_held(digest, row) for digest, row in reader.blob_rows())
        assert reader.totals() + change.totals == Totals(2, 2, before.logical, before.held, 0)
    assert store.totals() == before


def test_a_bundle_that_was_deleted_is_forgotten_and_one_on_an_unplugged_disk_is_not(
    store: Store, entry: Entry, tmp_path: Path
) -> None:
    export(store, tmp_path / "deleted", entry)
    export(store, tmp_path / "disk" / "unplugged", entry)
    shutil.rmtree(tmp_path / "deleted")
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    store.look_at_bundles()
    assert [bundle.name for bundle in store.bundles()] == ["unplugged"]
    assert not is_held(store, entry)
    (tmp_path / "elsewhere").rename(tmp_path / "disk")
    store.look_at_bundles()
    assert is_held(store, entry)
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    store.look_at_bundles()
    (tmp_path / "disk").mkdir()
    store.look_at_bundles()
    assert list(store.bundles()) == []


def test_a_destination_that_is_exported_to_again_holds_only_what_is_in_it_now(
    store: Store, entry: Entry, tmp_path: Path
) -> None:
    other = put(store, "2", b"2" * 5000)
    export(store, tmp_path / "a", entry)
    shutil.rmtree(tmp_path / "a")
    export(store, tmp_path / "a", other, age=200)
    assert [is_held(store, each) for each in (entry, other)] == [False, True]


def test_a_crash_between_registering_and_looking_is_mended_by_the_next_look(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = put(store, "2", b"2" * 5000)
    export(store, tmp_path / "a", entry)
    shutil.rmtree(tmp_path / "a")
    with monkeypatch.context() as crashing:
        crashing.setattr(registry, "look_at", crash)
        with pytest.raises(ZeroDivisionError):
            export(store, tmp_path / "a", other, age=200)
    assert [is_held(store, each) for each in (entry, other)] == [True, False]
    change = store.held_change()
    assert change.gained.keys() == {other.digest}
    assert change.lost.keys() == {entry.digest}
    store.look_at_bundles()
    assert [is_held(store, each) for each in (entry, other)] == [False, True]


def test_a_look_that_was_overtaken_by_another_export_changes_nothing(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = put(store, "2", b"2" * 5000)
    dest = tmp_path / "a"
    export(store, dest, entry)
    (dest / "media" / "1.wav").rename(dest / "media" / "moved")
    store.look_at_bundles()
    (dest / "media" / "moved").rename(dest / "media" / "1.wav")

    def export_anew() -> None:
        shutil.rmtree(dest)
        export(store, dest, other, age=200)

    overtake(monkeypatch, export_anew)
    store.look_at_bundles()
    assert [is_held(store, each) for each in (entry, other)] == [False, True]


def test_a_look_that_was_overtaken_by_another_one_changes_nothing(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_hour_later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: an_hour_later)
    dest = tmp_path / "a"
    export(store, dest, entry)
    (dest / "media" / "strange").touch()  # so that it is looked at

    def look_elsewhere() -> None:
        (dest / "media" / "1.wav").unlink()
        with Store.open(store.root.path) as other:
            other.look_at_bundles()
        monkeypatch.setattr(looking.Sight, "is_proof", crash)

    overtake(monkeypatch, look_elsewhere)
    with suppress(ZeroDivisionError):
        store.look_at_bundles()
    monkeypatch.undo()
    assert store.held_change() == looking.HeldChange({}, {})
    assert not is_held(store, entry)


def test_a_look_that_read_the_bundle_before_it_was_registered_anew_changes_nothing(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_hour_later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: an_hour_later)
    dest = tmp_path / "a"
    former = export(store, dest, entry)
    (dest / "media" / "1.wav").rename(dest / "media" / "2.wav")
    bundle_of, anew = store.bundle, replace(former, files=(replace(former.files[0], file="media/2.wav"),))

    def registered_meanwhile(bundle_id: str) -> Bundle | None:
        bundle = bundle_of(bundle_id)
        monkeypatch.setattr(store, "bundle", bundle_of)
        with Store.open(store.root.path) as other:
            other.register(anew)
        return bundle

    monkeypatch.setattr(store, "bundle", registered_meanwhile)
    store.look_at_bundles()
    assert is_held(store, entry)
    assert store.held_change() == looking.HeldChange({}, {})


def test_a_bundle_is_held_once_it_is_registered_though_somebody_looks_at_it_meanwhile(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_to_look() -> None:
        with monkeypatch.context() as stopping, Store.open(store.root.path) as other:
            stopping.setattr(registry, "look_at", crash)
            with pytest.raises(ZeroDivisionError):
                other.look_at_bundles()

    overtake(monkeypatch, begin_to_look)
    export(store, tmp_path / "a", entry)
    assert is_held(store, entry)


def test_a_look_finds_what_another_process_has_written_of_a_blob_meanwhile(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = put(store, "2", b"2" * 5000)

    def overtaken(draft: Draft) -> Draft:
        monkeypatch.setattr(Draft, "finished", finished)
        with Store.open(store.root.path) as elsewhere:
            export(elsewhere, tmp_path / "b", entry)
        return finished(draft)

    finished = Draft.finished
    monkeypatch.setattr(Draft, "finished", overtaken)
    export(store, tmp_path / "a", entry, other)
    rows = store.blob_rows_of([entry.digest, other.digest])
    assert [len(rows[digest].holders) for digest in (entry.digest, other.digest)] == [2, 1]
    assert store.totals() == counted(store)


def test_another_file_in_the_place_of_a_bundles_or_of_a_blob_is_not_held(
    store: Store, entry: Entry, tmp_path: Path
) -> None:
    export(store, tmp_path / "a", entry)
    store.blobs.path(entry.digest).unlink()
    put(store, "1", b"1" * 5000)
    assert not is_held(store, entry)
    export(store, tmp_path / "b", entry)
    assert is_held(store, entry)
    file = tmp_path / "b" / "media" / "1.wav"
    shutil.copy(file, tmp_path / "copy")
    (tmp_path / "copy").rename(file)
    store.look_at_bundles()
    assert not is_held(store, entry)
    assert store.totals() == counted(store)


def test_a_damaged_blob_is_held_by_nobody_once_it_is_put_away(store: Store, entry: Entry, tmp_path: Path) -> None:
    bundle = export(store, tmp_path / "a", entry)
    file = tmp_path / "a" / "media" / "1.wav"
    file.chmod(0o644)
    file.write_bytes(b"edited")
    assert store.retire(entry.digest).bundles == [str(bundle.dest)]
    assert not is_held(store, entry)
    assert (store.totals().held, store.totals().exclusive) == (0, 0)
    put(store, "1", b"1" * 5000)
    assert not is_held(store, entry)
    assert file.read_bytes() == b"edited"


def test_a_blob_whose_row_was_lost_is_held_again_when_its_bytes_come(
    store: Store, entry: Entry, tmp_path: Path
) -> None:
    export(store, tmp_path / "a", entry)
    drop_rows(store, BLOBS.key(entry.digest))
    put(store, "1", b"1" * 5000)
    assert store.held_change().gained.keys() == {entry.digest}
    store.look_at_bundles()
    assert is_held(store, entry)


def test_evicting_a_held_blob_leaves_the_bundle_its_file_and_the_totals_without_it(
    store: Store, entry: Entry, tmp_path: Path
) -> None:
    export(store, tmp_path / "a", entry)
    assert store.evict([entry.key])[0].freed == 0
    assert store.totals() == Totals()
    assert (tmp_path / "a" / "media" / "1.wav").read_bytes() == b"1" * 5000


def test_a_bundle_whose_row_is_damaged_holds_nothing_after_a_repair_or_another_export(
    store: Store, tmp_path: Path
) -> None:
    one, two = put(store, "1", b"1" * 5000), put(store, "2", b"2" * 5000)
    for name, each in (("a", one), ("b", two)):
        bundle = export(store, tmp_path / name, each)
        with store._index.transaction() as rows:
            rows._cache.set(BUNDLES.key(bundle.id), "{")
            assert rows.get(BUNDLES.key(bundle.id)) is None
    shutil.rmtree(tmp_path / "a")
    export(store, tmp_path / "a")
    assert [is_held(store, each) for each in (one, two)] == [False, True]
    drop_rows(store, *[row.key for page in store.pages(0, store.last_row()) for row in page if row.value is None])
    store.recount()
    assert not is_held(store, two)
    assert store.totals() == counted(store)


def test_bundles_of_a_store_without_holders_are_looked_at_when_it_is_opened(store: Store, tmp_path: Path) -> None:
    entry = put(store, "1", b"1" * 5000)
    bundle = export(store, tmp_path / "a", entry)
    right = store.totals()
    with store._index.transaction() as rows:  # as the first version wrote them
        rows.delete(f"s:{bundle.id}")
        fields = store.blob_rows_of([entry.digest])[entry.digest].to_row()
        del fields["used_at"], fields["holders"]
        plant_row(rows, BLOBS.key(entry.digest), fields)
        plant_row(rows, "meta", {"created_at": 5.0, "hits": 0, "misses": 0})
    with StoreReader.open_readonly(store.root.path) as reader:
        assert reader.totals() + reader.held_change().totals == right
    with Store.open(store.root.path) as again:
        assert again.totals() == right
        assert is_held(again, entry)
