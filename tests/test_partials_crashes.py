"""Partials after kills, and where locks do not work: nothing is lost that need not be, and nothing is mixed up."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachestore.boot import boot_id
from cachestore.errors import Cancelled, NoSpace
from cachestore.partials import DownloadLock, DownloadLocks, claim, claims, reclaim, sidecar
from cachestore.version import Version, VersionKind
from tests.unfinished import GO_ON, PROVIDED, STRONG, TRACK, age, claimed, digest_of, kept, killed, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cachestore.partials import Partial

# Rescue: what a killed process wrote


def test_the_bytes_of_a_process_that_is_really_killed_are_rescued(tmp_path: Path) -> None:
    code = f"""
import os, pathlib, signal, threading
from cachestore.partials import DownloadLock, claim
from cachestore.version import Version, VersionKind
folder = pathlib.Path({str(tmp_path)!r})
with claim(folder, {TRACK!r}, DownloadLock.acquire(folder, {TRACK!r}), threading.Event()) as partial:
    version = Version(VersionKind.STRONG, '"a"')
    partial.begin(version, version, 200_000)
    partial.write(bytes(range(250)) * 400)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert names(tmp_path) == [".json", ".lock", ".work"]
    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    with claim(tmp_path, TRACK, lock, GO_ON) as partial:
        assert partial.received > 90_000
        assert partial.path.read_bytes() == (bytes(range(250)) * 400)[: partial.received]
        assert (partial.version, partial.total) == (STRONG, 200_000)


def test_a_rescue_copies_and_leaves_the_original_alone(tmp_path: Path) -> None:
    path = killed(tmp_path, b"abc")
    with claimed(tmp_path) as partial:
        assert (partial.received, partial.version, partial.total) == (3, STRONG, 100)
        assert partial.path != path
        partial.write(b"def")
        partial.flush()
        assert path.read_bytes() == b"abc"


def test_two_who_rescue_the_same_bytes_do_not_meet(tmp_path: Path) -> None:
    killed(tmp_path, b"abc")
    with claimed(tmp_path) as one, claimed(tmp_path) as other:
        one.write(b"def")
        other.write(b"xyz")
        one.flush()
        other.flush()
        assert [one.path.read_bytes(), other.path.read_bytes()] == [b"abcdef", b"abcxyz"]


def test_what_is_kept_is_taken_before_what_is_to_be_rescued(tmp_path: Path) -> None:
    killed(tmp_path, b"abc")
    kept_of_rescued = kept(tmp_path, b"xy")
    with claimed(tmp_path) as partial:
        assert partial.received == 2
        assert not kept_of_rescued.exists()


def test_the_longest_of_several_is_rescued(tmp_path: Path) -> None:
    for data in (b"ab", b"abcd", b"abc"):
        killed(tmp_path, data)
    with claimed(tmp_path) as partial:
        assert partial.received == 4


