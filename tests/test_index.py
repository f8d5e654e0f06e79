"""The index: rows of JSON text, one lock among processes, no pickle ever."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import diskcache
import pytest

from cachestore.errors import Busy, Cancelled, IndexDamaged, RootUnusable
from cachestore.index import writer
from cachestore.index.reader import DATABASE, IndexReader
from cachestore.index.writer import Index
from tests.stores import plant_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.synchronize import Event
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def index(folder: Path) -> Iterator[Index]:
    opened = Index(folder)
    yield opened
    opened.close()


def test_what_was_written_is_read(index: Index) -> None:
    with index.transaction() as rows:
        plant_row(rows, "a:1", {"name": "ünï", "list": [1, None]})
    assert index.get("a:1") == {"name": "ünï", "list": [1, None]}
    assert index.get("a:2") is None


def test_rows_are_written_together_over_whatever_was_there(folder: Path, index: Index) -> None:
    plant(folder, "a:1", "raw, mode, value, expire_time, filename, tag", (1, 0, b"x", 1.0, "f", "t"))
    number = index.last()
    with index.transaction() as rows:
        rows.set_many([("a:2", {"n": 2}, None), ("a:1", {"n": 1}, 5.5), ("a:2", {"n": 3}, "pin")])
    assert index.get_many(["a:1", "a:2"]) == {"a:1": {"n": 1}, "a:2": {"n": 3}}
    assert [(row.number, row.key, row.tag) for [*page] in index.pages(0, index.last()) for row in page] == [
        (number, "a:1", 5.5),
        (number + 1, "a:2", "pin"),
    ]
    with diskcache.Cache(str(folder), disk=writer.JsonTextDisk) as cache:  # which keeps count of its rows
        assert [*cache] == ["a:1", "a:2"]
        assert (len(cache), cache.check()) == (2, [])


def test_an_index_is_not_mapped_into_the_memory_of_who_writes_it(folder: Path) -> None:
    diskcache.Cache(str(folder)).close()  # keeps what it was first opened with, which is 64 MB
    index = Index(folder)
    try:
        assert index._cache._con.execute("PRAGMA mmap_size").fetchall() == [(0,)]
    finally:
        index.close()


def test_a_transaction_that_raises_leaves_nothing(index: Index) -> None:
    with suppress(ZeroDivisionError), index.transaction() as rows:
        plant_row(rows, "a:1", {})
        raise ZeroDivisionError
    assert index.get("a:1") is None


def test_a_transaction_sees_its_own_writes_and_nobody_else_does(index: Index) -> None:
    with index.transaction() as rows:
        plant_row(rows, "a:1", {"x": 1})
        assert rows.get("a:1") == {"x": 1}
        assert index.get("a:1") is None
        rows.delete("a:1")
        assert rows.get("a:1") is None


def test_a_row_whose_value_changes_keeps_its_tag_and_one_that_is_not_there_is_not_made(index: Index) -> None:
    with index.transaction() as rows:
        rows.set_many([("a:1", {"n": 1}, 5.5), ("a:2", {"n": 2}, None)])
    with index.transaction() as rows:
        rows.change_many([("a:1", {"n": 7}), ("a:3", {"n": 3})])
    assert list(index.scan("a:")) == [("a:1", {"n": 7}), ("a:2", {"n": 2})]
    assert list(index.in_order()) == [("a:1", {"n": 7})]


def test_a_scan_yields_one_prefix_in_order(index: Index) -> None:
    with index.transaction() as rows:
        for key in ("b:2", "a:1", "b:10", "c:1", "b:"):
            plant_row(rows, key, {})
    assert [key for key, _ in index.scan("b:")] == ["b:", "b:10", "b:2"]


def test_thousands_of_keys_are_read_at_once(index: Index) -> None:
    with index.transaction() as rows:
        for number in range(1500):
            plant_row(rows, f"a:{number}", {"n": number})
    found = index.get_many(f"a:{number}" for number in range(0, 3000, 2))
    assert len(found) == 750
    assert found["a:1498"] == {"n": 1498}


def test_a_scan_of_many_pages_shows_every_row_and_pins_no_old_state(index: Index) -> None:
    with index.transaction() as rows:
        for number in range(1200):
            plant_row(rows, f"a:{number:04}", {"n": number})
    seen = []
    for key, _ in index.scan("a:"):
        seen.append(key)
        if len(seen) == 1:
            with index.transaction() as rows:
                rows.delete("a:1100")
        assert index.get("a:1100") is None
    assert seen == [f"a:{number:04}" for number in range(1200) if number != 1100]


def test_keys_with_awkward_characters_are_kept_apart(index: Index) -> None:
    keys = ["a:", "a:\x00", "a:ü", "a:%", "a:_", "a:'"]
    with index.transaction() as rows:
        for key in keys:
            plant_row(rows, key, {"key": key})
    assert {key: row["key"] for key, row in index.scan("a:")} == dict(zip(keys, keys, strict=True))


class Bomb:
    """Says on unpickling that it was unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return os.putenv, ("CACHESTORE_TEST_EXPLODED", "1")


