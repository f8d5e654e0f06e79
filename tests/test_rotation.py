"""Blobs with all the hard links they can have: a fresh file takes their place, and nobody notices.

`few_names` lets a file have three names, by the answer that the system gives at its real limit: after that one, as on
ext4 after 65,000, link(2) fails with EMLINK for this file and for no other one.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import sqlite3
import stat
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cachestore.cache import Cache
from cachestore.config import Config
from cachestore.errors import BlobDamaged, Cancelled, LinkError, NoSpace
from cachestore.links import LinkMode, copy_private
from cachestore.store.writer import Store
from cachestore.sweep import sweep
from cachestore.track import Track
from tests import forks
from tests.crashes import NEVER, _Points
from tests.invariants import blobs_of, faults, leftovers, rows_of, totals
from tests.stores import incoming, put
from tests.stranger import manifest, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from threading import Barrier

    from cachestore.entry import Entry
    from cachestore.store.ledger import Ledger
    from tests.conftest import StartNginx
    from tests.stranger import Stranger

NAMES = 3
DATA = b"some music"
SERVED = {"s:t1": [DATA], "s:other": [b"x" * 20_000]}


def limit_names() -> None:
    """Let no file of this process get more than `NAMES` names."""
    link = os.link

    def limited(source: Path, dest: Path) -> None:
        if os.stat(source).st_nlink >= NAMES:  # noqa: PTH116 - as os.link takes it
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), str(source), None, str(dest))
        link(source, dest)

    os.link = limited  # type: ignore[assignment]


@pytest.fixture
def few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", os.link)  # puts back what `limit_names` replaces
    limit_names()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "root") as opened:
        yield opened


@pytest.fixture
def entry(store: Store, few_names: None, tmp_path: Path) -> Entry:
    """Return an entry whose blob has all names that it can have: its own, and two in the folder ``old``."""
    entry = put(store, "t1", DATA)
    (tmp_path / "old").mkdir()
    for name in "ab":
        store.link(entry, tmp_path / "old" / name, LinkMode.HARDLINK)
    assert blob_of(store, entry).stat().st_nlink == NAMES
    return entry


def blob_of(store: Store, entry: Entry) -> Path:
    return store.blobs.path(entry.digest)


def prune(root: Path) -> None:
    with Store.open(root) as store:
        sweep(store, time.time(), max_size=math.inf)


def nothing_is_wrong(store: Store) -> bool:
    """Ask this last: reading the index without SQLite takes away the locks that this process has on it."""
    return faults(store.root.path, SERVED) == [] and list(store.root.partials.iterdir()) == []


def in_the_middle(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen, once, when the copy has been made and nothing else."""
    copies = []

    def copied(source: Path, dest: Path) -> LinkMode:
        mode = copy_private(source, dest)
        copies.append(dest)
        if len(copies) == 1:
            happens()
        return mode

    monkeypatch.setattr("cachestore.links.copy_private", copied)


# --- what it does


@pytest.mark.parametrize("mode", [LinkMode.AUTO, LinkMode.HARDLINK])
def test_a_blob_without_room_for_another_name_becomes_a_fresh_file(
    store: Store, entry: Entry, tmp_path: Path, mode: LinkMode
) -> None:
    before = blob_of(store, entry).stat().st_ino
    assert store.link(entry, tmp_path / "c", mode) is LinkMode.HARDLINK
    blob = blob_of(store, entry)
    assert blob.samefile(tmp_path / "c")
    assert blob.read_bytes() == DATA
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444
    assert [(tmp_path / "old" / name).stat().st_ino for name in "ab"] == [before, before]
    assert [(tmp_path / "old" / name).read_bytes() for name in "ab"] == [DATA, DATA]
    assert nothing_is_wrong(store)


def test_any_number_of_links_is_possible(store: Store, entry: Entry, tmp_path: Path) -> None:
    dests = [tmp_path / str(number) for number in range(20)]
    assert {store.link(entry, dest, LinkMode.AUTO) for dest in dests} == {LinkMode.HARDLINK}
    assert {dest.read_bytes() for dest in dests} == {DATA}
    assert max(dest.stat().st_nlink for dest in dests) == NAMES
    assert nothing_is_wrong(store)


