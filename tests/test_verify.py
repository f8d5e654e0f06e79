"""Verify finds what is wrong and changes nothing, in one pass or in several that are cut short."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachestore.blobs import BlobDigest, hash_file
from cachestore.errors import Cancelled, IndexDamaged
from cachestore.index.reader import DATABASE
from cachestore.links import LinkMode
from cachestore.rows import Bundle, BundleFile
from cachestore.store.reader import StoreReader
from cachestore.store.writer import Store
from cachestore.verify import Position, Problem, ProblemKind, Verification, repair
from cachestore.verify.cursor import load_position, save_position
from cachestore.verify.folders import folders
from tests.stores import Report, drop_rows, plant_row, put, verify

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


def digest_of(data: bytes) -> str:
    digest = BlobDigest()
    digest.update(data)
    return digest.hexdigest()


def unknown_blob(store: Store, data: bytes, digest: str) -> Path:
    """Return a file in the place of a blob that no row knows."""
    path = store.blobs.path(digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


def sorted_problems(store: Store) -> list[Problem]:
    return sorted(verify(store).problems, key=lambda problem: (problem.kind, problem.key))


def kinds(report: Report) -> list[tuple[str, str]]:
    return [(problem.kind.value, problem.label) for problem in report.problems]


def test_a_sound_store_has_no_problem(store: Store) -> None:
    for name in "abc":
        put(store, name, name.encode())
    assert verify(store) == Report(3, ())


def test_a_flipped_byte_is_found_even_when_the_mtime_was_restored(store: Store) -> None:
    path = blob_of(store, put(store, "a", b"abcdef"))
    before = path.stat()
    path.write_bytes(b"abcdeF")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kinds(verify(store)) == [("corrupt", "Artist - Title a")]
    assert kinds(verify(store, quick=True)) == [("corrupt", "Artist - Title a")]


def test_truncated_longer_and_missing_blobs_are_told_apart(store: Store) -> None:
    short, long, gone = (blob_of(store, put(store, name, name.encode() * 10)) for name in "abc")
    short.write_bytes(b"a")
    long.write_bytes(b"b" * 11)
    gone.unlink()
    assert sorted(kinds(verify(store))) == [
        ("corrupt", "Artist - Title b"),
        ("missing", "Artist - Title c"),
        ("truncated", "Artist - Title a"),
    ]


def test_quick_hashes_only_what_has_another_witness(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [put(store, name, name.encode()) for name in "abc"]
    os.utime(store.blobs.path(entries[1].digest))
    hashed: list[Path] = []

    def counting(path: Path) -> str:
        hashed.append(path)
        return entries[1].digest

    monkeypatch.setattr("cachestore.verify.judge.hash_file", counting)
    assert verify(store, quick=True).problems == ()
    assert hashed == [store.blobs.path(entries[1].digest)]


def test_files_that_nobody_put_there_are_found(store: Store) -> None:
    put(store, "a", b"a")
    (store.root.blobs / "notes.txt").write_text("mine")
    (store.root.blobs / "folder").symlink_to("/etc")
    unindexed = unknown_blob(store, b"whole", digest_of(b"whole"))
    damaged = unknown_blob(store, b"?", "xxh3-128:" + "1" * 32)
    assert [(problem.kind.value, problem.key) for problem in sorted_problems(store)] == [
        ("corrupt", str(damaged)),
        ("foreign", str(store.root.blobs / "folder")),
        ("foreign", str(store.root.blobs / "notes.txt")),
        ("unindexed", str(unindexed)),
    ]


def test_a_planted_row_is_found(store: Store) -> None:
    with sqlite3.connect(store.root.index / DATABASE) as connection:
        connection.execute("INSERT INTO Cache (key, raw, mode, value) VALUES ('e:x', 1, 4, x'80')")
    connection.close()
    assert [(problem.kind, problem.key) for problem in verify(store).problems] == [(ProblemKind.DAMAGED_ROW, "e:x")]


@pytest.mark.parametrize("quick", [False, True])
def test_planted_totals_are_found_and_mended(store: Store, *, quick: bool) -> None:
    put(store, "a", b"a")
    right = store.totals()
    with store._index.transaction() as rows:
        meta = store.meta().to_row()
        plant_row(rows, "meta", meta | {"totals": meta["totals"] | {"exclusive": 10**15}})
    check = Verification(store, quick=quick)
    assert [(problem.kind, problem.key) for problem in check] == [(ProblemKind.MISCOUNTED, "meta")]
    assert (check.ok, check.complete) == (False, True)
    [done] = repair(store, Verification(store))
    assert (done.action, done.mended) == ("counted anew", True)
    assert store.totals() == right
    assert list(Verification(store)) == []


@pytest.mark.parametrize("is_planted", [False, True])
def test_totals_are_judged_rightly_though_somebody_writes_while_rows_are_looked_at(
    store: Store, *, is_planted: bool
) -> None:
    put(store, "a", b"a")
    blob_of(store, put(store, "b", b"b")).unlink()
    problems = iter(Verification(store))
    assert next(problems).kind is ProblemKind.MISSING
    with Store.open(store.root.path) as other:
        put(other, "c", b"c")
        if is_planted:
            meta = other.meta().to_row()
            with other._index.transaction() as rows:
                plant_row(rows, "meta", meta | {"totals": meta["totals"] | {"exclusive": 10**15}})
    assert [problem.kind for problem in problems] == [ProblemKind.MISCOUNTED] * is_planted


def test_every_entry_of_a_damaged_blob_is_named_with_the_bundles_that_share_it(store: Store, tmp_path: Path) -> None:
    entry, _ = put(store, "a", b"same"), put(store, "b", b"same")
    dest = tmp_path / "bundle"
    dest.mkdir()
    store.link(entry, dest / "01.wav", LinkMode.HARDLINK)
    store.register(Bundle(dest, "bundle", 0.0, (BundleFile("01.wav", entry.digest, LinkMode.HARDLINK),)))
    (dest / "01.wav").chmod(0o644)
    (dest / "01.wav").write_bytes(b"edit")
    report = verify(store)
    assert sorted(kinds(report)) == [("corrupt", "Artist - Title a"), ("corrupt", "Artist - Title b")]
    assert {problem.bundles for problem in report.problems} == {(str(dest),)}


def test_a_quick_pass_looks_only_at_what_the_index_knows(store: Store) -> None:
    unknown_blob(store, b"?", "xxh3-128:" + "1" * 32)
    check = Verification(store, quick=True)
    assert (list(check), check.checked, check.complete) == ([], 0, True)


def test_an_entry_without_a_blob_row_is_missing(store: Store) -> None:
    entry = put(store, "a", b"a")
    drop_rows(store, f"b:{entry.digest}")
    problems = {(problem.kind.value, problem.label) for problem in verify(store).problems}
    assert problems == {("unindexed", ""), ("missing", "Artist - Title a")}


def test_a_file_in_the_place_of_a_folder_is_foreign_and_its_blobs_are_missing(store: Store) -> None:
    entry = put(store, "a", b"a")
    folder = store.blobs.path(entry.digest).parent
    shutil.rmtree(folder)
    folder.write_text("in the way")
    assert [(problem.kind.value, problem.key) for problem in sorted_problems(store)] == [
        ("foreign", str(folder)),
        ("missing", entry.key),
    ]


def test_an_index_whose_pages_do_not_fit_is_damaged(store: Store) -> None:
    for number in range(600):
        put(store, str(number), b"x" * number)
    store.close()
    path = store.root.index / DATABASE
    data = bytearray(path.read_bytes())
    data[4096 * 20 : 4096 * 21] = os.urandom(4096)
    path.write_bytes(data)
    with StoreReader.open_readonly(store.root.path) as reader, pytest.raises(IndexDamaged):
        verify(reader)


def test_looking_settles_nothing_after_a_reboot_and_a_use_does(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store, "a", b"a")
    for room in ("verify.judge", "store.housekeeping"):
        monkeypatch.setattr(f"cachestore.{room}.boot_id", lambda: "another boot")
    hashed: list[Path] = []

    def counting(path: Path) -> str:
        hashed.append(path)
        return hash_file(path)

    monkeypatch.setattr("cachestore.verify.judge.hash_file", counting)
    verify(store, quick=True)
    verify(store, quick=True)
    assert len(hashed) == 2
    with Store.open(store.root.path) as used:
        assert used.is_whole(entry)
    verify(store, quick=True)
    assert len(hashed) == 2


class Clock:
    """Time that goes on by a second each time it is asked for."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def damaged_store(store: Store, count: int) -> set[str]:
    """Put `count` blobs, all damaged, and return their labels."""
    for number in range(count):
        path = blob_of(store, put(store, str(number), f"body {number}".encode()))
        path.write_bytes(b"damaged!")
    return {f"Artist - Title {number}" for number in range(count)}


