"""Servers that change their minds, or are gone: no file of two halves, and each trouble stays where it is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cachestore.download import NotModified
from cachestore.errors import Corrupt, Truncated
from cachestore.fetching.asking import Asker
from cachestore.partials import DownloadLock, claim
from tests.downloads import SMALL, Desk, answer, asked, dated, provided, rest, sha256, unchanged, wave
from tests.raw_servers import Stall
from tests.unfinished import GO_ON, TRACK, age, killed, names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cachestore.fetching.reports import Question, Report
    from tests.conftest import StartRawServer
    from tests.stranger import Stranger

NOON, LATER = "Sun, 22 Nov 2026 12:00:00 GMT", "Sun, 22 Nov 2026 13:00:00 GMT"
BROKEN = SMALL[:1000] + bytes(100) + SMALL[1100:]
OTHER = wave(9000, seed=8)


def wave_of(name: str) -> bytes:
    return wave(9000, seed=sum(name.encode()))


def name_of(head: bytes) -> str:
    """Return the last step of the path that was asked for."""
    return head.split()[1].decode().rpartition("/")[2]


# Promises


@pytest.mark.parametrize("retries", [0, 1])
def test_a_digest_that_came_with_the_first_part_is_held_against_the_whole(
    desk: Desk, raw_server: StartRawServer, retries: int
) -> None:
    first = answer(BROKEN[:5000], 'ETag: "a"', sha256(SMALL), length=9000)
    url = raw_server(first, rest(BROKEN, 5000, 'ETag: "a"'), answer(SMALL, 'ETag: "a"')).url
    if not retries:
        assert isinstance(desk.refusal(url), Truncated)
        assert isinstance(desk.refusal(url), Corrupt)
        assert desk.files() == []
    assert desk.body(url, retries=2 * retries).path.read_bytes() == SMALL


def test_a_digest_is_held_against_a_whole_that_a_304_completes(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(BROKEN, 'ETag: "a"', sha256(SMALL)), unchanged('ETag: "a"'))
    desk.cut(server.url, 9000)
    assert desk.files() == [".json", ".part"]
    assert isinstance(desk.refusal(server.url), Corrupt)
    assert asked(server, "If-None-Match") == [None, '"a"']
    assert desk.files() == []


# Providers' versions


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('ETag: W/"1"', 'ETag: W/"2"'),
        ('ETag: "1"', 'ETag: "2"'),
        (f"Last-Modified: {NOON}", f"Last-Modified: {LATER}"),
    ],
)
def test_a_rest_that_another_validator_came_with_is_not_of_the_same_bytes(
    desk: Desk, raw_server: StartRawServer, before: str, after: str
) -> None:
    first = answer(SMALL[:5000], before, length=9000)
    server = raw_server(first, rest(OTHER, 5000, after), answer(OTHER, after))
    desk.refusal(server.url, version=provided("1"))
    assert desk.body(server.url, version=provided("1"), retries=2).path.read_bytes() == OTHER
    assert asked(server, "Range")[-1] is None


def test_without_any_validator_there_is_no_going_on_in_the_same_run(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(SMALL[:5000], length=9000), answer(OTHER))
    assert desk.body(server.url, version=provided("1"), retries=1).path.read_bytes() == OTHER
    assert asked(server, "Range") == [None, None]


def test_a_version_that_changes_during_the_download_is_not_stored(
    stranger: Stranger, raw_server: StartRawServer
) -> None:
    versions = iter("12")

    def respond(head: bytes) -> bytes:
        if b"/document/" in head:
            return answer(json.dumps({"url": "/stream", "version": next(versions)}).encode())
        return answer(SMALL)

    url = raw_server(respond).url
    stranger.configure(url, sources=documents(url, 'version_pointer = "/version"'))
    told = stranger.run("fetch", "listed:t", "--events", "ndjson", code=75).out
    assert '"corrupt"' in told
    assert stranger.blobs() == []


# Credentials that others refuse


def documents(url: str, *options: str) -> str:
    head = f'\n[sources.listed]\nkind = "http"\nresolve_url = "{url}/document/{{id}}"\nstream_pointer = "/url"\n'
    return head + "".join(f"{option}\n" for option in options)


@pytest.mark.parametrize("way", ["document", "redirect"])
def test_a_refusal_by_another_origin_is_no_refusal_of_the_credentials(
    stranger: Stranger, raw_server: StartRawServer, way: str
) -> None:
    elsewhere = raw_server(answer(b"", status="401 Unauthorized"))

    def respond(head: bytes) -> bytes:
        name = name_of(head)
        if b"/document/" in head:
            return answer(json.dumps({"url": f"{elsewhere.url}/x" if name == "bad" else f"/s/{name}"}).encode())
        if name == "bad":
            return answer(b"", f"Location: {elsewhere.url}/x", status="302 Found")
        return answer(wave_of(name), f'ETag: "{name}"')

    url = raw_server(respond).url
    runs = stranger.home / "runs"
    code = f"open({str(runs)!r}, 'a').write('x'); print('{{\"X-Key\": \"k\"}}')"
    command = f"credential_command = {json.dumps([sys.executable, '-c', code])}"
    template = f'\n[sources.listed]\nkind = "http"\nurl = "{url}/{{id}}"\n{command}\n'
    stranger.configure(url, sources=documents(url, command) if way == "document" else template, jobs=1)
    stranger.run("fetch", "listed:bad", "listed:t1", "listed:t2", code=77)
    assert {path.read_bytes() for path in stranger.blobs()} == {wave_of("t1"), wave_of("t2")}
    assert runs.read_text() == "x"
    assert set(asked(elsewhere, "X-Key")) == {None}


# Servers that are down


def test_a_server_that_answers_nothing_any_more_costs_its_retries_twice(
    stranger: Stranger, raw_server: StartRawServer
) -> None:
    is_up = [True]

    def respond(head: bytes) -> bytes:
        return answer(wave_of(name_of(head)), f'ETag: "{name_of(head)}"') if is_up else b""

    server = raw_server(respond)
    tracks = [f"open:t{number}" for number in range(4)]
    stranger.configure(server.url, jobs=1, retries=2)
    stranger.run("fetch", *tracks)
    is_up.clear()
    server.received.clear()
    assert stranger.run("fetch", *tracks).out == "4 tracks: 4 cached\n"
    assert len(server.received) == 3 + 3 + 1 + 1


def test_a_fault_in_one_worker_fails_its_track_only(
    stranger: Stranger, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cachestore.cli.main import run

    whole = Asker.answer

    def faulty(self: Asker, question: Question, tell: Callable[[Report], None]) -> Report:
        if question.track.id == "bad":
            raise RuntimeError("s3cret")
        return whole(self, question, tell)

    monkeypatch.setattr(Asker, "answer", faulty)
    stranger.configure(raw_server(lambda head: answer(wave_of(name_of(head)))).url, jobs=1)
    assert run(["--config", str(stranger.home / "config.toml"), "fetch", "open:bad", "open:t1"]) == 1
    told = capsys.readouterr().err
    assert "open:bad: internal error (RuntimeError at" in told
    assert "s3cret" not in told
    assert [path.read_bytes() for path in stranger.blobs()] == [wave_of("t1")]


# Downloads that need not be


def test_an_older_version_that_came_back_is_not_downloaded(desk: Desk, raw_server: StartRawServer) -> None:
    url = raw_server(Stall(answer(SMALL[:100], f"Last-Modified: {NOON}", length=9000))).url
    outcome = desk.get(url, [dated(LATER, 9000), dated(NOON, 9000)])
    assert outcome == NotModified(dated(NOON, 9000))
    assert desk.files() == []


# Kills


def test_what_was_rescued_is_not_left_behind(tmp_path: Path) -> None:
    age(killed(tmp_path, b"abc"), 1000)  # long ago, so that its owner must be dead
    lock = DownloadLock.acquire(tmp_path, TRACK)
    assert lock is not None
    with claim(tmp_path, TRACK, lock, GO_ON) as partial:
        assert partial.received == 3
        assert names(tmp_path) == [".json", ".lock", ".work"]


@pytest.mark.parametrize(("long_between", "kills"), [(True, 3), (False, 6)])
def test_kills_in_a_row_leave_no_pile_of_copies(tmp_path: Path, long_between: bool, kills: int) -> None:
    code = f"""
import os, pathlib, signal, threading
from cachestore.partials import DownloadLock, claim
from cachestore.version import Version, VersionKind
folder = pathlib.Path({str(tmp_path)!r})
with claim(folder, {TRACK!r}, DownloadLock.acquire(folder, {TRACK!r}), threading.Event()) as partial:
    version = Version(VersionKind.STRONG, '"a"')
    if not partial.received:
        partial.begin(version, version, 200_000)
    partial.write(bytes(20_000))
    partial.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    for _ in range(kills):
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
        for left in tmp_path.glob("*.work") if long_between else ():
            age(left, 1000)
    assert names(tmp_path) == [".json", ".lock", ".work"]
    assert max(left.stat().st_size for left in tmp_path.glob("*.work")) == kills * 20_000