def test_the_row_knows_the_fresh_file_so_that_nobody_hashes_it_again(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.link(entry, tmp_path / "c", LinkMode.AUTO)
    store.flush()  # what was noted of the file of before must not come back
    info = blob_of(store, entry).stat()
    found = rows_of(store.root.path)[f"b:{entry.digest}"]
    assert found["witness"] == [info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]
    assert found["cost"] == info.st_blocks * 512
    monkeypatch.setattr("cachestore.store.witnesses.hash_file", pytest.fail)
    assert store.is_whole(entry)
    with Store.open(store.root.path) as another:
        assert another.is_whole(entry)


def test_the_bundles_of_before_hold_nothing_any_more(stranger: Stranger, cloud: object, few_names: None) -> None:
    for dest in ("ONE", "TWO"):
        stranger.export(row("t-flac"), dest=dest)
    with Store.open(stranger.root) as store:
        [entry] = store.entries()
        assert store.link(entry, stranger.home / "three", LinkMode.AUTO) is LinkMode.HARDLINK
    rows = rows_of(stranger.root)
    assert rows[f"b:{entry.digest}"]["holders"] == []
    assert rows["meta"]["totals"] == totals(rows)
    assert rows["meta"]["totals"]["exclusive"] == rows[f"b:{entry.digest}"]["cost"] > 0
    stranger.run("verify")


@pytest.mark.parametrize("mode", [LinkMode.COPY, LinkMode.REFLINK])
def test_nothing_is_rotated_for_who_wants_no_hard_link(
    store: Store, entry: Entry, tmp_path: Path, mode: LinkMode
) -> None:
    before = blob_of(store, entry).stat().st_ino
    try:
        store.link(entry, tmp_path / "c", mode)
    except LinkError:
        assert mode is LinkMode.REFLINK
    assert blob_of(store, entry).stat().st_ino == before


def test_where_a_file_can_have_one_name_only_auto_copies_and_hardlink_is_an_error(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))

    entry = put(store, "t1", DATA)
    before = blob_of(store, entry).stat().st_ino
    monkeypatch.setattr(os, "link", refuse)
    assert store.link(entry, tmp_path / "a", LinkMode.AUTO) is LinkMode.COPY
    assert (tmp_path / "a").read_bytes() == DATA
    with pytest.raises(LinkError, match="Too many links"):
        store.link(entry, tmp_path / "b", LinkMode.HARDLINK)
    assert blob_of(store, entry).stat().st_ino == before
    assert nothing_is_wrong(store)


