"""The ledger: whatever the verbs do, the totals are those of a recount."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from cachestore.errors import BlobDamaged, NotInCache
from cachestore.links import LinkMode
from cachestore.rows import BLOBS, ENTRIES, META, RUNS, Bundle, BundleFile, RunRow, Totals
from cachestore.store.counting import counted, with_uses
from cachestore.store.reader import StoreReader
from cachestore.store.writer import Store
from cachestore.track import Track
from tests.stores import drop_rows, etag, plant_row, put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.rows import Table
    from cachestore.store.drafts import Draft
    from cachestore.store.ledger import Ledger

TRACKS = st.integers(0, 3)
CONTENTS = st.integers(0, 2)
PLACES = st.integers(0, 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "root") as opened:
        yield opened


def bundle_of(dest: Path, *files: tuple[str, str]) -> Bundle:
    return Bundle(dest, dest.name, 0.0, tuple(BundleFile(file, digest, LinkMode.HARDLINK) for file, digest in files))


def held_by_inode(store: Store, dests: list[Path]) -> set[str]:
    """Return the digests of the blobs that have a name in one of the folders, as the filesystem says."""
    inodes = {path.stat().st_ino for dest in dests if dest.is_dir() for path in dest.rglob("*.wav")}
    return {digest for digest, row in store.blob_rows() if row.cost and row.witness.inode in inodes}


class Verbs(RuleBasedStateMachine):
    """Any sequence of verbs, and of what people do to bundles meanwhile."""

    folder: Path
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.home = self.folder / str(next(self.numbers))
        self.store = Store.open(self.home / "root")

    def teardown(self) -> None:
        self.store.close()

    def _let_time_pass(self, place: int) -> None:
        """Give the folders of a bundle other times, as old as those of bundles usually are."""
        dest = self.home / f"bundle {place}"
        for folder in (dest, dest / "media"):
            if folder.is_dir():
                os.utime(folder, (next(self.numbers), next(self.numbers)))

    def _entries(self, track: int) -> list[Entry]:
        return self.store.kept([Track("s", str(track))]).get(f"s:{track}", [])

    @rule(track=TRACKS, content=CONTENTS)
    def publish(self, track: int, content: int) -> None:
        put(self.store, str(track), bytes([content]) * 5000, version=etag(str(content)))

    @rule(track=TRACKS)
    def evict(self, track: int) -> None:
        self.store.evict([entry.key for entry in self._entries(track)])

    @rule(track=TRACKS, pinned=st.booleans())
    def pin(self, track: int, pinned: bool) -> None:
        try:
            self.store.pin(Track("s", str(track)), pinned=pinned)
        except NotInCache:
            assert not self._entries(track)

    @rule(track=TRACKS)
    def use(self, track: int) -> None:
        for entry in self._entries(track):
            self.store._pending.used(entry, entry.used_at + 7200)
        self.store.flush()

    @rule(tracks=st.sets(TRACKS), place=PLACES)
    def export(self, tracks: set[int], place: int) -> None:
        dest = self.home / f"bundle {place}"
        shutil.rmtree(dest, ignore_errors=True)
        (dest / "media").mkdir(parents=True)
        files = []
        for entry in [entry for track in sorted(tracks) for entry in self._entries(track)[:1]]:
            file = f"media/{entry.id}.wav"
            try:
                self.store.link(entry, dest / file, LinkMode.HARDLINK)
            except BlobDamaged:
                continue
            files.append((file, entry.digest))
        self._let_time_pass(place)
        self.store.register(bundle_of(dest, *files))

    @rule(place=PLACES, track=TRACKS)
    def remove_a_file_of_a_bundle(self, place: int, track: int) -> None:
        (self.home / f"bundle {place}" / "media" / f"{track}.wav").unlink(missing_ok=True)
        self._let_time_pass(place)

    @rule(place=PLACES, track=TRACKS)
    def replace_a_file_of_a_bundle(self, place: int, track: int) -> None:
        file = self.home / f"bundle {place}" / "media" / f"{track}.wav"
        if file.exists():
            shutil.copy(file, file.with_suffix(".new"))
            file.with_suffix(".new").rename(file)
            self._let_time_pass(place)

    @rule(place=PLACES)
    def remove_a_bundle(self, place: int) -> None:
        shutil.rmtree(self.home / f"bundle {place}", ignore_errors=True)

    @rule(content=CONTENTS)
    def damage(self, content: int) -> None:
        for digest, _ in self.store.blob_rows():
            path = self.store.blobs.path(digest)
            if path.exists() and path.read_bytes()[:1] == bytes([content]):
                path.chmod(0o644)
                path.write_bytes(b"damaged" * 1000)
                self.store.retire(digest)
                return

    @rule(content=CONTENTS)
    def lose_a_row(self, content: int) -> None:
        for digest, _ in itertools.islice(self.store.blob_rows(), content, content + 1):
            drop_rows(self.store, BLOBS.key(digest))

    @rule()
    def bill_what_has_no_row(self) -> None:
        for found in self.store.unindexed():
            self.store.bill(found)

    @rule(content=CONTENTS)
    def evict_what_has_no_entries(self, content: int) -> None:
        digests = [digest for digest, row in self.store.blob_rows() if not row.keys]
        self.store.evict_unindexed(digests[content:])

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = Store.open(self.home / "root")

    @invariant()
    def totals_are_those_of_a_recount(self) -> None:
        assert self.store.totals() == counted(self.store)

    @invariant()
    def uses_are_those_of_the_entries_and_give_the_order(self) -> None:
        rows = dict(self.store.blob_rows())
        assert dict(with_uses(self.store, rows.items())) == rows
        ordered = list(self.store.least_recently_used())
        assert [row.used_at for _, row in ordered] == sorted(row.used_at for row in rows.values())
        assert dict(ordered) == rows

    @invariant()
    def pins_are_those_of_a_scan(self) -> None:
        by_scan = {ENTRIES.key(key) for key, entry in self.store.scan(ENTRIES) if entry.pinned}
        assert by_scan <= self.store.tagged_as_pins()
        assert self.store.pinned() == {entry.key for entry in self.store.entries() if entry.pinned}

    @invariant()
    def a_look_foreseen_is_what_a_look_does_and_what_the_filesystem_says(self) -> None:
        dests = [self.home / "bundle 0", self.home / "bundle 1"]
        change = self.store.held_change()
        foreseen = {digest for digest, row in self.store.blob_rows() if change.is_held(digest, row)}
        totals = self.store.totals() + change.totals
        self.store.look_at_bundles()
        assert foreseen == {digest for digest, row in self.store.blob_rows() if row.is_held}
        assert foreseen == held_by_inode(self.store, dests)
        assert self.store.totals() == totals
        assert self.store.held_change().totals == Totals()


@pytest.mark.long
def test_after_any_sequence_of_verbs_the_totals_equal_a_recount(tmp_path: Path) -> None:
    Verbs.folder = tmp_path
    run_state_machine_as_test(Verbs, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))


def test_what_has_no_totals_is_counted_by_a_reader_and_put_right_by_the_next_writer(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        old, new = put(store, "1", b"1" * 5000), put(store, "2", b"2" * 5000)
        store.pin(Track("s", "1"), pinned=True)
        totals = store.totals()
        with store._index.transaction() as rows:  # as the first version wrote them
            for digest, row in list(store.blob_rows()):
                fields = row.to_row()
                del fields["used_at"], fields["holders"]
                plant_row(rows, BLOBS.key(digest), fields)
            plant_row(rows, "t:s:1", rows.get("t:s:1") or {})
            plant_row(rows, META.key(""), {"created_at": 5.0, "hits": 3, "misses": 4})
    with StoreReader.open_readonly(tmp_path) as reader:
        assert reader.totals() == totals
        assert [row.used_at for _, row in reader.least_recently_used()] == [old.used_at, new.used_at]
        assert reader.pinned() == {old.key}
    with Store.open(tmp_path) as store:
        meta = store.meta()
        assert (meta.hits, meta.misses, meta.swept_at) == (3, 4, 0.0)
        assert meta.totals == totals == counted(store)
        assert [row.used_at for _, row in store.least_recently_used()] == [old.used_at, new.used_at]
        assert store.pinned() == {old.key}
        assert store.tagged_as_pins() == {"t:s:1"}


@pytest.mark.parametrize(
    "text", ["{", '{"hits": "x"}', "null", '{"hits": 0, "misses": 0, "totals": {"exclusive": -5}, "counts": 1}']
)
def test_a_damaged_row_of_the_store_itself_is_counted_anew(tmp_path: Path, text: str) -> None:
    with Store.open(tmp_path) as store:
        put(store, "1", b"1")
        totals = store.totals()
        with store._index.transaction() as rows:
            rows._cache.set("meta", text)
        assert store.totals() == totals
    with Store.open(tmp_path) as store:
        assert store.meta().totals == totals
        assert META.value("meta", store._reader.get("meta") or {}) == store.meta()


def test_a_recount_mends_totals_that_somebody_changed_and_what_is_written_meanwhile_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(tmp_path) as store, Store.open(tmp_path) as other:
        put(store, "1", b"1" * 5000)
        right = store.totals()
        with store._index.transaction() as rows:
            meta = store.meta().to_row()
            plant_row(rows, "meta", meta | {"totals": meta["totals"] | {"entries": 77, "exclusive": 5}})
        transact = store._transaction
        calls: list[Entry] = []

        def another_writes_first() -> AbstractContextManager[Ledger]:
            if not calls:
                calls.append(put(other, "2", b"2" * 5000))
            return transact()

        monkeypatch.setattr(store, "_transaction", another_writes_first)
        store.recount()
        assert calls
        assert store.totals() == counted(store) == right + right


def test_a_transaction_that_fails_leaves_the_totals(store: Store) -> None:
    entry = put(store, "1", b"1")
    totals = store.totals()

    def fail(*_: object) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.evict([entry.key], fail)
    assert store.totals() == totals


def test_what_is_used_or_removed_between_two_pages_is_not_met_twice_and_nothing_else_is_left_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cachestore.index.reader._KEYS_PER_QUERY", 2)
    entries = [put(store, str(number), bytes([number])) for number in range(9)]
    met = []
    for number, (digest, _) in enumerate(store.least_recently_used()):
        met.append(digest)
        if number == 1:
            store._pending.used(entries[0], time.time() + 9999)
            store._pending.used(entries[5], time.time() + 9999)
            store.flush()
            store.evict([entries[6].key])
    assert met == [entry.digest for entry in (*entries[:5], entries[7], entries[8], entries[5])]


def test_a_blob_without_a_row_gets_one_that_counts_and_goes_by_its_age_alone(store: Store) -> None:
    entry = put(store, "1", b"1" * 5000)
    drop_rows(store, BLOBS.key(entry.digest), ENTRIES.key(entry.key))
    os.utime(store.blobs.path(entry.digest), (1.0, 1.0))
    assert store.totals() == Totals()
    [unindexed] = store.unindexed()
    store.bill(unindexed)
    assert store.totals() == counted(store)
    assert [(digest, row.used_at) for digest, row in store.least_recently_used()] == [(entry.digest, 1.0)]
    assert store.evict_unindexed([entry.digest], lambda _: "young")[0].kept_because == "young"
    again = put(store, "1", b"1" * 5000)
    assert store.evict_unindexed([entry.digest])[0].kept_because == "indexed since"
    assert store.find(Track("s", "1")) == again
    drop_rows(store, ENTRIES.key(entry.key), BLOBS.key(entry.digest))
    store.bill([entry.digest])
    assert store.evict_unindexed([entry.digest])[0].freed >= 5000
    assert list(store.blobs.iterate()) == []
    assert store.totals() == Totals()


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        (BLOBS, {"size": -1}),
        (BLOBS, {"cost": 1 << 80}),
        (BLOBS, {"used_at": 1e300}),
        (ENTRIES, {"used_at": float("nan")}),
        (ENTRIES, {"size": -(10**400)}),
        (META, {"totals": {"exclusive": -(10**15)}}),
        (META, {"totals": {"logical": 10**30}}),
        (META, {"leases": -5}),
        (META, {"looks": 10**40}),
    ],
)
def test_a_row_with_a_number_that_cannot_be_is_damaged(
    store: Store, table: Table[object], changes: dict[str, object]
) -> None:
    put(store, "1", b"1")
    [(key, row)] = list(store._reader.scan(table.prefix))
    assert table.value(key, row) is not None
    assert table.value(key, row | changes) is None


def drafted(store: Store, *digests: str) -> Draft:
    """Return a draft that lets a bundle hold blobs, whose rows it has read."""
    draft = store.draft()
    for digest in digests:
        row = draft.blob(digest)
        assert row is not None
        draft.put_blob(digest, row.held_by("a bundle", holds=True))
    return draft.finished()


def test_a_draft_is_written_with_what_follows_from_it(store: Store) -> None:
    entries = [put(store, number, number.encode()) for number in "123"]
    draft, later = store.draft(), time.time() + 3600
    for entry in entries:
        row = draft.blob(entry.digest)
        assert row is not None
        draft.put_blob(entry.digest, row.held_by("a bundle", holds=True))
        draft.put_entry(replace(entry, used_at=later))
    with store._transaction() as ledger:
        assert ledger.take_over(draft.finished())
    assert store.meta().totals == counted(store)
    assert [row.used_at for _, row in store.least_recently_used()] == [later] * 3
    assert all(row.is_held for _, row in store.blob_rows())


@pytest.mark.parametrize("what", ["changed", "gone"])
def test_nothing_of_a_draft_is_written_when_one_of_its_rows_is_another_by_now(store: Store, what: str) -> None:
    same, other = (put(store, number, number.encode()).digest for number in "12")
    draft = drafted(store, same, other)
    with Store.open(store.root.path) as elsewhere, elsewhere._transaction() as ledger:
        row = ledger.blob(other)
        assert row is not None
        if what == "changed":
            ledger.put_blob(other, row.held_by("another bundle", holds=True))
        else:
            ledger.drop_blob(other)
    rows, totals = dict(store.blob_rows()), store.meta().totals
    with store._transaction() as ledger:
        assert not ledger.take_over(draft)
    assert dict(store.blob_rows()) == rows
    assert store.meta().totals == totals == counted(store)


def test_nothing_of_a_draft_is_written_when_a_row_that_it_only_read_is_another_by_now(store: Store) -> None:
    digest, read = put(store, "1", b"1").digest, put(store, "2", b"2")
    draft = store.draft()
    draft.entry(read.key)
    row = draft.blob(digest)
    assert row is not None
    draft.put_blob(digest, row.held_by("a bundle", holds=True))
    with Store.open(store.root.path) as elsewhere, elsewhere._transaction() as ledger:
        ledger.put_entry(replace(read, label="Another"))
    with store._transaction() as ledger:
        assert not ledger.take_over(draft.finished())
    assert not store.blob_rows_of([digest])[digest].is_held


def test_a_draft_that_would_make_a_row_or_drop_one_is_not_written(store: Store) -> None:
    entry = put(store, "1", b"1")
    making, dropping = store.draft(), store.draft()
    making.put_run("0" * 32, RunRow("export", 0.0))
    dropping.drop_entry(entry.key)
    with store._transaction() as ledger:
        assert not ledger.take_over(making.finished())
        assert not ledger.take_over(dropping.finished())
    assert store.entries_of([entry.key]) == {entry.key: entry}
    assert [*store.runs()] == []


def test_a_row_that_is_dropped_and_put_again_is_there(store: Store) -> None:
    run = RunRow("export", 0.0)
    with store._transaction() as ledger:
        ledger.put_run("0" * 32, run)
    with store._transaction() as ledger:
        ledger.drop(RUNS.key("0" * 32))
        ledger.put_run("0" * 32, replace(run, command="fetch"))
    assert [found.command for _, found in store.scan(RUNS)] == ["fetch"]
