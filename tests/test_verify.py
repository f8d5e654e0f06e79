"""Verify finds what is wrong and changes nothing; repair mends it and loses nobody's work."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from cachestore.errors import Cancelled
from cachestore.index.reader import DATABASE
from cachestore.links import LinkMode
from cachestore.rows import Bundle, BundleFile
from cachestore.store.writer import Store
from cachestore.track import Track
from cachestore.verify import ProblemKind, Report, repair, verify
from tests.stores import put

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

    monkeypatch.setattr("cachestore.verify.hash_file", counting)
    assert verify(store, quick=True).problems == ()
    assert hashed == [store.blobs.path(entries[1].digest)]


def test_files_that_nobody_put_there_are_found(store: Store) -> None:
    put(store, "a", b"a")
    (store.root.blobs / "notes.txt").write_text("mine")
    unindexed = store.blobs.path("xxh3-128:" + "1" * 32)
    unindexed.parent.mkdir(parents=True)
    unindexed.write_bytes(b"?")
    problems = {problem.kind: problem.key for problem in verify(store).problems}
    assert problems == {
        ProblemKind.FOREIGN: str(store.root.blobs / "notes.txt"),
        ProblemKind.UNINDEXED: str(unindexed),
    }


def test_a_planted_row_is_found(store: Store) -> None:
    with sqlite3.connect(store.root.index / DATABASE) as connection:
        connection.execute("INSERT INTO Cache (key, raw, mode, value) VALUES ('e:x', 1, 4, x'80')")
    connection.close()
    assert [(problem.kind, problem.key) for problem in verify(store).problems] == [(ProblemKind.DAMAGED_ROW, "e:x")]


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


def test_repair_leaves_a_store_without_problems_and_bundles_with_their_bytes(store: Store, tmp_path: Path) -> None:
    entries = {name: put(store, name, name.encode() * 10) for name in "abcd"}
    store.link(entries["a"], tmp_path / "edited.wav", LinkMode.HARDLINK)
    for name in "ab":
        blob_of(store, entries[name]).write_bytes(b"edit")
    blob_of(store, entries["c"]).unlink()
    (store.root.blobs / "notes.txt").write_text("mine")
    repairs = repair(store, verify(store))
    assert len(repairs) == 4
    assert verify(store).problems == ()
    assert [store.find(Track("s", name)) is not None for name in "abcd"] == [False, False, False, True]
    assert (tmp_path / "edited.wav").read_bytes() == b"edit"
    assert sorted(path.read_bytes() for path in store.root.quarantine.iterdir()) == [b"edit", b"mine"]


def test_repair_keeps_the_pin_of_a_track(store: Store) -> None:
    blob_of(store, put(store, "a", b"a")).unlink()
    store.pin(Track("s", "a"), pinned=True)
    repair(store, verify(store))
    assert put(store, "a", b"a").pinned


def test_repair_does_not_touch_a_blob_that_healed_meanwhile(store: Store) -> None:
    entry = put(store, "a", b"abc")
    path = blob_of(store, entry)
    path.write_bytes(b"abX")
    report = verify(store)
    path.write_bytes(b"abc")
    repair(store, report)
    assert store.find(Track("s", "a")) == entry


def test_verify_stops_when_it_is_cancelled(store: Store) -> None:
    put(store, "a", b"a")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        verify(store, cancel=cancel)