def test_an_existing_file_is_not_overwritten(store: Store, entry: Entry, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        store.link(entry, tmp_path / "old" / "a", LinkMode.AUTO)
    assert nothing_is_wrong(store)


def test_a_folder_that_is_not_there_is_an_error_and_not_tried_for_ever(
    store: Store, entry: Entry, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        store.link(entry, tmp_path / "none" / "a", LinkMode.AUTO)
    assert nothing_is_wrong(store)


# --- what happens meanwhile


def test_another_process_rotates_meanwhile(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other() -> None:
        with Store.open(store.root.path) as another:
            another.link(entry, tmp_path / "theirs", LinkMode.AUTO)

    in_the_middle(monkeypatch, other)
    assert store.link(entry, tmp_path / "ours", LinkMode.AUTO) is LinkMode.HARDLINK
    assert blob_of(store, entry).samefile(tmp_path / "ours")
    assert (tmp_path / "theirs").samefile(tmp_path / "ours")
    assert nothing_is_wrong(store)


def test_another_process_uses_up_the_names_of_the_fresh_file_meanwhile(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def others() -> None:
        with Store.open(store.root.path) as another:
            for number in range(NAMES - 1):
                another.link(entry, tmp_path / f"theirs {number}", LinkMode.AUTO)

    in_the_middle(monkeypatch, others)
    assert store.link(entry, tmp_path / "ours", LinkMode.AUTO) is LinkMode.HARDLINK
    assert blob_of(store, entry).samefile(tmp_path / "ours")
    assert nothing_is_wrong(store)


def test_links_of_before_go_meanwhile(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = blob_of(store, entry).stat().st_ino
    in_the_middle(monkeypatch, lambda: shutil.rmtree(tmp_path / "old"))
    assert store.link(entry, tmp_path / "c", LinkMode.AUTO) is LinkMode.HARDLINK
    assert blob_of(store, entry).stat().st_ino == (tmp_path / "c").stat().st_ino == before
    assert nothing_is_wrong(store)


def test_a_prune_sweeps_the_fresh_file_meanwhile(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pruned() -> None:
        prune(store.root.path)
        assert list(store.root.partials.iterdir()) == []

    in_the_middle(monkeypatch, pruned)
    assert store.link(entry, tmp_path / "c", LinkMode.AUTO) is LinkMode.HARDLINK
    assert nothing_is_wrong(store)


def test_a_blob_that_is_evicted_meanwhile_is_not_served(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evict() -> None:
        with Store.open(store.root.path) as another:
            another.evict([entry.key])

    in_the_middle(monkeypatch, evict)
    with pytest.raises(BlobDamaged):
        store.link(entry, tmp_path / "c", LinkMode.AUTO)
    assert not (tmp_path / "c").exists()
    assert nothing_is_wrong(store)


def test_who_edits_a_link_of_before_meanwhile_keeps_what_they_did(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = tmp_path / "old" / "a"

    def edit() -> None:
        edited.chmod(0o644)
        edited.write_bytes(b"edited tag")

    in_the_middle(monkeypatch, edit)
    assert store.link(entry, tmp_path / "c", LinkMode.AUTO) is LinkMode.HARDLINK
    assert (tmp_path / "c").read_bytes() == blob_of(store, entry).read_bytes() == DATA
    assert edited.read_bytes() == b"edited tag"
    assert nothing_is_wrong(store)


def edit_when_linked(monkeypatch: pytest.MonkeyPatch, store: Store, dest: Path, happens: Callable[[], object]) -> None:
    """Let somebody edit `dest`, and put its mtime back, while the lock of the index is waited for."""
    transact = store._linker._transact

    def late() -> AbstractContextManager[Ledger]:
        info = dest.stat()
        dest.chmod(0o644)
        dest.write_bytes(b"their work")
        os.utime(dest, ns=(info.st_atime_ns, info.st_mtime_ns))
        happens()
        return transact()

    monkeypatch.setattr(store._linker, "_transact", late)


def test_who_edits_the_new_link_before_it_is_the_blob_keeps_that_and_nobody_gets_it(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "new"
    monkeypatch.setitem(vars(store._ticks), "_are_fine", True)
    with monkeypatch.context() as edited:
        edit_when_linked(edited, store, dest, lambda: dest.chmod(0o444))
        store.link(entry, dest, LinkMode.HARDLINK)
    assert dest.read_bytes() == b"their work"
    assert store.find(Track("s", "t1")) is None
    store.put([incoming(store, "t1", DATA)])
    store.link(entry, tmp_path / "again", LinkMode.HARDLINK)
    assert ((tmp_path / "again").read_bytes(), dest.read_bytes()) == (DATA, b"their work")


def test_who_edits_the_new_link_of_a_blob_that_goes_meanwhile_keeps_that(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "new"

    def goes() -> None:
        dest.chmod(0o444)
        blob_of(store, entry).unlink()

    with monkeypatch.context() as edited:
        edit_when_linked(edited, store, dest, goes)
        with pytest.raises(BlobDamaged):
            store.link(entry, dest, LinkMode.HARDLINK)
    assert dest.read_bytes() == b"their work"


def test_bytes_that_rot_unseen_are_found_by_the_copy_and_not_handed_on(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rot(_: Path, dest: Path) -> LinkMode:
        dest.write_bytes(b"rotten tag")
        return LinkMode.COPY

    monkeypatch.setattr("cachestore.links.copy_private", rot)
    with pytest.raises(BlobDamaged, match="Title t1"):
        store.link(entry, tmp_path / "c", LinkMode.AUTO)
    assert not (tmp_path / "c").exists()
    assert nothing_is_wrong(store)


# --- the room it takes


def full_cache(store: Store, entry: Entry, **bounds: int) -> Cache:
    """Return a cache that has room for little more than one other blob."""
    known: dict[str, Any] = {"max_size": 30_000, "min_free": 0} | bounds
    cache = Cache(Config(root=store.root.path, **known), store)
    other = put(store, "other", b"x" * 20_000)
    assert cache.find(Track("s", "t1")) == entry
    assert cache.find(Track("s", "other")) == other
    return cache


def test_the_copy_gets_its_room_as_a_download_does(store: Store, entry: Entry, tmp_path: Path) -> None:
    cache = full_cache(store, entry)
    with store.run("fetch") as run_id:
        store.lease(run_id, [entry.digest])
        assert cache.link(entry, tmp_path / "c") is LinkMode.HARDLINK
    assert blob_of(store, entry).samefile(tmp_path / "c")
    assert cache.find(Track("s", "other")) is None
    assert store.reserved() == 0
    assert nothing_is_wrong(store)


@pytest.mark.parametrize("why", ["pinned", "min_free"])
def test_without_room_for_a_fresh_file_there_is_a_copy_and_a_link_is_refused(
    store: Store, entry: Entry, tmp_path: Path, why: str
) -> None:
    cache = full_cache(store, entry, **({"min_free": 10**15} if why == "min_free" else {}))
    store.pin(Track("s", "other"), pinned=True)
    store.pin(Track("s", "t1"), pinned=True)
    before = blob_of(store, entry).stat().st_ino
    assert cache.link(entry, tmp_path / "c") is LinkMode.COPY
    with pytest.raises(LinkError, match="no room for a fresh one"):
        cache.link(entry, tmp_path / "d", LinkMode.HARDLINK)
    assert (tmp_path / "c").read_bytes() == DATA
    assert not (tmp_path / "d").exists()
    assert blob_of(store, entry).stat().st_ino == before
    assert store.reserved() == 0
    assert nothing_is_wrong(store)


# --- what ends it


def test_a_cancel_ends_the_copy_and_leaves_nothing(store: Store, entry: Entry, tmp_path: Path) -> None:
    store._index.cancelled = lambda: True
    with pytest.raises(Cancelled):
        store.link(entry, tmp_path / "c", LinkMode.AUTO)
    assert not (tmp_path / "c").exists()
    assert nothing_is_wrong(store)


def test_a_full_disk_of_the_store_is_named(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def full(path: Path, mode: str, buffering: int = -1) -> object:
        if mode == "xb":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return opened(path, mode, buffering)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(NoSpace, match=str(store.root.partials)):
        store.link(entry, tmp_path / "c", LinkMode.AUTO)
    assert not (tmp_path / "c").exists()


def test_a_row_that_cannot_be_written_leaves_no_link(
    store: Store, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("cachestore.store.ledger.Ledger.put_blob", full)
    with pytest.raises(Exception, match="full"):
        store.link(entry, tmp_path / "c", LinkMode.AUTO)
    assert not (tmp_path / "c").exists()
    monkeypatch.undo()
    assert store.link(entry, tmp_path / "c", LinkMode.AUTO) is LinkMode.HARDLINK
    assert nothing_is_wrong(store)


def link_until(point: int, log: Path, root: Path, dest: Path) -> None:
    """Link in a process that is killed at a point of tests/crashes.py."""
    limit_names()
    clock = _Points(root.parent, point, os.open(log, os.O_WRONLY | os.O_CREAT))
    sqlite3.connect = clock.connecting(sqlite3.connect)  # type: ignore[assignment]
    with Store.open(root) as store:
        [entry] = store.entries()
        assert store.is_whole(entry)
        sys.addaudithook(clock.audit)
        store.link(entry, dest, LinkMode.AUTO)
    os.write(clock.log, str(clock.count).encode())


def run_until(point: int, scratch: Path, root: Path, dest: Path) -> tuple[int | None, str]:
    log = scratch / f"log-{point}"
    process = forks._server().Process(target=link_until, args=(point, log, root, dest))
    process.start()
    process.join(60)
    return process.exitcode, log.read_text()


@pytest.mark.long
def test_a_kill_at_any_point_leaves_what_a_prune_sweeps(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, few_names: None
) -> None:
    root, scratch = tmp_path / "root", tmp_path_factory.mktemp("scratch")
    with Store.open(root) as store:
        put(store, "t1", DATA)
    use_up_names(root, tmp_path / "first")
    code, points = run_until(NEVER, scratch, root, tmp_path / "whole")
    assert code == 0
    for point in range(1, int(points) + 1):
        use_up_names(root, tmp_path / str(point))
        dest = tmp_path / f"{point}.link"
        code, place = run_until(point, scratch, root, dest)
        assert code == -9, (point, place)
        assert faults(root, SERVED) == [], place
        assert not dest.exists() or dest.read_bytes() == DATA, place
        prune(root)
        assert leftovers(root, tmp_path) == [], place
        use_up_names(root, tmp_path / f"{point} again")
        assert faults(root, SERVED) == [], place
    assert int(points) > 5


def use_up_names(root: Path, folder: Path) -> None:
    """Link the only blob of a store as often as it can be, and twice at least."""
    folder.mkdir()
    with Store.open(root) as store:
        [entry] = store.entries()
        for name in "ab":
            assert store.link(entry, folder / name, LinkMode.AUTO) is LinkMode.HARDLINK
            assert (folder / name).samefile(blob_of(store, entry))
        while blob_of(store, entry).stat().st_nlink < NAMES:
            store.link(entry, folder / "c", LinkMode.AUTO)


def link_many(root: Path, folder: Path, number: int, together: Barrier) -> None:
    limit_names()
    with Store.open(root) as store:
        [entry] = store.entries()
        together.wait()
        for dest in (folder / f"{number}-{link}" for link in range(30)):
            assert store.link(entry, dest, LinkMode.AUTO) is LinkMode.HARDLINK


def test_processes_that_rotate_at_once_are_all_right(store: Store, entry: Entry, tmp_path: Path) -> None:
    context = forks._server()
    folder = tmp_path / "links"
    folder.mkdir()
    together = context.Barrier(3)
    target = partial(link_many, store.root.path, folder, together=together)
    processes = [context.Process(target=target, args=(number,)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    files = list(folder.iterdir())
    assert len(files) == 90
    assert {file.read_bytes() for file in files} == {DATA}
    assert max(file.stat().st_nlink for file in files) <= NAMES
    assert nothing_is_wrong(store)


# --- and for good


@pytest.mark.long
def test_an_export_gets_its_hard_links_at_the_limit_of_a_real_filesystem(
    stranger: Stranger, nginx: StartNginx, cloud: object, tmp_path: Path
) -> None:
    stranger.export(row("t-flac"))
    [blob] = blobs_of(stranger.root).values()
    (tmp_path / "many").mkdir()
    names = use_up(blob, tmp_path / "many")
    exported = stranger.export(row("t-flac"), dest="AGAIN")
    assert "in 1 hard link\n" in exported.out
    [again] = stranger.media("AGAIN")
    assert again.samefile(next(iter(blobs_of(stranger.root).values())))
    assert again.read_bytes() == stranger.media()[0].read_bytes()
    assert again.stat().st_nlink == 2
    assert stranger.media()[0].stat().st_nlink == names - 1
    assert manifest(stranger.home / "AGAIN")["tracks"][0]["link_mode"] == "hardlink"
    stranger.run("verify")


def use_up(blob: Path, folder: Path) -> int:
    """Give a file all names that it can have, and return how many."""
    with suppress(OSError):
        for number in range(66_000):
            os.link(blob, folder / str(number))
        pytest.skip("files can have more than 66,000 names here")
    return blob.stat().st_nlink
