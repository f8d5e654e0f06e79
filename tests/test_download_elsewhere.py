"""A track that another process downloads: waited for while it moves, and never in the way of who cannot lock."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from cachestore.download import Body, Downloader, Elsewhere, NotModified
from cachestore.download.question import resource_of
from cachestore.errors import Cancelled, NotFound, TimedOut, Truncated
from cachestore.partials import DownloadLock, claim
from cachestore.track import Origin, Track
from cachestore.web import Web
from cachestore.web.retries import Retries
from tests.downloads import (
    SMALL,
    TRACK,
    Desk,
    aborted_after,
    answer,
    asked,
    come_true,
    rest,
    strong,
    unchanged,
)
from tests.raw_servers import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cachestore.partials import Partial
    from cachestore.version import Version
    from tests.conftest import StartRawServer

NOWHERE = "http://127.0.0.1:9/"  # nobody is asked there
KNOWN = [strong('"old"')]
WHOLE = answer(SMALL, 'ETag: "a"')


@pytest.fixture
def other(desk: Desk) -> Iterator[DownloadLock]:
    """Another download of the track."""
    lock = DownloadLock.acquire(desk.folder, TRACK.address)
    assert lock is not None
    yield lock
    lock.release()


@pytest.fixture
def others_partial(desk: Desk, other: DownloadLock) -> Iterator[Partial]:
    """The partial of another download, half of it there."""
    with claim(desk.folder, TRACK.address, other, threading.Event()) as partial:
        partial.begin(strong('"a"'), strong('"a"'), 9000)
        partial.write(SMALL[:5000])
        partial.flush()
        yield partial


def after(waits: int, desk: Desk, act: Callable[[], object]) -> None:
    """Do something once the desk has waited so many times."""

    def when_waiting() -> None:
        if len(desk.waits) == waits:
            act()

    desk.when_waiting = when_waiting


# Waiting


def test_a_track_that_another_downloads_is_waited_for_and_then_in_the_store(
    desk: Desk, others_partial: Partial, other: DownloadLock, closed_port: int
) -> None:
    after(3, desk, other.release)
    assert desk.get(f"http://127.0.0.1:{closed_port}/") == Elsewhere()
    assert len(desk.waits) == 3
    assert desk.others == [(5000, 9000)]


def test_what_another_left_since_we_began_is_gone_on_with(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(SMALL), rest(SMALL, 5000, 'ETag: "a"'))
    downloader = desk.downloader(desk.web())
    first = desk.ask(downloader, Origin(server.url), track=Track("studio", "first"))
    lock = DownloadLock.acquire(desk.folder, TRACK.address)
    assert lock is not None
    with ExitStack() as other:
        partial = other.enter_context(claim(desk.folder, TRACK.address, lock, threading.Event()))
        partial.begin(strong('"a"'), strong('"a"'), 9000, resource=resource_of(server.url))
        partial.write(SMALL[:5000])
        after(2, desk, other.close)
        assert desk.ask(downloader, Origin(server.url)) == Elsewhere()
    for body in (first, desk.ask(downloader, Origin(server.url))):
        assert isinstance(body, Body)
        body.partial.release()
    assert asked(server, "Range") == [None, "bytes=5000-"]


def test_what_an_attempt_of_our_own_left_is_gone_on_with(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(SMALL[:5000], 'ETag: "a"', length=9000), rest(SMALL, 5000, 'ETag: "a"'))
    downloader = desk.downloader(desk.web())
    with pytest.raises(Truncated):
        desk.ask(downloader, Origin(server.url))
    body = desk.ask(downloader, Origin(server.url))
    assert isinstance(body, Body)
    body.partial.release()
    assert asked(server, "Range") == [None, "bytes=5000-"]


def test_how_far_the_other_is_is_told_whenever_that_changes(
    desk: Desk, others_partial: Partial, other: DownloadLock
) -> None:
    def go_on() -> None:
        if len(desk.waits) % 10 == 0:
            others_partial.write(SMALL[:500])
            others_partial.flush()
        if len(desk.waits) == 40:
            other.release()

    desk.when_waiting = go_on
    assert desk.get(NOWHERE) == Elsewhere()
    assert [received for received, _ in desk.others] == [5000, 5500, 6000, 6500]


def test_another_that_has_nothing_yet_is_told_as_well(desk: Desk, other: DownloadLock) -> None:
    after(2, desk, other.release)
    assert desk.get(NOWHERE) == Elsewhere()
    assert desk.others == [(0, None)]


def test_what_is_known_and_still_right_needs_no_lock(
    desk: Desk, other: DownloadLock, raw_server: StartRawServer
) -> None:
    server = raw_server(unchanged())
    assert desk.get(server.url, KNOWN) == NotModified(KNOWN[0])
    assert (desk.waits, desk.others) == ([], [])
    assert DownloadLock.acquire(desk.folder, TRACK.address) is None


def test_what_is_known_and_changed_is_waited_for(desk: Desk, other: DownloadLock, raw_server: StartRawServer) -> None:
    server = raw_server(WHOLE)
    after(2, desk, other.release)
    assert desk.get(server.url, KNOWN) == Elsewhere()
    assert len(server.received) == 1
    assert desk.files() == []


def test_a_304_that_may_mean_anything_is_waited_for(
    desk: Desk, other: DownloadLock, raw_server: StartRawServer
) -> None:
    server = raw_server(unchanged('ETag: "x"'), WHOLE)
    after(2, desk, other.release)
    assert desk.get(server.url, KNOWN) == Elsewhere()
    assert asked(server, "If-None-Match") == ['"old"', None]


def test_a_failure_needs_no_lock(desk: Desk, other: DownloadLock, raw_server: StartRawServer) -> None:
    assert isinstance(desk.refusal(raw_server(answer(status="404 Not Found")).url, KNOWN), NotFound)
    assert desk.waits == []


def test_a_track_that_came_meanwhile_is_not_asked_for(desk: Desk) -> None:
    downloader = desk.downloader(desk.web())
    assert desk.ask(downloader, Origin(NOWHERE), is_late=lambda: True) == Elsewhere()
    assert desk.files() == []


# Going alone


@pytest.mark.parametrize("known", [(), KNOWN])
def test_another_that_stands_still_is_left_alone_after_two_minutes(
    desk: Desk, others_partial: Partial, raw_server: StartRawServer, known: Sequence[Version]
) -> None:
    server = raw_server(lambda head: rest(SMALL, 5000, 'ETag: "a"') if b"Range:" in head else WHOLE)
    others_partial.begin(strong('"a"'), strong('"a"'), 9000, resource=resource_of(server.url))
    others_partial.write(SMALL[:5000])
    others_partial.flush()
    began = desk.seconds
    body = desk.get(server.url, known)
    assert isinstance(body, Body)
    assert body.path.read_bytes() == SMALL
    assert 120 < desk.seconds - began < 121
    assert asked(server, "Range")[-1] == "bytes=5000-"
    assert others_partial.path.read_bytes() == SMALL[:5000]
    others_partial.write(SMALL[5000:])
    others_partial.finish()
    assert others_partial.path.read_bytes() == SMALL


def test_another_that_moves_is_waited_for_however_long_it_takes(
    desk: Desk, others_partial: Partial, other: DownloadLock
) -> None:
    def go_on() -> None:
        desk.seconds += 100
        others_partial.write(b"x")
        others_partial.flush()
        if len(desk.waits) == 20:
            other.release()

    desk.when_waiting = go_on
    assert desk.get(NOWHERE) == Elsewhere()


def test_the_wait_for_another_ends_at_the_deadline(desk: Desk, others_partial: Partial) -> None:
    def go_on() -> None:
        desk.seconds += 10
        others_partial.write(b"x")
        others_partial.flush()

    desk.when_waiting = go_on
    assert isinstance(desk.refusal(NOWHERE, total_timeout=1000), TimedOut)
    assert len(desk.waits) < 100


def test_another_that_begins_anew_moves(desk: Desk, others_partial: Partial, other: DownloadLock) -> None:
    def go_on() -> None:
        desk.seconds += 100
        if len(desk.waits) == 1:
            others_partial.begin(strong('"b"'), strong('"b"'), 9000)
        others_partial.write(b"x")
        others_partial.flush()
        if len(desk.waits) == 5:
            other.release()

    desk.when_waiting = go_on
    assert desk.get(NOWHERE) == Elsewhere()
    assert [received for received, _ in desk.others] == [5000, 1, 2, 3, 4]


def test_what_a_crash_left_does_not_hide_how_far_another_is(
    desk: Desk, others_partial: Partial, other: DownloadLock
) -> None:
    left = others_partial.path.with_name(f"{others_partial.path.name.partition('.')[0]}.{'0' * 32}.work")
    left.write_bytes(bytes(8000))
    os.utime(left, (1000, 1000))
    after(2, desk, other.release)
    assert desk.get(NOWHERE) == Elsewhere()
    assert desk.others == [(5000, 9000)]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_where_locks_do_not_work_everybody_goes_alone(
    desk: Desk, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    gate = Gate(WHOLE[:3000], WHOLE[3000:])
    server = raw_server(gate, WHOLE)
    _assert_two_do_not_meet(desk, server.url, gate)


def test_where_locks_lie_two_downloads_do_not_meet(
    desk: Desk, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    gate = Gate(WHOLE[:3000], WHOLE[3000:])
    server = raw_server(gate, lambda head: rest(SMALL, 1000, 'ETag: "x"') if b"Range:" in head else WHOLE)
    _assert_two_do_not_meet(desk, server.url, gate)


def _assert_two_do_not_meet(desk: Desk, url: str, gate: Gate) -> None:
    """Download twice, the second time in the middle of the first."""
    first = Desk(desk.client, desk.folder)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(first.get, url)
        come_true(lambda: len(first.progress) > 1)
        quick = desk.get(url)
        gate.open()
        bodies = [slow.result(10), quick]
    assert desk.waits == []
    for body in bodies:
        assert isinstance(body, Body)
        assert body.path.read_bytes() == SMALL
    assert len({body.path for body in bodies if isinstance(body, Body)}) == 2


# Whose the lock is


def test_the_lock_is_kept_with_the_body_until_that_is_published(desk: Desk, raw_server: StartRawServer) -> None:
    body = desk.ask(desk.downloader(desk.web()), Origin(raw_server(WHOLE).url))
    assert isinstance(body, Body)
    assert DownloadLock.acquire(desk.folder, TRACK.address) is None
    body.partial.release()
    assert list(desk.folder.iterdir()) == [body.path]


@pytest.mark.parametrize(
    "said",
    [unchanged(), answer(status="404 Not Found"), answer(b"<html>"), answer(SMALL[:9], 'ETag: "a"', length=9000)],
)
def test_the_lock_is_released_when_there_is_no_body(desk: Desk, raw_server: StartRawServer, said: bytes) -> None:
    url = raw_server(said).url
    if said == unchanged():
        desk.get(url, KNOWN)
    else:
        desk.refusal(url, KNOWN)
    lock = DownloadLock.acquire(desk.folder, TRACK.address)
    assert lock is not None
    lock.release()


# Ends


def test_a_cancel_ends_the_wait(desk: Desk, other: DownloadLock) -> None:
    after(2, desk, desk.cancel.set)
    with pytest.raises(Cancelled):
        desk.get(NOWHERE)
    assert len(desk.waits) == 2


def test_a_cancel_ends_the_wait_at_once_by_any_clock(desk: Desk, other: DownloadLock) -> None:
    web = Web(desk.client, Retries(5, 60.0), desk.cancel)
    downloader = Downloader(web, desk.folder, max_size=10**9)
    ended = aborted_after(web, lambda: desk.ask(downloader, Origin(NOWHERE)), lambda: bool(desk.others))
    assert ended < 1


def test_another_process_that_is_killed_is_not_waited_for(desk: Desk) -> None:
    code = """
import pathlib, sys, time
from cachestore.partials import DownloadLock
lock = DownloadLock.acquire(pathlib.Path(sys.argv[1]), sys.argv[2])
print(lock is not None, flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", code, str(desk.folder), TRACK.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, ThreadPoolExecutor() as pool:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        downloader = Downloader(Web(desk.client, Retries(0, 60.0), desk.cancel), desk.folder, max_size=10**9)
        waiting = pool.submit(desk.ask, downloader, Origin(NOWHERE))
        come_true(lambda: bool(desk.others))
        started = time.monotonic()
        process.kill()
        assert waiting.result(10) == Elsewhere()
    assert time.monotonic() - started < 3
