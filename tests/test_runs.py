"""Runs: alive while the lock is held, dead however the process ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import TYPE_CHECKING

import pytest

from cachestore.runs import RunLock, is_alive, remove_if_dead, run_ids

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