class Text(bytes):
    """Bytes that SQLite is to take for a text."""


def plant(folder: Path, key: object, columns: str, values: tuple[object, ...]) -> None:
    marks = ",".join("CAST(? AS TEXT)" if isinstance(value, Text) else "?" for value in (key, *values))
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        connection.execute(f"INSERT INTO Cache (key, {columns}) VALUES ({marks})", (key, *values))


PLANTED = [
    pytest.param("raw, mode, value", (1, 4, pickle.dumps(Bomb())), id="a pickle as value"),
    pytest.param("raw, mode, value", (1, 4, "{}"), id="a value that claims to be a pickle"),
    pytest.param("raw, mode, value", (0, 1, "{}"), id="a key that claims to be a pickle"),
    pytest.param("raw, mode, filename", (1, 2, "../../secret"), id="a value in a file"),
    pytest.param("raw, mode, filename, value", (1, 1, "../../secret", "{}"), id="a value that is in a file, too"),
    pytest.param("raw, mode, value", (1, 1, b"{}"), id="bytes"),
    pytest.param("raw, mode, value", (1, 1, 5), id="a number"),
    pytest.param("raw, mode, value", (1, 1, Text(b'{"a":"\xff"}')), id="text that is no UTF-8"),
    pytest.param("raw, mode, value", (1, 1, "{"), id="text that is no JSON"),
    pytest.param("raw, mode, value", (1, 1, "[]"), id="JSON that is no object"),
    pytest.param("raw, mode, value", (1, 1, "{}{}"), id="two objects"),
    pytest.param("raw, mode, value", (1, 1, "[" * 200_000), id="JSON that has no end"),
]


@pytest.mark.parametrize(("columns", "values"), PLANTED)
def test_a_planted_row_is_refused_unread_and_hides_only_itself(
    folder: Path, columns: str, values: tuple[object, ...]
) -> None:
    index = Index(folder)
    with index.transaction() as rows:
        plant_row(rows, "a:1", {})
    index.close()
    plant(folder, "a:bad", columns, values)
    index = Index(folder)
    try:
        assert index.get("a:bad") is None
        assert [key for key, _ in index.scan("a:")] == ["a:1"]
        assert [row.key for page in index.pages(0, index.last()) for row in page if row.row is None] == ["a:bad"]
        with index.transaction() as rows:
            rows.delete("a:bad")
            assert not rows.has("a:bad")
    finally:
        index.close()
    assert "CACHESTORE_TEST_EXPLODED" not in os.environ


def test_a_key_that_is_no_text_hides_only_itself(folder: Path, index: Index) -> None:
    with index.transaction() as rows:
        for number in range(1500):
            plant_row(rows, f"a:{number:04}", {})
    for number in range(0, 1500, 250):
        plant(folder, Text(b"a:%04d\xff" % number), "raw, mode, value", (1, 1, "{}"))
    keys = [f"a:{number:04}" for number in range(1500)]
    assert [key for key, _ in index.scan("a:")] == keys
    assert [f"a:{name}" for name in index.names("a:")] == keys
    assert index.get_many(keys).keys() == {*keys}
    assert sum(row.row is None for page in index.pages(0, index.last()) for row in page) == 6


def test_a_row_that_is_to_expire_stays(folder: Path, index: Index) -> None:
    plant(folder, "a:1", "raw, mode, value, expire_time", (1, 1, '{"a":1}', 1.0))
    with index.transaction() as rows:
        assert rows.has("a:1")
        assert rows.get("a:1") == {"a": 1} == index.get("a:1")
        plant_row(rows, "a:2", {})
    assert [key for key, _ in index.scan("a:")] == ["a:1", "a:2"]
    with index.transaction() as rows:
        rows.delete("a:1")
    assert index.get("a:1") is None


