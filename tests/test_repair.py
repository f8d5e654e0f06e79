"""Repair mends what verify finds, says what it cannot mend, and loses nobody's work."""

from __future__ import annotations

import errno
import math
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cachestore.errors import Cancelled, RootUnusable
from cachestore.index.reader import DATABASE
from cachestore.links import LinkMode
from cachestore.rows import Bundle, BundleFile, RunRow, Totals
from cachestore.store.counting import counted
from cachestore.store.writer import Store
from cachestore.sweep import sweep
from cachestore.track import Track
from cachestore.verify import Repair, Verification, repair
from tests.stores import drop_rows, etag, incoming, put, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cachestore.entry import Entry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "root") as opened:
        yield opened


def blob_of(store: Store, entry: Entry) -> Path:
    path = store.blobs.path(entry.digest)
    path.chmod(0o644)
    return path


def mend(store: Store) -> list[Repair]:
    return list(repair(store, verify(store).problems))


def test_repair_leaves_a_store_without_problems_and_bundles_with_their_bytes(store: Store, tmp_path: Path) -> None:
    entries = {name: put(store, name, name.encode() * 10) for name in "abcd"}
    store.link(entries["a"], tmp_path / "edited.wav", LinkMode.HARDLINK)
    for name in "ab":
        blob_of(store, entries[name]).write_bytes(b"edit")
    blob_of(store, entries["c"]).unlink()
    (store.root.blobs / "notes.txt").write_text("mine")
    repairs = list(repair(store, verify(store).problems))
    assert len(repairs) == 4
    assert verify(store).problems == ()
    assert [store.find(Track("s", name)) is not None for name in "abcd"] == [False, False, False, True]
    assert (tmp_path / "edited.wav").read_bytes() == b"edit"
    assert sorted(path.read_bytes() for path in store.root.quarantine.iterdir()) == [b"edit", b"mine"]


def test_repair_keeps_the_pin_of_a_track(store: Store) -> None:
    blob_of(store, put(store, "a", b"a")).unlink()
    store.pin(Track("s", "a"), pinned=True)
    list(repair(store, verify(store).problems))
    assert put(store, "a", b"a").pinned


def test_repair_does_not_touch_a_blob_that_healed_meanwhile(store: Store) -> None:
    entry = put(store, "a", b"abc")
    path = blob_of(store, entry)
    path.write_bytes(b"abX")
    report = verify(store)
    path.write_bytes(b"abc")
    list(repair(store, report.problems))
    assert store.find(Track("s", "a")) == entry


def test_a_file_in_the_place_of_a_folder_is_put_away_and_the_track_can_be_stored_again(store: Store) -> None:
    entry = put(store, "a", b"a")
    folder = store.blobs.path(entry.digest).parent
    shutil.rmtree(folder)
    folder.write_text("in the way")
    assert [done.mended for done in mend(store)] == [True, True]
    assert [path.read_text() for path in store.root.quarantine.iterdir()] == ["in the way"]
    assert verify(store).problems == ()
    put(store, "a", b"a")
    assert store.find(Track("s", "a")) is not None


def test_a_file_in_the_place_of_a_folder_does_not_stop_an_eviction(store: Store) -> None:
    entry = put(store, "a", b"a")
    folder = store.blobs.path(entry.digest).parent
    shutil.rmtree(folder)
    folder.touch()
    [eviction] = store.evict([entry.key])
    assert eviction.kept_because == ""


def test_a_damaged_blob_that_no_row_knows_is_put_away(store: Store) -> None:
    path = store.blobs.path("xxh3-128:" + "1" * 32)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"?")
    [done] = mend(store)
    assert (done.problem.kind, done.mended) == ("corrupt", True)
    [kept] = store.root.quarantine.iterdir()
    assert kept.read_bytes() == b"?"
    assert done.action == f"put away; no track is known for it; what there was is kept at {kept}"
    assert verify(store).problems == ()


