"""Edits within one tick of a filesystem's clock, with the mtime put back: they look like nothing, and are noticed.

`tick` makes all changes since it was begun bear one ctime, as they do on most kernels for some milliseconds.
"""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol

import pytest

from cachestore.blobs import Blobs, hash_file
from cachestore.links import LinkMode
from cachestore.store.ticks import Ticks
from cachestore.store.writer import Store
from cachestore.track import Track
from tests.stores import count_hashes, incoming, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROOT, SOMEBODY = 0, 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "root") as opened:
        yield opened


class Tick(Protocol):
    """The type of the `tick` fixture."""

    def __call__(self, *, of_second: float = ..., euid: int = ...) -> Callable[[float], None]: ...


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Tick:
    """Let a tick begin at that part of a second, and return what lets the next begin some seconds later."""

    def begin(*, of_second: float = 0.125, euid: int = SOMEBODY) -> Callable[[float], None]:
        ticks = [(0, int(time.time()) - 10 + of_second)]
        real, real_publish = Blobs.stat, Blobs.publish

        def coarse(blobs: Blobs, digest: str) -> os.stat_result | None:
            info = real(blobs, digest)
            return info and with_ctime(info, [ctime for begun, ctime in ticks if begun <= info.st_ctime_ns][-1])

        now = SimpleNamespace(time=lambda: ticks[-1][1] + 0.001)

        def publish(blobs: Blobs, finished: Path, digest: str) -> os.stat_result:
            real_publish(blobs, finished, digest)
            info = coarse(blobs, digest)
            assert info is not None
            return info

        monkeypatch.setattr(Blobs, "stat", coarse)
        monkeypatch.setattr(Blobs, "publish", publish)
        monkeypatch.setattr(Ticks, "_are_fine", False)
        monkeypatch.setattr("os.geteuid", lambda: euid)
        monkeypatch.setattr("cachestore.store.witnesses.time", now)
        monkeypatch.setattr("cachestore.store.writer.time", now)
        return lambda seconds: ticks.append((time.time_ns(), ticks[-1][1] + seconds))

    return begin


def with_ctime(info: os.stat_result, ctime: float) -> os.stat_result:
    names = [name for name in dir(info) if name.startswith("st_")]
    fields = {name: getattr(info, name) for name in names}
    return os.stat_result(info[:10], fields | {"st_ctime_ns": int(ctime * 1e9), "st_ctime": ctime})


def edit(path: Path, data: bytes, *, mode: int = 0o444) -> None:
    """Write into a file, put its mtime back, and leave it with `mode`."""
    info = path.stat()
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    path.chmod(mode)


@pytest.mark.parametrize(
    ("euid", "of_second", "mode"),
    [
        pytest.param(ROOT, 0.125, 0o444, id="by root, who changes no mode"),
        pytest.param(SOMEBODY, 0.0, 0o444, id="within a whole second"),
        pytest.param(SOMEBODY, 0.125, 0o644, id="by who had to make it writable"),
    ],
)
@pytest.mark.parametrize("is_published_before", [False, True])
@pytest.mark.parametrize("names", [1, 3])
def test_an_edit_in_the_tick_of_our_own_link_is_noticed(
    store: Store,
    tmp_path: Path,
    tick: Tick,
    euid: int,
    of_second: float,
    mode: int,
    is_published_before: bool,
    names: int,
) -> None:
    begin_next = tick(of_second=of_second, euid=euid)
    entry = put(store, "t1", b"one")
    if is_published_before:
        begin_next(5.0)
        assert store.find(Track("s", "t1")) == entry
    for name in range(names):
        store.link(entry, tmp_path / str(name), LinkMode.HARDLINK)
    edit(tmp_path / "0", b"0ne", mode=mode)
    assert store.find(Track("s", "t1")) is None
    store.flush()
    assert store.find(Track("s", "t1")) is None
    assert (tmp_path / "0").read_bytes() == b"0ne"