@pytest.mark.parametrize(
    "setting",
    [
        ("disk_nonsense", "1"),
        (b"\x80", "1"),
        ("set", "1"),
        ("_sql", "1"),
        ("cull_limit", "9"),
        ("eviction_policy", "least-recently-used"),
    ],
)
def test_settings_that_somebody_planted_delete_nothing(folder: Path, setting: tuple[object, str]) -> None:
    Index(folder).close()
    plant(folder, "a:1", "raw, mode, value, expire_time", (1, 1, "{}", 1.0))
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", setting)
    try:
        index = Index(folder)
    except IndexDamaged as error:
        assert "its settings make no sense" in str(error)  # noqa: PT017 - some are harmless
        return
    with closing(index):
        with index.transaction() as rows:
            plant_row(rows, "a:2", {})
        assert [key for key, _ in index.scan("a:")] == ["a:1", "a:2"]


def test_a_file_that_is_no_database_is_an_error_with_the_place(folder: Path) -> None:
    folder.mkdir()
    (folder / DATABASE).write_bytes(b"not a database" * 1000)
    with pytest.raises(IndexDamaged, match=DATABASE):
        Index(folder)
    with pytest.raises(IndexDamaged, match=DATABASE):
        IndexReader(folder)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_never_opened(folder: Path, suffix: str, plant: Callable[[Path], None]) -> None:
    with closing(Index(folder)):
        pass
    path = folder / f"{DATABASE}{suffix}"
    path.unlink(missing_ok=True)
    plant(path)
    for opened in (Index, IndexReader):
        with pytest.raises(IndexDamaged, match=f"{DATABASE}{suffix}: it is no regular file"):
            opened(folder)


def _hold_lock(folder: Path, held: Event, release: Event) -> None:
    index = Index(folder)
    with index.transaction() as rows:
        plant_row(rows, "a:theirs", {})
        held.set()
        release.wait(20)
    index.close()


@pytest.fixture
def locked_elsewhere(folder: Path) -> Iterator[Event]:
    """Another process that holds the lock until the event is set."""
    Index(folder).close()
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold_lock, args=(folder, held, release), daemon=True)
    process.start()
    assert held.wait(20)
    yield release
    release.set()
    process.join()


def test_a_reader_leaves_out_no_log_with_something_in_it(
    folder: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = IndexReader._connect_in

    def connect_where_nothing_can_be_made(self: IndexReader, mode: str) -> sqlite3.Connection:
        if mode == "mode=ro":
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise error
        return connect(self, mode)

    monkeypatch.setattr(IndexReader, "_connect_in", connect_where_nothing_can_be_made)
    with index.transaction() as rows:
        plant_row(rows, "a:1", {"name": "one"})
    with pytest.raises(RootUnusable, match="mount it writable"):
        IndexReader(folder)
    index.close()  # now the log is in the database
    with closing(IndexReader(folder)) as reader:
        assert reader.get("a:1") == {"name": "one"}


def test_what_somebody_keeps_for_himself_is_busy_and_not_read_without_its_log(
    folder: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.close()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **(options | {"timeout": 0})))
    with closing(connect(folder / DATABASE, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("CREATE TABLE mine (number)")
        with pytest.raises(Busy):
            IndexReader(folder)
    IndexReader(folder).close()


def test_readers_do_not_wait_for_a_writer(folder: Path, locked_elsewhere: Event) -> None:
    reader = IndexReader(folder)
    assert reader.get("a:theirs") is None
    reader.close()


def test_a_writer_waits_until_the_other_is_done(folder: Path, index: Index, locked_elsewhere: Event) -> None:
    threading.Timer(0.2, locked_elsewhere.set).start()
    with index.transaction() as rows:
        assert rows.get("a:theirs") == {}


def test_a_writer_gives_up_after_its_patience(
    index: Index, locked_elsewhere: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.0)
    with pytest.raises(Busy), index.transaction():
        pytest.fail("the lock is held elsewhere")


def test_who_gave_up_does_not_wait_again_until_the_lock_was_had(
    folder: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(folder / DATABASE, isolation_level=None, check_same_thread=False)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        for patience in (0.0, 600.0):
            monkeypatch.setattr(writer, "_PATIENCE", patience)
            with pytest.raises(Busy), index.transaction():
                pytest.fail("the lock is held elsewhere")
        other.execute("ROLLBACK")
        with index.transaction():
            pass
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.2, other.execute, ["ROLLBACK"]).start()
        with index.transaction():
            pass


def test_cancel_ends_the_wait_also_while_the_index_is_opened(folder: Path, locked_elsewhere: Event) -> None:
    with pytest.raises(Cancelled):
        Index(folder, lambda: True)


def test_opening_gives_up_after_its_patience(
    folder: Path, locked_elsewhere: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.0)
    with pytest.raises(Busy):
        Index(folder)


def test_cancel_ends_the_wait_for_the_lock(index: Index, locked_elsewhere: Event) -> None:
    index.cancelled = lambda: True
    with pytest.raises(Cancelled), index.transaction():
        pytest.fail("the lock is held elsewhere")