@pytest.mark.parametrize(
    "sidecar",
    [{"boot": "another"}, {"boot": ""}, {"total": None}, {"validator": None}, {"total": "x"}],
)
def test_what_may_be_incomplete_or_cannot_go_on_is_not_rescued(
    tmp_path: Path, sidecar: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(tmp_path, b"abc", **sidecar)
    monkeypatch.setattr(claims, "_copy", lambda *_: pytest.fail("bytes were copied"))
    with claimed(tmp_path) as partial:
        assert partial.received == 0


def test_where_a_boot_has_no_name_nothing_is_rescued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(tmp_path, b"abc", boot="")
    monkeypatch.setattr(sidecar, "boot_id", lambda: "")
    with claimed(tmp_path) as partial:
        assert partial.received == 0


def test_a_partial_taken_over_after_a_reboot_can_be_rescued_after_a_kill(tmp_path: Path) -> None:
    sidecar = kept(tmp_path, b"abc").with_suffix(".json")
    sidecar.write_text(sidecar.read_text().replace(boot_id(), "another"))
    with claimed(tmp_path) as partial:
        partial.write(b"def")
        partial.flush()
        with claimed(tmp_path) as rescued:
            assert rescued.received == 6


def test_bytes_that_were_begun_anew_while_they_were_copied_are_not_rescued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, copy = killed(tmp_path, b"abc"), claims._copy

    def copy_slowly(source: Path, target: Path, cancel: threading.Event) -> None:
        source.write_bytes(b"xyz")
        path.with_suffix(".json").write_text("begun anew")
        copy(source, target, cancel)

    monkeypatch.setattr(claims, "_copy", copy_slowly)
    with claimed(tmp_path) as partial:
        assert partial.received == 0
    assert names(tmp_path) == [".json", ".work"]


@pytest.mark.parametrize("what", ["the disk is full", "the original goes"])
def test_a_rescue_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    path = killed(tmp_path, b"abc")

    def copy_badly(source: Path, target: Path, _: threading.Event) -> None:
        target.write_bytes(source.read_bytes()[:2])
        if what == "the disk is full":
            raise OSError(errno.ENOSPC, what)
        path.unlink()
        path.with_suffix(".json").unlink()

    monkeypatch.setattr(claims, "_copy", copy_badly)
    left = names(tmp_path) if what == "the disk is full" else []
    with claimed(tmp_path) as partial:
        assert partial.received == 0
        assert names(tmp_path) == left


def test_a_cancel_ends_a_rescue_and_leaves_all_as_it_was(tmp_path: Path) -> None:
    path = killed(tmp_path, b"abc")
    cancel = threading.Event()
    cancel.set()
    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    with pytest.raises(Cancelled), claim(tmp_path, TRACK, lock, cancel):
        pytest.fail("it was claimed all the same")
    assert set(tmp_path.iterdir()) == {path, path.with_suffix(".json")}


@pytest.mark.parametrize(
    ("has_lock", "is_still", "goes"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_what_was_rescued_goes_when_its_owner_cannot_be_alive(
    tmp_path: Path, has_lock: bool, is_still: bool, goes: bool
) -> None:
    path = killed(tmp_path, b"abc")
    age(path, time.time() - (130 if is_still else 100))
    lock = DownloadLock.acquire(tmp_path, TRACK) if has_lock else DownloadLock.without(tmp_path)
    assert lock is not None
    with claim(tmp_path, TRACK, lock, GO_ON) as partial:
        assert partial.received == 3
        assert path.exists() is not goes
        assert path.with_suffix(".json").exists() is not goes


def test_a_claim_that_fails_releases_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(*_: object) -> None:
        raise PermissionError

    kept(tmp_path, b"abc")
    monkeypatch.setattr(Path, "rename", rename)
    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    with pytest.raises(PermissionError), claim(tmp_path, TRACK, lock, GO_ON):
        pytest.fail("it was claimed all the same")
    assert not lock.is_real
    assert names(tmp_path) == [".json", ".part"]


def test_of_several_that_were_given_back_the_longest_is_gone_on_with_and_the_others_go(tmp_path: Path) -> None:
    for data in (b"ab", b"abcd", b"abc"):
        path = killed(tmp_path, data)
        path.rename(path.with_suffix(".kept"))
    for path in tmp_path.glob("*.kept"):
        path.rename(path.with_suffix(".part"))
    with claimed(tmp_path) as partial:
        assert partial.received == 4
        assert names(tmp_path) == [".json", ".work"]


def test_what_a_crash_left_beside_a_partial_that_was_given_back_goes_too(tmp_path: Path) -> None:
    kept(tmp_path, b"abcd")
    age(killed_beside(tmp_path), 1000)
    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    with claim(tmp_path, TRACK, lock, GO_ON) as partial:
        assert partial.received == 4
        assert names(tmp_path) == [".json", ".lock", ".work"]


def killed_beside(folder: Path) -> Path:
    """Leave what a killed download leaves beside a partial that was given back; return its file."""
    there = folder / "there"
    there.mkdir()
    path = killed(there, b"ab")
    path.with_suffix(".json").rename(folder / path.with_suffix(".json").name)
    path = path.rename(folder / path.name)
    there.rmdir()
    return path


def test_nothing_is_copied_that_there_is_no_room_for(tmp_path: Path) -> None:
    path = killed(tmp_path, b"abc")
    asked: list[int] = []

    def refuse(size: int) -> None:
        asked.append(size)
        raise NoSpace(tmp_path)

    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    with pytest.raises(NoSpace), claim(tmp_path, TRACK, lock, GO_ON, take_room=refuse):
        pytest.fail("it was claimed all the same")
    assert asked == [3]
    assert not lock.is_real
    assert set(tmp_path.iterdir()) == {path, path.with_suffix(".json")}


# Giving back what the dead had claimed


def test_what_the_dead_had_claimed_is_given_back_and_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it synced: on a slow disk nobody could end that."""
    path = killed(tmp_path, b"abc")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: pytest.fail("bytes were synced"))
        reclaim(tmp_path, lambda: False, still=0)
    assert names(tmp_path) == [".json", ".part"]
    monkeypatch.setattr(claims, "_copy", lambda *_: pytest.fail("bytes were copied"))
    with claimed(tmp_path) as partial:
        assert partial.received == 3
        assert not path.exists()


@pytest.mark.parametrize("sidecar", [{"boot": "another"}, {"total": None}, {"validator": None}])
def test_what_the_dead_had_claimed_and_nobody_can_go_on_with_is_removed(
    tmp_path: Path, sidecar: dict[str, object]
) -> None:
    age(killed(tmp_path, b"abc", **sidecar), time.time() - 130)
    reclaim(tmp_path, lambda: False, still=0)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("boot", "sound"), [("another", True), ("", False)])
def test_what_another_machine_may_be_writing_is_left_alone(tmp_path: Path, boot: str, sound: bool) -> None:
    """Its locks keep nobody out here, and its boot is not ours, or not known."""
    path = killed(tmp_path, b"abc", boot=boot)
    if not sound:
        path.with_suffix(".json").unlink()
        path = path.rename(path.with_name(f"{path.name[:33]}{'0' * 32}.work"))
        path.with_suffix(".json").write_text("{")
    reclaim(tmp_path, lambda: False, still=0)
    assert path.read_bytes() == b"abc"


@pytest.mark.parametrize("of", ["bytes that are gone", "a copy of a blob"])
def test_what_a_kill_left_of_two_files_goes(tmp_path: Path, of: str) -> None:
    path = killed(tmp_path, b"abc")
    if of == "bytes that are gone":
        path.unlink()
    else:
        path.with_suffix(".json").unlink()
        path = path.rename(path.with_name(f"{path.name[:33]}{'0' * 32}.work"))
        reclaim(tmp_path, lambda: False, still=0)
        assert path.exists()
        age(path, time.time() - 130)
    reclaim(tmp_path, lambda: True, still=0)
    assert len(names(tmp_path)) == 1
    reclaim(tmp_path, lambda: False, still=0)
    assert names(tmp_path) == []


def test_what_had_come_at_once_goes_as_soon_as_nobody_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no sidecar: its name tells of which boot it is."""
    path = killed(tmp_path, b"abc")
    path.with_suffix(".json").unlink()
    reclaim(tmp_path, lambda: True, still=0)
    for boot in ("another one", ""):
        with monkeypatch.context() as patch:
            patch.setattr(sidecar, "boot_id", lambda boot=boot: boot)
            reclaim(tmp_path, lambda: False, still=0)
            assert path.exists()
    reclaim(tmp_path, lambda: False, still=0)
    assert names(tmp_path) == []


def test_a_sidecar_with_its_bytes_stays(tmp_path: Path) -> None:
    kept(tmp_path, b"abc")
    reclaim(tmp_path, lambda: False, still=0)
    assert names(tmp_path) == [".json", ".part"]


@pytest.mark.parametrize("why", ["a run lives", "its track is locked", "locks do not work", "it was just written"])
def test_what_may_have_an_owner_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    path = killed(tmp_path, b"abc")
    lock = DownloadLock.acquire(tmp_path, TRACK) if why == "its track is locked" else None
    if why == "locks do not work":
        monkeypatch.setattr(DownloadLock, "acquire", lambda folder, _: DownloadLock.without(folder))
    reclaim(tmp_path, lambda: why == "a run lives", still=100 if why == "it was just written" else 0)
    assert path.read_bytes() == b"abc"
    if lock is not None:
        lock.release()


def test_what_is_claimed_while_it_is_asked_who_lives_is_left_alone(tmp_path: Path) -> None:
    killed(tmp_path, b"abc")

    def begin() -> bool:
        late.append(killed_beside(tmp_path))
        return False

    late: list[Path] = []
    reclaim(tmp_path, begin, still=0)
    assert [path for path in tmp_path.iterdir() if path.suffix == ".work"] == late


@pytest.mark.parametrize("suffix", [".json", ".work"])
def test_no_symlink_is_given_back(tmp_path: Path, suffix: str) -> None:
    path = killed(tmp_path, b"abc").with_suffix(suffix)
    path.rename(tmp_path / "thesis.txt")
    path.symlink_to(tmp_path / "thesis.txt")
    reclaim(tmp_path, lambda: False, still=0)
    assert path.is_symlink()


@pytest.mark.parametrize("rest", [".part", ""])
def test_what_was_claimed_under_a_lock_that_can_be_had_is_given_back_whoever_lives(tmp_path: Path, rest: str) -> None:
    killed(tmp_path, b"abc", locked=True, **({} if rest else {"total": None}))
    reclaim(tmp_path, lambda: True, still=1000)
    assert names(tmp_path) == ([".json", rest] if rest else [])


def test_what_was_claimed_under_a_lock_is_left_alone_where_everybody_gets_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    path = killed(tmp_path, b"abc", locked=True)
    reclaim(tmp_path, lambda: True, still=0)
    with locked(tmp_path) as partial:
        assert partial.path != path
    assert path.read_bytes() == b"abc"


def test_what_was_claimed_under_a_lock_is_gone_on_with_by_who_has_it_and_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {killed(tmp_path, b"abc", locked=True), killed_beside(tmp_path)}
    monkeypatch.setattr(claims, "_copy", lambda *_: pytest.fail("bytes were copied"))
    with locked(tmp_path) as partial:
        assert partial.received == 3
        assert partial.path in paths
        partial.write(b"def")
    with locked(tmp_path) as partial:
        assert partial.received == 6


def test_who_goes_alone_never_has_bytes_under_a_name_that_was_claimed_under_a_lock(tmp_path: Path) -> None:
    """Whoever gets the lock takes those for ownerless, and two would write one file."""
    path = kept(tmp_path, b"abc")
    row = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(row | {"locked": True}))
    with claimed(tmp_path) as alone:
        reclaim(tmp_path, lambda: True, still=0)
        with locked(tmp_path) as other:
            assert other.path != alone.path
            alone.write(b"def")
            alone.flush()
            assert alone.path.read_bytes() == b"abcdef"


@pytest.mark.parametrize("ahead", [86_400.0, 86_400.0 * 365])
def test_what_was_written_under_a_clock_that_was_ahead_is_given_back(tmp_path: Path, ahead: float) -> None:
    age(killed(tmp_path, b"abc"), time.time() + ahead)
    reclaim(tmp_path, lambda: False, still=120)
    assert names(tmp_path) == [".json", ".part"]


def test_bytes_that_nobody_synced_are_not_gone_on_with_under_another_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(tmp_path, b"abc")
    reclaim(tmp_path, lambda: False, still=0)
    monkeypatch.setattr(sidecar, "boot_id", lambda: "another")
    with claimed(tmp_path) as partial:
        assert partial.received == 0


def test_a_cancel_while_given_back_bytes_are_hashed_leaves_all_as_it_was(tmp_path: Path) -> None:
    killed(tmp_path, bytes(3 * 1024 * 1024), total=10**7)
    reclaim(tmp_path, lambda: False, still=0)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled), claim(tmp_path, TRACK, DownloadLock.without(tmp_path), cancel):
        pytest.fail("it was claimed all the same")
    with claimed(tmp_path) as partial:
        assert partial.received == 3 * 1024 * 1024


@contextmanager
def locked(folder: Path) -> Iterator[Partial]:
    """Claim a partial under the lock of its track."""
    lock = DownloadLock.acquire(folder, TRACK)
    assert lock is not None
    with claim(folder, TRACK, lock, GO_ON) as partial:
        yield partial


# The lock


def test_one_has_the_lock_until_it_is_released(tmp_path: Path) -> None:
    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    assert DownloadLock.acquire(tmp_path, TRACK) is None
    other = DownloadLock.acquire(tmp_path, "home:t42")
    assert other is not None
    other.release()
    lock.release()
    lock.release()
    assert names(tmp_path) == []
    again = DownloadLock.acquire(tmp_path, TRACK)
    assert again is not None
    again.release()


def test_locks_of_one_process_are_names_of_one_file(tmp_path: Path) -> None:
    locks = DownloadLocks(tmp_path)
    one, two = locks.acquire(TRACK), locks.acquire("home:t42")
    assert one is not None
    assert two is not None
    assert len({path.stat().st_ino for path in tmp_path.iterdir()}) == 1
    assert locks.acquire(TRACK) is None
    one.release()
    assert DownloadLock.acquire(tmp_path, "home:t42") is None
    again, other = DownloadLock.acquire(tmp_path, TRACK), locks.acquire("home:t43")
    assert again is not None
    assert other is not None
    for lock in (again, other, two):
        lock.release()
    assert names(tmp_path) == []


def test_each_lock_of_a_process_that_is_killed_can_be_had_at_once(tmp_path: Path) -> None:
    code = f"""
import os, pathlib, signal
from cachestore.partials import DownloadLocks
locks = DownloadLocks(pathlib.Path({str(tmp_path)!r}))
held = [locks.acquire(f"home:t{{number}}") for number in range(3)]
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert names(tmp_path) == [".lock"] * 3
    locks, others = DownloadLocks(tmp_path), DownloadLocks(tmp_path)
    found = [locks.acquire("home:t0"), others.acquire("home:t1"), locks.acquire("home:t2")]
    assert all(lock is not None and lock.is_real for lock in found)
    assert others.acquire("home:t0") is None
    for lock in found:
        assert lock is not None
        lock.release()
    assert names(tmp_path) == []


def test_where_no_links_can_be_made_each_lock_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    locks = DownloadLocks(tmp_path)
    one, two = locks.acquire(TRACK), locks.acquire("home:t42")
    assert one is not None
    assert two is not None
    one.release()
    assert DownloadLock.acquire(tmp_path, "home:t42") is None
    two.release()
    assert names(tmp_path) == []


def test_a_lock_whose_name_somebody_else_took_keeps_out_as_before(tmp_path: Path) -> None:
    locks, others = DownloadLocks(tmp_path), DownloadLocks(tmp_path)
    one = locks.acquire(TRACK)
    next(tmp_path.iterdir()).unlink()
    theirs, two = others.acquire(TRACK), locks.acquire("home:t42")
    assert DownloadLock.acquire(tmp_path, "home:t42") is None
    assert len({path.stat().st_ino for path in tmp_path.iterdir()}) == 2
    for lock in (one, theirs, two):
        assert lock is not None
        assert lock.is_real
        lock.release()


def test_a_lock_can_be_released_by_another_thread(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool, ExitStack() as files:
        lock = pool.submit(DownloadLock.acquire, tmp_path, TRACK).result()
        assert lock is not None
        same_file = files.enter_context(next(tmp_path.glob("*.lock")).open("rb"))
        lock.release()
        fcntl.flock(same_file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_partial_left_unfinished_releases_its_lock(tmp_path: Path) -> None:
    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    with claim(tmp_path, TRACK, lock, GO_ON) as partial:
        partial.begin(STRONG, STRONG, 3)
    again = DownloadLock.acquire(tmp_path, TRACK)
    assert again is not None
    again.release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_where_locks_do_not_work_everybody_gets_one_that_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    _assert_nobody_is_kept_out(tmp_path)


def _assert_nobody_is_kept_out(folder: Path) -> None:
    for lock in (DownloadLock.acquire(folder, TRACK), DownloadLock.acquire(folder, TRACK)):
        assert lock is not None
        lock.release()


# Whatever happens


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    chunks=st.lists(
        st.tuples(st.binary(min_size=1, max_size=50), st.sampled_from(["", "cancelled", "killed", "killed, rebooted"])),
        min_size=1,
        max_size=8,
    ),
    version=st.sampled_from([STRONG, PROVIDED, Version(VersionKind.WEAK, 'W/"a"'), None]),
)
def test_whatever_was_interrupted_the_bytes_kept_are_a_beginning_of_the_body(
    tmp_path: Path, chunks: list[tuple[bytes, str]], version: Version | None
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    body = b"".join(chunk for chunk, _ in chunks)
    sent = left = 0
    for number, (chunk, end) in enumerate(chunks):
        with claimed(folder) as partial:
            assert partial.received == left
            if partial.received == 0:
                partial.begin(version, STRONG if version == STRONG else None, len(body))
            sent += len(chunk)
            partial.write(body[left:sent])
            if number == len(chunks) - 1:
                partial.finish()
        _interrupt(folder, end)
        left = sent if version in {STRONG, PROVIDED} and end != "killed, rebooted" else 0
    assert partial.path.read_bytes() == body
    assert partial.hexdigest == digest_of(body)


def _interrupt(folder: Path, end: str) -> None:
    """Make of a kept partial what a kill would have left."""
    if end.startswith("killed"):
        for part in list(folder.glob("*.part")):
            part.rename(part.with_suffix(".work"))
    if end == "killed, rebooted":
        for sidecar in folder.glob("*.json"):
            sidecar.write_text(sidecar.read_text().replace(boot_id(), "another"))