@pytest.mark.parametrize("seconds", [0.0, 5.0, 40.0])
def test_passes_that_are_cut_short_look_at_everything_once(store: Store, seconds: float) -> None:
    labels = damaged_store(store, 20)
    position, told, passes = Position(), [], 0
    while True:
        check = Verification(store, after=position, time_limit=seconds, clock=Clock())
        told += [problem.label for problem in check]
        passes += 1
        assert check.left == 20 - len(told)
        if check.complete:
            break
        assert check.position != position
        position = check.position
    assert passes > 1
    assert sorted(told) == sorted(labels)
    assert check.position == Position()


def test_a_pass_without_a_limit_is_complete(store: Store) -> None:
    damaged_store(store, 3)
    check = Verification(store)
    assert not check.complete
    assert len(list(check)) == check.checked == check.total == check.found == 3
    assert (check.complete, check.left, check.ok) == (True, 0, False)


def test_progress_is_told_up_to_the_total(store: Store) -> None:
    damaged_store(store, 5)
    told: list[tuple[int, int]] = []
    list(Verification(store, tell=lambda checked, total: told.append((checked, total))))
    assert told == sorted(told)
    assert told[-1] == (5, 5)
    assert len(told) > 5


def test_verify_stops_when_it_is_cancelled(store: Store) -> None:
    put(store, "a", b"a")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        verify(store, cancel=cancel)