def test_a_blob_that_no_row_knows_is_kept_whatever_its_times_say(store: Store) -> None:
    old, new = (put(store, name, name.encode()) for name in "ab")
    os.utime(store.blobs.path(old.digest), (0, 0))
    os.utime(store.blobs.path(new.digest), (2**32, 2**32))
    drop_rows(
        store, *[f"{kind}:{name}" for entry in (old, new) for kind, name in (("e", entry.key), ("b", entry.digest))]
    )
    done = {repair.problem.digest: repair.action for repair in mend(store)}
    assert {action.partition(":")[0] for action in done.values()} == {"kept"}
    assert {problem.digest for problem in verify(store).problems} == {old.digest, new.digest} == {*done}


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("plant", ["symlink", "file"])
def test_what_is_in_the_way_of_blobs_is_told_taken_away_and_never_followed(
    tmp_path: Path, depth: int, plant: str
) -> None:
    with Store.open(tmp_path / "root") as store:
        entry = put(store, "a", b"a")
        inner = store.blobs.path(entry.digest).parents[2 - depth]
    inner.rename(tmp_path / "elsewhere")
    if plant == "symlink":
        inner.symlink_to(tmp_path / "elsewhere")
    else:
        inner.write_text("mine")
    [mine] = [path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]
    with Store.open(tmp_path / "root") as store:
        looking = (store.find, lambda _: sweep(store, time.time(), max_size=0)) if plant == "symlink" else ()
        for use in (*looking, lambda _: put(store, "a", b"a")):
            with pytest.raises(RootUnusable, match="is no folder; run: cachestore repair"):
                use(Track("s", "a"))
        assert [kept.key for kept in store.entries()] == [entry.key]
        assert {problem.kind.value for problem in verify(store).problems} == {"foreign", "missing"}
        assert all(done.mended for done in mend(store))
        assert len(list(store.root.quarantine.iterdir())) == 1
        assert store.is_whole(put(store, "a", b"a"))
        assert verify(store).problems == ()
    assert mine.read_bytes() == b"a"


def test_repair_says_where_an_edited_file_is_kept(store: Store) -> None:
    blob_of(store, put(store, "a", b"abc")).write_bytes(b"my work")
    [done] = mend(store)
    [kept] = store.root.quarantine.iterdir()
    assert done.action == f"removed; the next export downloads it again; what there was is kept at {kept}"
    assert kept.read_bytes() == b"my work"


def test_a_file_with_the_longest_name_there_is_goes_to_quarantine(store: Store) -> None:
    (store.root.blobs / ("x" * 255)).write_text("mine")
    [done] = mend(store)
    [kept] = store.root.quarantine.iterdir()
    assert done.action == f"moved to quarantine: {kept}"
    assert kept.read_text() == "mine"


def test_what_the_filesystem_refuses_is_said_and_the_rest_is_mended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = blob_of(store, put(store, "a", b"a"))
    broken.write_bytes(b"edit")
    (store.root.blobs / "notes.txt").write_text("mine")

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(store, "quarantine_file", refuse)
    done = {repair.problem.kind.value: repair for repair in mend(store)}
    assert (done["foreign"].mended, done["foreign"].action) == (False, "cannot be mended: Read-only file system")
    assert done["corrupt"].mended
    assert [problem.kind.value for problem in verify(store).problems] == ["foreign"]


def test_a_full_disk_ends_the_repair(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.root.blobs / "notes.txt").write_text("mine")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, "quarantine_file", refuse)
    with pytest.raises(OSError, match="No space left"):
        mend(store)


