"""Partials: unfinished downloads, each with one owner, and what people see of them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cachestore.blobs import hash_file
from cachestore.boot import boot_id
from cachestore.errors import Cancelled, NoSpace
from cachestore.partials import (
    Abandoned,
    DownloadLock,
    Partial,
    Promise,
    Remains,
    Unfinished,
    abandoned,
    claim,
    claims,
    drop_unclaimed,
    newest,
    unfinished,
)
from cachestore.partials.sidecar import Sidecar, read_sidecar
from cachestore.version import Version, VersionKind
from tests.unfinished import GO_ON, PROVIDED, STRONG, TRACK, age, claimed, digest_of, kept, killed, names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OTHER = Version(VersionKind.STRONG, '"b"')

# Keeping and taking over


def test_a_partial_is_taken_over_with_its_bytes_hashed_again(tmp_path: Path) -> None:
    kept(tmp_path, b"abc", total=6)
    with claimed(tmp_path) as partial:
        assert (partial.version, partial.total, partial.received) == (STRONG, 6, 3)
        assert partial.resumable
        assert not partial.complete
        partial.write(b"def")
        assert partial.complete
        partial.finish()
    assert partial.hexdigest == digest_of(b"abcdef")
    assert partial.path.read_bytes() == b"abcdef"


def test_a_partial_can_be_claimed_once(tmp_path: Path) -> None:
    kept(tmp_path, b"abc")
    with claimed(tmp_path) as first, claimed(tmp_path, "home:t1") as other:
        assert (first.received, other.received) == (3, 0)
        assert first.path.suffix == ".work"
        assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize("has_lock", [True, False])
def test_of_many_who_see_a_partial_one_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_lock: bool
) -> None:
    kept(tmp_path, b"abc")
    lock = DownloadLock.acquire(tmp_path, TRACK) if has_lock else DownloadLock.without(tmp_path)
    assert lock is not None
    all_see_it = threading.Barrier(8, timeout=10)
    rename = Path.rename

    def rename_together(path: Path, target: Path) -> Path:
        all_see_it.wait()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_together)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: claims._kept(tmp_path.iterdir(), lock), range(8)))
    assert sum(path is not None for path in found) == 1
    assert sum(path.suffix == ".json" for path in tmp_path.iterdir()) == 1
    lock.release()


@pytest.mark.parametrize("planted", [".part", ".work", ".json"])
def test_a_symlink_that_looks_like_a_partial_is_neither_read_nor_written(tmp_path: Path, planted: str) -> None:
    (tmp_path / "thesis.txt").write_bytes(b"abc")
    left = kept(tmp_path, b"abc", total=6)
    if planted == ".json":
        left.with_suffix(".json").rename(tmp_path / "thesis.txt")
    else:
        left.unlink()
    before = (tmp_path / "thesis.txt").read_bytes()
    left.with_suffix(planted).symlink_to(tmp_path / "thesis.txt")
    with claimed(tmp_path) as partial:
        assert partial.received == 0
        partial.begin(STRONG, STRONG, 6)
        partial.write(b"def")
    assert (tmp_path / "thesis.txt").read_bytes() == before


def test_of_many_claims_only_one_lists_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path, b"abc")
    kept(tmp_path, b"de", address="home:t1")
    remains = Remains(tmp_path)
    listed: list[Path] = []

    def listdir(folder: Path, works: Callable[[Path], list[str]] = os.listdir) -> list[str]:
        listed.append(folder)
        return works(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    monkeypatch.setattr(Path, "glob", lambda *_: pytest.fail("the folder was looked through"))
    received = []
    for address in (TRACK, "home:t1", "home:t2"):
        with claim(tmp_path, address, DownloadLock.without(tmp_path), GO_ON, remains) as partial:
            received.append(partial.received)
    assert (received, listed) == ([3, 2, 0], [tmp_path])


def test_what_is_left_later_is_found_where_it_is_expected(tmp_path: Path) -> None:
    remains = Remains(tmp_path)
    assert remains.of(TRACK) == []
    path = kept(tmp_path, b"abc")
    kept(tmp_path, b"de", address="home:t1")
    remains.expect(TRACK)
    assert {*remains.of(TRACK)} == {path, path.with_suffix(".json")}
    assert remains.of("home:t1") == []


def test_what_was_left_and_is_gone_by_now_is_no_loss(tmp_path: Path) -> None:
    kept(tmp_path, b"abc")
    remains = Remains(tmp_path)
    assert remains.of(TRACK)
    with claimed(tmp_path) as other:
        with claim(tmp_path, TRACK, DownloadLock.without(tmp_path), GO_ON, remains) as partial:
            assert partial.received == 0
        assert other.received == 3


def test_a_partial_of_another_track_is_not_touched(tmp_path: Path) -> None:
    kept(tmp_path, b"abc")
    with claimed(tmp_path, "home:t42") as other:
        assert other.received == 0
    with claimed(tmp_path) as partial:
        assert partial.received == 3


def test_a_partial_that_is_finished_is_its_callers_until_that_releases_it(tmp_path: Path) -> None:
    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    with claim(tmp_path, TRACK, lock, GO_ON) as partial:
        partial.begin(STRONG, STRONG, 3)
        partial.write(b"ab")
        partial.write(b"c")
        partial.finish()
    assert names(tmp_path) == [".json", ".lock", ".work"]
    assert DownloadLock.acquire(tmp_path, TRACK) is None
    partial.release()
    assert list(tmp_path.iterdir()) == [partial.path]


@pytest.mark.parametrize(("validator", "left"), [(STRONG, [".json", ".part"]), (None, [])])
def test_a_body_that_is_not_published_is_left_if_it_can_be_confirmed(
    tmp_path: Path, validator: Version | None, left: list[str]
) -> None:
    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    with claim(tmp_path, TRACK, lock, GO_ON) as partial:
        partial.begin(STRONG, validator, 3)
        partial.write(b"abc")
        partial.finish()
    partial.leave()
    assert names(tmp_path) == left
    with claimed(tmp_path) as again:
        assert again.complete is bool(left)


def test_a_body_whose_caller_was_killed_before_publishing_it_is_rescued_complete(tmp_path: Path) -> None:
    with claimed(tmp_path) as partial:
        partial.begin(STRONG, STRONG, 3)
        partial.write(b"ab")
        partial.write(b"c")
        partial.finish()
    with claimed(tmp_path) as rescued:
        assert rescued.complete
        assert rescued.hexdigest == digest_of(b"abc")


def test_a_body_that_comes_at_once_is_read_from_memory_and_has_no_sidecar(tmp_path: Path) -> None:
    with claimed(tmp_path) as partial:
        partial.begin(STRONG, STRONG, 3)
        partial.write(b"abc")
        with partial.open("rb") as body:
            assert body.read() == b"abc"
        partial.finish()
        assert names(tmp_path) == [".work"]
        assert partial.path.read_bytes() == b"abc"


def test_a_body_that_comes_at_once_after_one_that_did_not_is_not_taken_for_that(tmp_path: Path) -> None:
    kept(tmp_path, b"abc")
    with claimed(tmp_path) as partial:
        partial.begin(OTHER, OTHER, 3)
        partial.write(b"xyz")
        partial.finish()
    with claimed(tmp_path) as rescued:
        assert (rescued.version, rescued.hexdigest) == (OTHER, digest_of(b"xyz"))


def test_more_than_was_announced_is_read_back_whole(tmp_path: Path) -> None:
    with claimed(tmp_path) as partial:
        partial.begin(STRONG, STRONG, 3)
        partial.write(b"abc")
        partial.write(b"d")
        with partial.open("rb") as body:
            assert body.read() == b"abcd"


@pytest.mark.parametrize(
    ("version", "validator", "total"),
    [
        (STRONG, STRONG, None),
        (PROVIDED, None, None),
        (Version(VersionKind.WEAK, 'W/"a"'), None, 100),
        (Version(VersionKind.MODIFIED, "then 100"), None, 100),
        (None, None, 100),
    ],
)
def test_what_nobody_can_ask_the_rest_of_is_not_kept(
    tmp_path: Path, version: Version | None, validator: Version | None, total: int | None
) -> None:
    with claimed(tmp_path) as partial:
        partial.begin(version, validator, total)
        partial.write(b"abc")
        assert not partial.resumable
    assert names(tmp_path) == []


@pytest.mark.parametrize("validator", [None, STRONG])
def test_what_a_provider_has_a_word_for_is_kept_with_what_its_server_says(
    tmp_path: Path, validator: Version | None
) -> None:
    with claimed(tmp_path) as partial:
        partial.begin(PROVIDED, validator, 100)
        partial.write(b"abc")
    with claimed(tmp_path) as partial:
        assert (partial.version, partial.validator, partial.received) == (PROVIDED, validator, 3)


def test_a_partial_of_nothing_is_not_kept(tmp_path: Path) -> None:
    with claimed(tmp_path) as partial:
        partial.begin(STRONG, STRONG, 100)
    assert names(tmp_path) == []


def test_a_partial_that_is_begun_anew_forgets_what_it_had(tmp_path: Path) -> None:
    kept(tmp_path, b"abc")
    other = Version(VersionKind.STRONG, '"b"')
    with claimed(tmp_path) as partial:
        partial.begin(other, other, 2)
        assert partial.received == 0
        partial.write(b"xy")
    with claimed(tmp_path) as partial:
        assert (partial.version, partial.total, partial.hexdigest) == (other, 2, digest_of(b"xy"))


def test_a_partial_that_is_cleared_is_gone_and_can_be_begun_anew(tmp_path: Path) -> None:
    kept(tmp_path, b"abc")
    with claimed(tmp_path) as partial:
        partial.clear()
        assert (partial.version, partial.total, partial.received, names(tmp_path)) == (None, None, 0, [])
        partial.begin(STRONG, STRONG, 3)
        partial.write(b"xyz")
        partial.finish()
    assert partial.path.read_bytes() == b"xyz"


def test_a_file_that_was_flushed_can_be_read_and_written_on(tmp_path: Path) -> None:
    with claimed(tmp_path) as partial:
        partial.begin(STRONG, STRONG, 6)
        partial.write(b"abc")
        partial.flush()
        assert partial.path.read_bytes() == b"abc"
        partial.write(b"def")
        partial.finish()
    assert partial.path.read_bytes() == b"abcdef"


def test_a_sidecar_tells_what_the_bytes_are_of_and_nothing_else(tmp_path: Path) -> None:
    path = kept(tmp_path, b"abc")
    assert json.loads(path.with_suffix(".json").read_text()) == {
        "track": TRACK,
        "version": ["etag", '"a"'],
        "validator": ["etag", '"a"'],
        "total": 100,
        "boot": boot_id(),
        "resource": "",
        "hint": None,
        "promised": [],
        "digest": hash_file(path),
        "locked": False,
    }


def test_kept_bytes_that_changed_on_the_disk_are_not_gone_on_with(tmp_path: Path) -> None:
    path = kept(tmp_path, b"abc")
    path.write_bytes(b"abd")
    with claimed(tmp_path) as partial:
        assert partial.received == 0


_TAG, _PROMISE = ["etag", '"a"'], ["Repr-Digest", "MD5", "AAAAAAAAAAAAAAAAAAAAAA==", 0, None]
_SIDECAR: dict[str, object] = {
    "track": TRACK,
    "version": _TAG,
    "validator": _TAG,
    "resource": "0123",
    "hint": ["weak-etag", 'W/"a"'],
    "promised": [_PROMISE],
    "digest": digest_of(b"abc"),
    "total": 9,
    "boot": "",
}
_WRONG: list[dict[str, object]] = [
    {"version": ["rumour", "a"]},
    {"version": ["etag", 7]},
    {"version": ["etag"]},
    {"version": "etag"},
    {"version": 7},
    {"validator": ["etag", None]},
    {"validator": None},
    {"resource": None},
    {"hint": "a"},
    {"promised": None},
    {"promised": [[]]},
    {"promised": [[*_PROMISE[:3], "0", None]]},
    {"promised": [[*_PROMISE[:3], 0, "9"]]},
    {"promised": [["Repr-Digest", "MD5", "?", 0, None]]},
    {"promised": [["Repr-Digest", 5, "", 0, None]]},
    {"promised": [[*_PROMISE[:3], -1, None]]},
    {"promised": [[*_PROMISE[:3], 5, 3]]},
    {"promised": [[*_PROMISE[:3], 10, None]]},
    {"promised": [[*_PROMISE[:3], 10**30, 10**30]]},
    {"total": None},
    {"total": "9"},
    {"total": True},
    {"total": -1},
    {"total": 2},
    {"track": None},
    {"boot": 1},
]


def test_a_partial_whose_sidecar_is_as_it_should_be_is_taken_over(tmp_path: Path) -> None:
    kept(tmp_path, b"abc").with_suffix(".json").write_text(json.dumps(_SIDECAR))
    with claimed(tmp_path) as partial:
        assert (partial.received, partial.version, partial.validator, partial.total) == (3, STRONG, STRONG, 9)
        assert partial.resource == "0123"
        assert partial.hint == Version(VersionKind.WEAK, 'W/"a"')
        assert partial.promised == (Promise("Repr-Digest", "MD5", bytes(16)),)


def test_a_partial_with_a_promise_that_only_a_newer_program_understands_is_taken_over(tmp_path: Path) -> None:
    sidecar = _SIDECAR | {"promised": [["Repr-Digest", "SHA-3", "AAAA", 0, None], _PROMISE], "news": "of tomorrow"}
    kept(tmp_path, b"abc").with_suffix(".json").write_text(json.dumps(sidecar))
    with claimed(tmp_path) as partial:
        assert [promise.algorithm for promise in partial.promised] == ["SHA-3", "MD5"]


@pytest.mark.parametrize(
    "sidecar",
    [
        b"",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(_SIDECAR).encode()[:50],
        *(json.dumps(_SIDECAR | wrong).encode() for wrong in _WRONG),
        *(json.dumps({k: v for k, v in _SIDECAR.items() if k != gone}).encode() for gone in _SIDECAR),
    ],
)
def test_a_partial_whose_sidecar_cannot_be_relied_on_is_dropped(tmp_path: Path, sidecar: bytes) -> None:
    kept(tmp_path, b"abc").with_suffix(".json").write_bytes(sidecar)
    with claimed(tmp_path) as partial:
        assert partial.received == 0
    assert names(tmp_path) == []


def test_a_partial_without_its_sidecar_is_dropped(tmp_path: Path) -> None:
    kept(tmp_path, b"abc").with_suffix(".json").unlink()
    with claimed(tmp_path) as partial:
        assert partial.received == 0
    assert names(tmp_path) == []


def test_a_partial_longer_than_the_whole_is_dropped(tmp_path: Path) -> None:
    with kept(tmp_path, b"abc", total=3).open("ab") as file:
        file.write(b"d")
    with claimed(tmp_path) as partial:
        assert partial.received == 0
    assert names(tmp_path) == []


def test_a_cancel_while_bytes_are_hashed_again_gives_the_partial_back(tmp_path: Path) -> None:
    kept(tmp_path, bytes(3 * 1024 * 1024), total=10**7)
    cancel = threading.Event()
    cancel.set()
    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    with pytest.raises(Cancelled), claim(tmp_path, TRACK, lock, cancel):
        pytest.fail("it was claimed all the same")
    assert names(tmp_path) == [".json", ".part"]
    with claimed(tmp_path) as partial:
        assert partial.received == 3 * 1024 * 1024


def test_a_full_disk_gets_back_what_the_partial_had(tmp_path: Path) -> None:
    kept(tmp_path, b"abc", total=10**6)
    with claimed(tmp_path) as partial:
        partial.path.unlink()
        partial.path.symlink_to("/dev/full")
        with pytest.raises(NoSpace):
            partial.write(bytes(10**5))
        assert names(tmp_path) == []


def test_a_full_disk_is_found_at_the_latest_by_a_flush(tmp_path: Path) -> None:
    with claimed(tmp_path) as partial:
        partial.path.symlink_to("/dev/full")
        partial.begin(STRONG, STRONG, 3)
        partial.write(b"abc")
        with pytest.raises(NoSpace):
            partial.flush()
        assert names(tmp_path) == []


# What lies there


def test_unfinished_downloads_are_listed_kept_and_claimed(tmp_path: Path) -> None:
    age(kept(tmp_path, b"abc"), 1000)
    lock = DownloadLock.acquire(tmp_path, "home:t1")
    assert lock is not None
    with claim(tmp_path, "home:t1", lock, GO_ON) as partial:
        partial.begin(None, None, None)
        partial.write(b"abcd")
        partial.flush()
        age(partial.path, 2000)
        (tmp_path / "notes.txt").write_text("mine")
        (tmp_path / f"{'0' * 32}.part").write_text("mine")
        found = set(unfinished(tmp_path))
    assert found == {Unfinished(TRACK, 3, 100, 1000.0), Unfinished("home:t1", 4, None, 2000.0)}


def test_a_partial_whose_track_is_unknown_is_listed_all_the_same(tmp_path: Path) -> None:
    kept(tmp_path, b"abc").with_suffix(".json").unlink()
    assert [(one.track, one.received, one.total) for one in unfinished(tmp_path)] == [("", 3, None)]


def test_where_there_is_no_folder_nothing_is_unfinished(tmp_path: Path) -> None:
    assert list(unfinished(tmp_path / "nowhere")) == []


def test_the_partial_of_a_track_that_was_written_last_is_told(tmp_path: Path) -> None:
    assert newest(tmp_path, TRACK) is None
    age(killed(tmp_path, b"abcd"), 1000)
    age(killed(tmp_path, b"abc"), 2000)
    kept(tmp_path, b"abcde", address="home:t1")
    assert newest(tmp_path, TRACK) == Unfinished(TRACK, 3, 100, 2000.0)


def test_what_is_old_and_what_is_claimed_is_abandoned_with_what_can_be_made_of_it(tmp_path: Path) -> None:
    dead, useless = killed(tmp_path, b"abc"), killed(tmp_path, b"abc", total=None)
    old, lock = kept(tmp_path, b"abc"), tmp_path / f"{'0' * 32}.lock"
    for path in (old, lock, tmp_path / "notes.txt"):
        path.touch()
        age(path, 1000)
    fresh = kept(tmp_path, b"abc", address="home:t1")
    rest = Sidecar(TRACK, STRONG, STRONG, 100, boot_id(), digest=hash_file(old))
    assert set(abandoned(tmp_path, before=2000)) == {
        Abandoned(old, is_old=True, is_claimed=False, rest=rest),
        Abandoned(lock, is_old=True, is_claimed=True, rest=None),
        Abandoned(dead, is_old=False, is_claimed=True, rest=replace(rest, digest="")),
        Abandoned(useless, is_old=False, is_claimed=True, rest=None),
    }
    for one in abandoned(tmp_path, before=2000):
        one.remove()
    assert set(tmp_path.iterdir()) == {fresh, fresh.with_suffix(".json"), tmp_path / "notes.txt"}


@contextmanager
def claimed_alone(folder: Path) -> Iterator[Partial]:
    """Claim a partial under the lock of its track."""
    lock = DownloadLock.acquire(folder, TRACK)
    assert lock is not None
    with claim(folder, TRACK, lock, GO_ON) as partial:
        yield partial


def test_what_is_being_dropped_is_no_beginning_for_who_gets_the_lock_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with claimed_alone(tmp_path) as partial:
        partial.begin(STRONG, STRONG, 6)
        partial.write(b"abc")
    rename = Path.rename
    with ExitStack() as life:
        begun: list[Partial] = []

        def met(path: Path, target: Path) -> Path:
            done = rename(path, target)
            monkeypatch.undo()
            begun.append(life.enter_context(claimed_alone(tmp_path)))
            return done

        monkeypatch.setattr(Path, "rename", met)
        assert drop_unclaimed(tmp_path, 1) > 0
        begun[0].begin(STRONG, STRONG, 6)
        begun[0].write(b"abcdef")
        begun[0].finish()
        assert begun[0].path.read_bytes() == b"abcdef"


def test_what_somebody_goes_on_with_meanwhile_is_not_abandoned(tmp_path: Path) -> None:
    with claimed_alone(tmp_path) as partial:
        partial.begin(STRONG, STRONG, 6)
        partial.write(b"abc")
        partial.flush()
        for one in abandoned(tmp_path, before=2000):
            one.remove()
        assert DownloadLock.acquire(tmp_path, TRACK) is None
        partial.write(b"def")
        partial.finish()
        assert partial.path.read_bytes() == b"abcdef"


def test_a_partial_whose_bytes_are_removed_while_it_is_claimed_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(tmp_path, b"abc")
    adopt = Partial.adopt

    def late(self: Partial, cancel: threading.Event) -> None:
        self.path.unlink()
        adopt(self, cancel)

    monkeypatch.setattr(Partial, "adopt", late)
    with claimed(tmp_path) as partial:
        assert (partial.received, partial.version) == (0, None)
        partial.begin(STRONG, STRONG, 3)
        partial.write(b"abc")
        partial.finish()
        assert partial.path.read_bytes() == b"abc"


def test_a_sidecar_is_as_old_as_its_bytes(tmp_path: Path) -> None:
    begun_long_ago = kept(tmp_path, b"abc")
    age(begun_long_ago.with_suffix(".json"), 1000)
    for one in abandoned(tmp_path, before=2000):
        one.remove()
    with claimed(tmp_path) as partial:
        assert partial.received == 3


def test_an_old_sidecar_without_bytes_is_abandoned(tmp_path: Path) -> None:
    path = kept(tmp_path, b"abc")
    path.unlink()
    age(path.with_suffix(".json"), 1000)
    for one in abandoned(tmp_path, before=2000):
        one.remove()
    assert names(tmp_path) == []


def test_a_pipe_in_the_place_of_a_sidecar_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.json")
    assert read_sidecar(tmp_path / "1.json") is None


# --- where no lock is to be had


def test_too_many_open_files_are_not_taken_for_a_disk_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        DownloadLock.acquire(tmp_path, TRACK)


def test_without_fcntl_a_download_goes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    assert not lock.is_real
    lock.release()


def test_without_fcntl_all_can_be_imported() -> None:
    """Windows has none."""
    code = "import sys; sys.modules['fcntl'] = None; import cachestore.cache, cachestore.fetching.workers"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