def test_verify_stops_in_the_middle_of_a_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a", bytes(10_000_000))
    cancel = threading.Event()

    def hash_after_a_while(path: Path) -> str:
        cancel.set()
        return hash_file(path)

    monkeypatch.setattr("cachestore.verify.judge.hash_file", hash_after_a_while)
    with pytest.raises(Cancelled):
        verify(store, cancel=cancel)


def test_blobs_are_hashed_by_several_threads(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        put(store, name, name.encode())
    both_at_work = threading.Barrier(2)

    def hash_together(path: Path) -> str:
        both_at_work.wait(timeout=10)
        return hash_file(path)

    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("cachestore.verify.judge.hash_file", hash_together)
    assert verify(store).problems == ()


@given(st.sets(st.text("ab", min_size=1, max_size=2).map(lambda name: f"{name[0]}/{name}"), max_size=5), st.data())
def test_folders_are_walked_in_order_from_any_of_them_on(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], data: st.DataObject
) -> None:
    top = tmp_path_factory.mktemp("top")
    for name in names:
        (top / name).mkdir(parents=True, exist_ok=True)
        (top / name / "file").touch()
    walked = list(folders(top, None))
    assert {folder for folder, files in walked if files == ["file"]} == names
    after = data.draw(st.integers(0, len(walked) - 1))
    assert list(folders(top, walked[after][0])) == walked[after + 1 :]


def test_a_position_is_kept_and_the_start_is_no_file(tmp_path: Path) -> None:
    for position in (Position(""), Position("xxh3-128/3f/a0"), Position("odd \n \udcff"), Position(row=17), Position()):
        save_position(tmp_path, position, quick=False)
        assert load_position(tmp_path, quick=False) == position
        assert load_position(tmp_path, quick=True) == Position()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"folder": "", "row": 99999999999999999999}',
        "[" * 100_000,
        "{",
        "[]",
        "null",
        '{"folder": 1, "row": 2}',
        '{"folder": "", "row": -1}',
        '{"folder": "", "row": true}',
        "\xff",
    ],
)
def test_a_position_that_makes_no_sense_is_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "verify.json").write_text(text)
    assert load_position(tmp_path, quick=False) == Position()


def test_a_pipe_in_the_place_of_a_position_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "verify.json")
    assert load_position(tmp_path, quick=False) == Position()


def test_a_position_is_not_written_through_a_planted_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "verify.new").symlink_to("mine")
    save_position(tmp_path, Position(row=1), quick=False)
    assert (tmp_path / "mine").read_text() == "mine"
    assert load_position(tmp_path, quick=False) == Position(row=1)


def test_a_position_that_cannot_be_written_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    save_position(tmp_path / "file", Position(row=1), quick=False)
    assert load_position(tmp_path / "file", quick=False) == Position()