def test_a_file_that_the_disk_cannot_read_is_left_and_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store, "a", b"a")

    def fail(_: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr("cachestore.verify.judge.hash_file", fail)
        [done] = mend(store)
    assert (done.problem.kind, done.mended) == ("unreadable", False)
    assert done.action == "cannot be mended: Input/output error; cachestore rm has it downloaded again"
    assert store.find(Track("s", "a")) == entry
    assert verify(store).problems == ()


def test_what_a_running_export_needs_is_left_and_said(store: Store) -> None:
    entry = put(store, "a", b"a")
    with Store.open(store.root.path) as other, other.run("export") as run:
        other.lease(run, [entry.digest])
        blob_of(store, entry).write_bytes(b"edit")
        [done] = mend(store)
    assert (done.mended, done.action) == (False, "left alone: in use by a running export")


def test_repair_stops_when_it_is_cancelled(store: Store) -> None:
    blob_of(store, put(store, "a", b"a" * 1_000_000)).write_bytes(b"b" * 1_000_000)
    problems = verify(store).problems
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        list(repair(store, problems, cancel))


def test_two_entries_of_a_damaged_blob_are_both_dropped(store: Store) -> None:
    entries = [put(store, name, b"same") for name in "ab"]
    blob_of(store, entries[0]).write_bytes(b"edit")
    assert [done.mended for done in mend(store)] == [True, True]
    assert verify(store).problems == ()
    assert list(store.entries()) == []


DAMAGE = [
    ("b:{digest}", 1, 1, "{}"),
    ("e:{key}", 1, 1, "{}"),
    ("e:{key}", 1, 1, "no JSON"),
    ("b:{digest}", 1, 4, "a pickle"),
    ("e:{key}", 1, 1, b'{"label":"\xff"}'),
    ("e:planted", 1, 4, "a pickle"),
    ("e:{key}", 0, 1, "a key that claims to be a pickle, beside the one that is ours"),
    (b"\x80\x04", 0, 4, b"\x80"),
    (7, 0, 1, "{}"),
]


@pytest.mark.parametrize(("key", "raw", "mode", "value"), DAMAGE)
def test_a_damaged_or_planted_row_goes_and_nothing_else(
    store: Store, key: str | bytes | int, raw: int, mode: int, value: str | bytes
) -> None:
    entry, other = put(store, "a", b"a"), put(store, "b", b"b")
    name = key.format(digest=entry.digest, key=entry.key) if isinstance(key, str) else key
    marks = "?, ?, ?, CAST(? AS TEXT)" if mode == 1 else "?, ?, ?, ?"
    with closing(sqlite3.connect(store.root.index / DATABASE)) as connection, connection:
        connection.execute("DELETE FROM Cache WHERE key = ? AND raw = ?", (name, raw))
        connection.execute(f"INSERT INTO Cache (key, raw, mode, value) VALUES ({marks})", (name, raw, mode, value))
    done = mend(store)
    assert done[0].problem.kind == "damaged-row"
    assert all(repair.mended for repair in done)
    kept = [found.key for found in store.entries()]
    assert other.key in kept
    assert (entry.key in kept) == (raw == 0 or name != f"e:{entry.key}")
    assert [(problem.kind.value, problem.digest) for problem in verify(store).problems] == (
        [] if entry.key in kept else [("unindexed", entry.digest)]
    )
    assert store.totals() == counted(store)
    store.evict_unindexed(digest for digest, row in store.blob_rows() if not row.keys)
    assert verify(store).problems == ()


@pytest.mark.parametrize("others", [0, 600])
def test_a_blob_whose_row_is_damaged_is_served_again_to_all_its_tracks(store: Store, others: int) -> None:
    store.put([incoming(store, f"{number}", b"%d" % number) for number in range(others)])
    entries = [put(store, name, b"same") for name in "ab"]
    store.put([incoming(store, f"late{number}", b"late%d" % number) for number in range(others)])
    with closing(sqlite3.connect(store.root.index / DATABASE)) as connection, connection:
        # Behind all others: an entry is met before the row of its blob.
        connection.execute("DELETE FROM Cache WHERE key = ?", (f"b:{entries[0].digest}",))
        connection.execute(
            "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 1, 1, '{')", (f"b:{entries[0].digest}",)
        )
    assert store.whole(entries) == []
    list(repair(store, Verification(store)))
    assert store.whole(entries) == entries
    assert verify(store).problems == ()
    assert store.totals() == counted(store)
    store.evict([entries[0].key])
    assert store.find(Track("s", "b")) == entries[1]


def test_a_blob_that_one_track_brought_again_belongs_to_all_its_tracks_once_repaired(store: Store) -> None:
    entries = [put(store, name, b"same") for name in "ab"]
    with store._index.transaction() as rows:
        rows._cache.set(f"b:{entries[0].digest}", "{}")
    put(store, "a", b"same")
    mend(store)
    assert store.totals() == counted(store)
    store.evict([entries[0].key])
    assert store.find(Track("s", "b")) is not None


def replace_in_row(store: Store, before: str, after: str, where: str, *parameters: str) -> None:
    """Put another text into the one row that a condition of SQL finds."""
    with closing(sqlite3.connect(store.root.index / DATABASE)) as connection, connection:
        update = f"UPDATE Cache SET value = replace(value, ?, ?) WHERE {where}"
        assert connection.execute(update, (before, after, *parameters)).rowcount == 1


HALF = "\\ud800"  # of a surrogate pair: JSON can say it, and no key can be made of it


@pytest.mark.parametrize(
    ("table", "before", "after"),
    [
        ("b:", '"keys":["', f'"keys":["{HALF}'),
        ("b:", '"holders":[', f'"holders":["{HALF}"'),
        ("b:", '{"size":1', '{"size":100'),
        ("t:", '"kept":["', f'"kept":["{HALF}'),
        ("e:", '"id":"', f'"id":"{HALF}'),
        ("e:", '"id":"a"', '"id":"c"'),
        ("e:", '"version":["etag","', f'"version":["etag","{HALF}'),
    ],
)
def test_a_row_that_names_what_cannot_be_wedges_nothing(store: Store, table: str, before: str, after: str) -> None:
    put(store, "a", b"a")
    other = put(store, "b", b"b")
    first = "rowid = (SELECT min(rowid) FROM Cache WHERE key LIKE ? AND instr(value, ?))"
    replace_in_row(store, before, after, first, f"{table}%", before)
    found = store.find(Track("s", "a"))
    assert found is None or found.id == "a"
    sweep(store, time.time(), max_size=0)
    assert store.find(Track("s", "b")) == other
    assert "damaged-row" in [done.problem.kind for done in repair(store, Verification(store))]
    assert store.find(Track("s", "b")) == other
    assert put(store, "a", b"a") in list(store.entries())
    assert verify(store).problems == ()
    assert store.totals() == counted(store)


@pytest.mark.parametrize(
    ("table", "before", "after"),
    [
        ("x:", '"media/a.wav"', '"me\\u0000dia/a.wav"'),
        ("x:", '"media/a.wav"', f'"{HALF}/a.wav"'),
        ("x:", '"dest":"', f'"dest":"/{HALF}'),
        ("s:", '"stamps":null', '"stamps":{"me\\u0000dia":[1,2,3]}'),
        ("s:", '"stamps":null', f'"stamps":{{"{HALF}":[1,2,3]}}'),
        ("s:", '"turn":', f'"turn":{"9" * 4000}'),
        ("r:", '"dest":null', f'"dest":"/{HALF}/b"'),
    ],
)
def test_a_row_with_a_path_that_cannot_be_wedges_nothing(
    store: Store, tmp_path: Path, table: str, before: str, after: str
) -> None:
    entry = put(store, "a", b"a")
    (tmp_path / "a" / "media").mkdir(parents=True)
    bundle = Bundle(tmp_path / "a", "a", 0.0, (BundleFile("media/a.wav", entry.digest, LinkMode.HARDLINK),))
    store.register(bundle)
    with store._transaction() as ledger:
        ledger.put_run("a" * 32, RunRow("export", 0.0))
    replace_in_row(store, before, after, "key LIKE ? AND instr(value, ?)", f"{table}%", before)
    assert "damaged-row" in [problem.kind for problem in verify(store).problems]
    store.held_change()
    store.holders_of([entry.digest])
    sweep(store, time.time(), max_size=0)
    store.register(bundle)
    mend(store)
    assert verify(store).problems == ()
    assert store.totals() == counted(store)


@pytest.mark.parametrize("tag", [None, "pin", -math.inf, b"0"])
def test_a_row_with_a_wrong_tag_is_named_and_found_in_order_again(store: Store, tag: object) -> None:
    entry, other = put(store, "a", b"a"), put(store, "b", b"b")
    with closing(sqlite3.connect(store.root.index / DATABASE)) as connection, connection:
        connection.execute("UPDATE Cache SET tag = ? WHERE key = ?", (tag, f"b:{entry.digest}"))
    assert store.whole([entry, other]) == [entry, other]
    assert [(problem.kind, problem.key) for problem in verify(store).problems] == [("damaged-row", f"b:{entry.digest}")]
    assert [done.action for done in mend(store)] == ["written anew"]
    assert {digest for digest, _ in store.least_recently_used()} == {entry.digest, other.digest}
    assert verify(store).problems == ()


def test_rows_that_are_to_expire_and_rows_of_an_unknown_kind_harm_nothing(store: Store) -> None:
    entry = put(store, "a", b"a")
    with closing(sqlite3.connect(store.root.index / DATABASE)) as connection, connection:
        connection.execute("UPDATE Cache SET expire_time = 1")
        connection.execute("INSERT INTO Cache (key, raw, mode, value) VALUES ('zz:new', 1, 1, '{}')")
    assert store.find(Track("s", "a")) == entry
    assert put(store, "b", b"b") in list(store.entries())
    assert verify(store).problems == ()
    assert store.totals() == counted(store)
    assert [eviction.kept_because for eviction in store.evict([entry.key])] == [""]
    assert store.find(Track("s", "a")) is None
    assert verify(store).problems == ()


def test_tracks_whose_row_is_damaged_are_found_again_by_their_entries(store: Store) -> None:
    old, new = (put(store, "a", text, version=etag(text.decode())) for text in (b"1", b"2"))
    with store._index.transaction() as rows:
        rows._cache.set("t:s:a", "{")
    assert store.find(Track("s", "a")) is None
    mend(store)
    assert store.find(Track("s", "a")) == new
    assert {entry.key for entry in store.kept([Track("s", "a")])["s:a"]} == {old.key, new.key}
    assert verify(store).problems == ()


def test_a_version_whose_entry_was_dropped_is_kept_no_more(store: Store) -> None:
    entry, other = put(store, "a", b"a"), put(store, "b", b"b")
    with store._index.transaction() as rows:
        rows._cache.set(f"e:{entry.key}", "{")
    mend(store)
    assert store.kept([Track("s", "a"), Track("s", "b")]) == {"s:b": [other]}


def test_a_row_that_was_written_anew_meanwhile_stays(store: Store) -> None:
    entry = put(store, "a", b"a")
    with store._index.transaction() as rows:
        rows._cache.set(f"e:{entry.key}", "{}")
    problems = verify(store).problems
    put(store, "a", b"a")
    [done] = repair(store, problems)
    assert done.action == "left alone: it is right by now, or gone"
    assert store.find(Track("s", "a")) is not None


def test_a_blob_that_grew_under_another_name_costs_what_it_does(store: Store, tmp_path: Path) -> None:
    entry = put(store, "a", b"a" * 4096)
    store.link(entry, tmp_path / "a.wav", LinkMode.HARDLINK)
    blob_of(store, entry).write_bytes(b"b" * 200_000)
    (tmp_path / "a.wav").unlink()
    store.recount()
    assert store.totals().exclusive == store.blobs.path(entry.digest).stat().st_blocks * 512 > 200_000
    [eviction] = store.evict([entry.key])
    assert eviction.freed > 200_000
    assert store.totals() == counted(store) == Totals()


def test_the_totals_are_counted_anew(store: Store) -> None:
    put(store, "a", b"a")
    with store._transaction() as ledger:
        meta = ledger.meta()
        assert meta is not None
        ledger.put_meta(replace(meta, totals=Totals(7, 7, 7, 7, 7)))
    assert [done.problem.kind for done in mend(store)] == ["miscounted"]
    assert store.totals() == counted(store)