def test_links_of_a_user_on_a_clock_that_ticks_cost_no_hash(
    store: Store, tmp_path: Path, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick()
    entry = put(store, "t1", b"one")
    hashed = count_hashes(monkeypatch)
    for name in "abc":
        store.link(entry, tmp_path / name, LinkMode.HARDLINK)
    store.flush()
    assert store.find(Track("s", "t1")) == entry
    assert hashed == []


def test_what_was_hashed_within_a_tick_of_its_ctime_is_hashed_once_more_and_then_trusted(
    store: Store, tmp_path: Path, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_next = tick()
    entry = put(store, "t1", b"one")
    os.link(store.blobs.path(entry.digest), tmp_path / "a")
    (tmp_path / "a").touch()
    hashed = count_hashes(monkeypatch)
    assert store.find(Track("s", "t1")) == entry
    assert store.find(Track("s", "t1")) == entry
    assert len(hashed) == 2
    begin_next(1.0)
    for _ in range(3):
        assert store.find(Track("s", "t1")) == entry
        store.flush()
    assert len(hashed) == 3


def test_an_edit_in_the_tick_in_which_the_bytes_were_hashed_is_noticed(
    store: Store, tmp_path: Path, tick: Tick
) -> None:
    tick()
    entry = put(store, "t1", b"one")
    os.link(store.blobs.path(entry.digest), tmp_path / "a")
    (tmp_path / "a").touch()
    assert store.find(Track("s", "t1")) == entry
    edit(tmp_path / "a", b"0ne")
    assert store.find(Track("s", "t1")) is None


def test_an_edit_in_the_tick_in_which_equal_bytes_came_is_noticed(store: Store, tmp_path: Path, tick: Tick) -> None:
    tick()
    entry = put(store, "t1", b"one")
    os.link(store.blobs.path(entry.digest), tmp_path / "a")
    store.put([incoming(store, "t2", b"one")])
    edit(tmp_path / "a", b"0ne")
    assert store.find(Track("s", "t2")) is None


def test_a_whole_second_that_is_over_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    ticks, info = Ticks(tmp_path / "nowhere"), with_ctime((tmp_path / "a").stat(), 7.0)
    assert [ticks.may_hide(info, 7.0 + since) for since in (-1.9, 0.0, 1.9, 2.1)] == [True, True, True, False]


def test_a_clock_is_fine_when_each_change_has_a_stamp_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = iter(range(100))
    monkeypatch.setattr(Ticks, "_stamp", lambda _: next(stamps))
    monkeypatch.setattr("cachestore.store.ticks.time", SimpleNamespace(perf_counter=lambda: 0.0))
    assert Ticks(tmp_path)._are_fine
    monkeypatch.setattr(Ticks, "_stamp", lambda _: next(stamps) // 2)
    assert not Ticks(tmp_path)._are_fine


def test_a_clock_that_was_looked_at_too_slowly_is_not_called_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(100))
    monkeypatch.setattr("cachestore.store.ticks.time", SimpleNamespace(perf_counter=lambda: float(next(times))))
    assert not Ticks(tmp_path)._are_fine


def test_an_edit_between_the_check_and_our_own_link_is_not_taken_for_our_own_doing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "t1", b"one")
    store.link(entry, tmp_path / "a", LinkMode.HARDLINK)
    (tmp_path / "a").chmod(0o444)  # another ctime: it has to be hashed

    def hash_and_edit(path: Path) -> str:
        digest = hash_file(path)
        edit(tmp_path / "a", b"0ne")
        return digest

    with monkeypatch.context() as patch:
        patch.setattr("cachestore.store.witnesses.hash_file", hash_and_edit)
        store.link(entry, tmp_path / "b", LinkMode.HARDLINK)
    assert store.find(Track("s", "t1")) is None
    store.flush()
    assert store.find(Track("s", "t1")) is None


def test_a_name_that_somebody_else_gave_or_took_meanwhile_has_the_blob_hashed_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "t1", b"one")

    def link_twice(source: Path, dest: Path, mode: LinkMode) -> LinkMode:
        os.link(source, dest)
        os.link(source, f"{dest}-too")
        return mode

    monkeypatch.setattr("cachestore.links.link", link_twice)
    hashed = count_hashes(monkeypatch)
    store.link(entry, tmp_path / "a", LinkMode.HARDLINK)
    assert store.find(Track("s", "t1")) == entry
    assert len(hashed) == 1
