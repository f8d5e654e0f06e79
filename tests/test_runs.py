"""Runs: alive while the lock is held, dead however the process ended."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from cachestore.cli.main import run
from cachestore.partials import DownloadLock
from cachestore.partials.sidecar import track_name
from cachestore.runs import PruneLock, RunLock, is_alive, remove_if_dead, remove_unnamed, run_ids
from cachestore.store.writer import Store
from tests.stores import put

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path


def test_a_run_is_alive_until_it_is_released_and_leaves_no_file(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    assert is_alive(tmp_path, lock.id)
    assert list(run_ids(tmp_path)) == [lock.id]
    lock.release()
    assert not is_alive(tmp_path, lock.id)
    assert list(tmp_path.iterdir()) == []


def _run_until_killed(folder: Path, pipe: Connection) -> None:
    lock = RunLock(folder)
    pipe.send(lock.id)
    signal.pause()


def test_a_killed_run_is_dead_and_its_file_can_be_forgotten(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run_until_killed, args=(tmp_path, theirs), daemon=True)
    process.start()
    run_id = ours.recv()
    assert is_alive(tmp_path, run_id)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not is_alive(tmp_path, run_id)
    assert list(run_ids(tmp_path)) == [run_id]
    assert remove_if_dead(tmp_path, run_id)
    assert list(run_ids(tmp_path)) == []


def test_the_lock_file_of_a_living_run_cannot_be_removed(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    assert not remove_if_dead(tmp_path, lock.id)
    assert is_alive(tmp_path, lock.id)
    lock.release()


def _probe_until_told(folder: Path, pipe: Connection) -> None:
    pipe.send("ready")
    while not pipe.poll():
        for run_id in run_ids(folder):
            remove_if_dead(folder, run_id)


@pytest.mark.long
def test_runs_that_begin_while_others_look_for_dead_ones_keep_their_locks(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_probe_until_told, args=(tmp_path, theirs), daemon=True)
    process.start()
    ours.recv()
    for _ in range(500):
        lock = RunLock(tmp_path)
        assert is_alive(tmp_path, lock.id)
        lock.release()
    ours.send("enough")
    process.join()


def test_files_that_are_no_lock_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("")
    assert list(run_ids(tmp_path)) == []


# --- where locks do not work

WITHOUT_LOCKS = pytest.mark.parametrize(
    "number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get
)
DAY = 86400.0


def break_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)


def grow_old(path: Path, age: float) -> None:
    os.utime(path, (time.time() - age, time.time() - age))


@WITHOUT_LOCKS
def test_without_locks_the_age_of_a_run_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    break_locks(monkeypatch, number)
    lock = RunLock(tmp_path)
    grow_old(tmp_path / lock.id, 6 * DAY)
    assert is_alive(tmp_path, lock.id)
    assert not remove_if_dead(tmp_path, lock.id)
    for age in (8 * DAY, -300 * DAY):  # a clock was ahead
        grow_old(tmp_path / lock.id, age)
        assert not is_alive(tmp_path, lock.id)
    assert remove_if_dead(tmp_path, lock.id)
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_got_no_lock_lives_though_others_could_get_it(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        break_locks(patch, errno.ENOLCK)
        lock = RunLock(tmp_path)
    assert is_alive(tmp_path, lock.id)
    assert not remove_if_dead(tmp_path, lock.id)
    lock.release()
    assert not is_alive(tmp_path, lock.id)


@WITHOUT_LOCKS
def test_commands_work_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    with Store.open(tmp_path / "root") as store:
        put(store, "1", b"a")
    break_locks(monkeypatch, number)
    (tmp_path / "config.toml").write_text("min_age = 0")
    for command in (["ls"], ["prune", "--dry-run"], ["verify"], ["prune", "--max-size", "0", "--min-free", "0"]):
        assert run(["--root", str(tmp_path / "root"), "--config", str(tmp_path / "config.toml"), *command]) == 0
    with Store.open(tmp_path / "root") as store:
        assert list(store.entries()) == []
        assert list(store.runs()) == []


# --- one pruner


def test_one_process_prunes_at_a_time(tmp_path: Path) -> None:
    lock = PruneLock.acquire(tmp_path)
    assert lock is not None
    assert PruneLock.acquire(tmp_path) is None
    lock.release()
    after = PruneLock.acquire(tmp_path)
    assert after is not None
    after.release()
    assert list(run_ids(tmp_path)) == []


def _prune_until_told(folder: Path, pipe: Connection) -> None:
    lock = PruneLock.acquire(folder)
    pipe.send(lock is not None)
    pipe.recv()


def test_another_pruner_waits_until_it_is_cancelled_or_the_first_one_dies(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_prune_until_told, args=(tmp_path, theirs), daemon=True)
    process.start()
    assert ours.recv()
    asked = iter([False, False, True])
    assert PruneLock.acquire(tmp_path, lambda: next(asked)) is None
    assert next(asked, None) is None
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    lock = PruneLock.acquire(tmp_path, lambda: False)
    assert lock is not None
    lock.release()


@WITHOUT_LOCKS
def test_where_locks_do_not_work_a_pruner_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    break_locks(monkeypatch, number)
    locks = [PruneLock.acquire(tmp_path), PruneLock.acquire(tmp_path)]
    for lock in locks:
        assert lock is not None
        lock.release()


def test_what_a_run_leaves_that_was_killed_before_it_began_goes_after_its_time(tmp_path: Path) -> None:
    left, young, foreign = tmp_path / f"{'a' * 32}.new", tmp_path / f"{'b' * 32}.new", tmp_path / "notes"
    for path, age in ((left, 100.0), (young, 0.0), (foreign, 100.0)):
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    remove_unnamed(tmp_path, 950.0)
    assert sorted(tmp_path.iterdir()) == sorted([young, foreign])


def test_no_lock_is_written_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "runs").mkdir()
    for name in ("prune.lock", "a" * 32, f"{'b' * 32}.new"):
        (tmp_path / "runs" / name).symlink_to(tmp_path / "thesis.txt")
    lock = PruneLock.acquire(tmp_path / "runs")
    assert lock is not None
    lock.release()
    assert not is_alive(tmp_path / "runs", "a" * 32)
    assert remove_if_dead(tmp_path / "runs", "a" * 32)
    remove_unnamed(tmp_path / "runs", time.time() + 60)
    download = DownloadLock.acquire(tmp_path, "s:1")
    assert download is not None
    download.release()
    (tmp_path / f"{track_name('s:2')}.lock").symlink_to(tmp_path / "thesis.txt")
    going_alone = DownloadLock.acquire(tmp_path, "s:2")
    assert going_alone is not None
    assert not going_alone.is_real
    assert (tmp_path / "thesis.txt").read_text() == "mine"
