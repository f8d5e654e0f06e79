"""A download that was interrupted goes on where it ended, with the bytes of the same version or not at all."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from cachestore.blobs import hash_file
from cachestore.boot import boot_id
from cachestore.download import Body, NotModified
from cachestore.download.question import resource_of
from cachestore.errors import BadResponse, Corrupt, NotAudio, Truncated
from cachestore.partials import DownloadLock, claim
from cachestore.track import Origin
from cachestore.version import VersionKind
from tests.downloads import (
    BYTES,
    OPENED_BY,
    SMALL,
    TRACK,
    Desk,
    aborted_after,
    answer,
    asked,
    bare,
    dated,
    open_desk,
    provided,
    rest,
    sha256,
    strong,
    unchanged,
    wave,
)
from tests.raw_servers import Stall
from tests.servers import replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cachestore.version import Version
    from tests.conftest import StartNginx, StartRawServer
    from tests.servers import Nginx

NOON, LATER = "Sun, 22 Nov 2026 12:00:00 GMT", "Sun, 22 Nov 2026 13:00:00 GMT"
A_MINUTE_LATER, TOO_SOON = "Date: Sun, 22 Nov 2026 12:01:00 GMT", "Date: Sun, 22 Nov 2026 12:00:59 GMT"
OTHER = wave(9000, seed=8)
CUT = answer(SMALL[:5000], 'ETag: "a"', length=9000)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A folder to serve, with one track in it."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "t42").write_bytes(BYTES)
    return folder


@pytest.fixture
def studio(nginx: StartNginx, served: Path) -> Nginx:
    return nginx(served)


def complete(desk: Desk, url: str, version: Version, data: bytes = SMALL) -> None:
    """Leave what a run leaves that was killed between the last byte of `url` and publishing."""
    validator = None if version.kind is VersionKind.PROVIDER else version
    with claim(desk.folder, TRACK.address, DownloadLock.without(desk.folder), threading.Event()) as partial:
        partial.begin(version, validator, len(data), resource=resource_of(url))
        partial.write(data)
    assert desk.files() == [".json", ".part"]


# Going on


def test_a_cut_download_goes_on_where_it_ended(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(CUT, rest(SMALL, 5000, 'ETag: "a"'))
    body = desk.body(server.url, [strong('"old"')], retries=1)
    assert (body.path.read_bytes(), body.version) == (SMALL, strong('"a"'))
    assert asked(server, "Range") == [None, "bytes=5000-"]
    assert asked(server, "If-Range") == [None, '"a"']
    assert asked(server, "If-None-Match") == ['"old"', '"old"']
    assert desk.progress == sorted(desk.progress)


def test_a_cancelled_download_goes_on_in_the_next_run(desk: Desk, studio: Nginx) -> None:
    desk.cut(f"{studio.url}/plain/t42", 100_000)
    assert desk.files() == [".json", ".part"]
    assert desk.body(f"{studio.url}/plain/t42").path.read_bytes() == BYTES
    start = desk.progress[0][0]
    assert start >= 100_000
    assert (studio.requests()[-1].range, studio.requests()[-1].status) == (f"bytes={start}-", 206)


def test_a_download_whose_process_was_killed_goes_on_in_the_next_run(desk: Desk, studio: Nginx) -> None:
    desk.cut(f"{studio.url}/plain/t42", 100_000)
    [part] = desk.folder.glob("*.part")
    os.utime(part.rename(part.with_suffix(".work")), (1000, 1000))
    assert desk.body(f"{studio.url}/plain/t42").path.read_bytes() == BYTES
    assert desk.progress[0][0] >= 100_000


def test_a_track_that_changed_in_between_starts_anew(desk: Desk, studio: Nginx, served: Path) -> None:
    desk.cut(f"{studio.url}/plain/t42", 100_000)
    remastered = wave(len(BYTES), seed=8)
    replace(served / "t42", remastered)
    assert desk.body(f"{studio.url}/plain/t42").path.read_bytes() == remastered


def test_many_cuts_with_one_retry_come_to_an_end_as_long_as_bytes_arrive(
    desk: Desk, raw_server: StartRawServer
) -> None:
    whole = wave(200_000)
    cuts = [answer(whole[:40_000], 'ETag: "a"', length=200_000)]
    cuts += [rest(whole, n, 'ETag: "a"')[: -(160_000 - n)] for n in range(40_000, 160_000, 40_000)]
    body = desk.body(raw_server(*cuts, rest(whole, 160_000, 'ETag: "a"')).url, retries=1)
    assert body.path.read_bytes() == whole
    assert (len(desk.waits), max(desk.waits) <= 0.5) == (4, True)


def test_a_part_that_is_shorter_than_asked_for_is_gone_on_from(desk: Desk, raw_server: StartRawServer) -> None:
    short = answer(SMALL[5000:7000], 'ETag: "a"', "Content-Range: bytes 5000-6999/9000", status="206 Partial Content")
    server = raw_server(CUT, short, rest(SMALL, 7000, 'ETag: "a"'))
    assert desk.body(server.url, retries=2).path.read_bytes() == SMALL
    assert asked(server, "Range") == [None, "bytes=5000-", "bytes=7000-"]


def test_a_name_is_that_of_any_answer_that_brought_bytes(desk: Desk, raw_server: StartRawServer) -> None:
    named = rest(SMALL, 5000, 'ETag: "a"', 'Content-Disposition: attachment; filename="Opus.wav"')
    server = raw_server(CUT, named)
    desk.refusal(server.url)
    assert desk.body(server.url).name == "Opus.wav"


def test_a_sidecar_tells_no_secret(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(CUT)
    desk.refusal(server.url, headers=OPENED_BY)
    [sidecar] = desk.folder.glob("*.json")
    assert json.loads(sidecar.read_text()) == {
        "track": TRACK.address,
        "version": ["etag", '"a"'],
        "validator": ["etag", '"a"'],
        "total": 9000,
        "boot": boot_id(),
        "resource": resource_of(server.url),
        "hint": None,
        "promised": [],
        "digest": hash_file(sidecar.with_suffix(".part")),
        "locked": True,
    }


# Digests that came with a part


@pytest.mark.parametrize(
    ("with_first", "with_rest", "holds"),
    [
        ([sha256(SMALL)], [sha256(SMALL)], True),
        ([], [sha256(SMALL)], True),
        ([], [sha256(SMALL[5000:], "Content-Digest")], True),
        ([sha256(OTHER)], [], False),
        ([sha256(OTHER)], [sha256(SMALL)], False),
        ([], [sha256(OTHER)], False),
        ([], [sha256(OTHER[5000:], "Content-Digest")], False),
    ],
)
def test_what_is_promised_of_the_whole_or_of_a_part_has_to_hold(
    desk: Desk, raw_server: StartRawServer, with_first: list[str], with_rest: list[str], holds: bool
) -> None:
    first = answer(SMALL[:5000], 'ETag: "a"', *with_first, length=9000)
    server = raw_server(first, rest(SMALL, 5000, 'ETag: "a"', *with_rest), answer(b"<html>"))
    desk.refusal(server.url)
    assert desk.files() == [".json", ".part"]
    if holds:
        assert desk.body(server.url).path.read_bytes() == SMALL
    else:
        assert isinstance(desk.refusal(server.url), Corrupt)
        assert desk.files() == []


def test_what_was_promised_with_any_part_has_to_hold(desk: Desk, raw_server: StartRawServer) -> None:
    cut_again = rest(SMALL, 5000, 'ETag: "a"', sha256(OTHER))[:-1000]
    server = raw_server(CUT, cut_again, rest(SMALL, 8000, 'ETag: "a"'))
    desk.refusal(server.url)
    desk.refusal(server.url)
    assert isinstance(desk.refusal(server.url), Corrupt)
    assert asked(server, "Range") == [None, "bytes=5000-", "bytes=8000-"]


@pytest.mark.parametrize(("told", "holds"), [(SMALL, True), (OTHER, False)])
def test_what_a_304_promises_of_a_complete_partial_has_to_hold(
    desk: Desk, raw_server: StartRawServer, told: bytes, holds: bool
) -> None:
    server = raw_server(unchanged(sha256(told)))
    complete(desk, server.url, strong('"a"'))
    if holds:
        assert desk.body(server.url).path.read_bytes() == SMALL
    else:
        assert isinstance(desk.refusal(server.url), Corrupt)


# What does not fit


@pytest.mark.parametrize(
    "lie",
    [
        rest(SMALL, 4999, 'ETag: "a"'),
        rest(SMALL, 5001, 'ETag: "a"'),
        rest(SMALL, 0, 'ETag: "a"'),
        rest(SMALL, 5000, 'ETag: "a"', total=9001),
        rest(SMALL, 5000, 'ETag: "b"'),
        rest(SMALL, 5000, 'ETag: W/"a"'),
        rest(SMALL, 5000, 'ETag: "a-gzip"'),
        rest(SMALL, 5000, "ETag: a"),
        rest(SMALL, 5000),
        rest(SMALL, 5000, 'ETag: "a"', "Content-Encoding: gzip"),
        rest(SMALL, 5000, 'ETag: "a"').replace(b"Content-Length: 4000", b"Content-Length: 3999"),
        rest(SMALL, 5000, 'ETag: "a"').replace(b"8999/9000", b"9000/*").replace(b"4000", b"4001"),
        answer(SMALL[5000:], 'ETag: "a"', status="206 Partial Content"),
        answer(SMALL[5000:], 'ETag: "a"', "Content-Range: bytes */9000", status="206 Partial Content"),
        answer(b"--x", 'ETag: "a"', "Content-Type: multipart/byteranges; boundary=x", status="206 Partial Content"),
        answer(b"", "Content-Range: bytes */9000", status="416 Range Not Satisfiable"),
        answer(b"", status="416 Range Not Satisfiable"),
    ],
)
def test_a_rest_that_does_not_fit_is_dropped_and_the_whole_asked_for(
    desk: Desk, raw_server: StartRawServer, lie: bytes
) -> None:
    server = raw_server(CUT, lie, answer(OTHER, 'ETag: "b"'))
    body = desk.body(server.url, retries=1)
    assert (body.path.read_bytes(), body.version) == (OTHER, strong('"b"'))
    assert asked(server, "Range") == [None, "bytes=5000-", None]
    assert len(desk.waits) == 1


@pytest.mark.parametrize("tag", ['"a"', '"b"'])
def test_a_server_that_sends_the_whole_for_a_rest_is_begun_anew(
    desk: Desk, raw_server: StartRawServer, tag: str
) -> None:
    server = raw_server(CUT, answer(OTHER, f"ETag: {tag}"))
    body = desk.body(server.url, retries=1)
    assert (body.path.read_bytes(), body.version) == (OTHER, strong(tag))


def test_a_rest_that_is_longer_than_announced_is_refused(desk: Desk, raw_server: StartRawServer) -> None:
    chunked = bare(
        b"fa1\r\n" + BYTES[:4001] + b"\r\n0\r\n\r\n",
        'ETag: "a"',
        "Content-Range: bytes 5000-8999/9000",
        "Transfer-Encoding: chunked",
        status="206 Partial Content",
    )
    assert isinstance(desk.refusal(raw_server(CUT, chunked).url, retries=1), BadResponse)
    assert desk.files() == []


@pytest.mark.parametrize(
    "validator",
    [
        [],
        ['ETag: W/"a"'],
        [f"Last-Modified: {NOON}"],
        [f"Last-Modified: {NOON}", TOO_SOON],
        ["Last-Modified: long ago", A_MINUTE_LATER],
    ],
)
def test_without_a_strong_validator_nothing_is_resumed_or_kept(
    desk: Desk, raw_server: StartRawServer, validator: list[str]
) -> None:
    server = raw_server(answer(SMALL[:5000], *validator, length=9000))
    assert isinstance(desk.refusal(server.url, retries=1), Truncated)
    assert asked(server, "Range") == [None, None]
    assert desk.files() == []


def test_a_strong_date_resumes(desk: Desk, raw_server: StartRawServer) -> None:
    modified = f"Last-Modified: {NOON}"
    server = raw_server(answer(SMALL[:5000], modified, A_MINUTE_LATER, length=9000), rest(SMALL, 5000, modified))
    body = desk.body(server.url, retries=1)
    assert (body.path.read_bytes(), body.version) == (SMALL, dated(NOON, 9000))
    assert (asked(server, "Range")[1], asked(server, "If-Range")[1]) == ("bytes=5000-", NOON)


@pytest.mark.parametrize("modified", [[], [f"Last-Modified: {LATER}"], ['ETag: "a"']])
def test_a_rest_of_another_date_is_dropped(desk: Desk, raw_server: StartRawServer, modified: list[str]) -> None:
    first = answer(SMALL[:5000], f"Last-Modified: {NOON}", A_MINUTE_LATER, length=9000)
    server = raw_server(first, rest(SMALL, 5000, *modified), answer(OTHER))
    assert desk.body(server.url, retries=1).path.read_bytes() == OTHER


# The provider's word


def test_a_version_that_the_provider_has_just_told_again_resumes_without_an_etag(
    desk: Desk, raw_server: StartRawServer
) -> None:
    server = raw_server(answer(SMALL[:5000], length=9000), rest(SMALL, 5000))
    desk.refusal(server.url, version=provided("rev-7"))
    body = desk.body(server.url, version=provided("rev-7"))
    assert (body.path.read_bytes(), body.version) == (SMALL, provided("rev-7"))
    assert asked(server, "Range") == [None, "bytes=5000-"]
    assert asked(server, "If-Range") == [None, None]


def test_the_providers_word_alone_resumes_nothing_when_it_is_not_new(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(SMALL[:5000], length=9000), answer(OTHER))
    assert desk.body(server.url, version=provided("rev-7"), retries=1).path.read_bytes() == OTHER
    assert asked(server, "Range") == [None, None]


@pytest.mark.parametrize("hint", ['ETag: W/"a"', f"Last-Modified: {NOON}"])
def test_it_resumes_when_the_server_says_the_same_of_the_rest(
    desk: Desk, raw_server: StartRawServer, hint: str
) -> None:
    server = raw_server(answer(SMALL[:5000], hint, length=9000), rest(SMALL, 5000, hint))
    desk.refusal(server.url, version=provided("rev-7"))
    assert desk.body(server.url, version=provided("rev-7")).path.read_bytes() == SMALL
    assert (asked(server, "Range"), asked(server, "If-Range")) == ([None, "bytes=5000-"], [None, None])


@pytest.mark.parametrize(
    ("hint", "others"), [('ETag: W/"a"', ['ETag: W/"b"']), (f"Last-Modified: {NOON}", [f"Last-Modified: {LATER}"])]
)
def test_it_does_not_when_the_server_says_something_else_of_it(
    desk: Desk, raw_server: StartRawServer, hint: str, others: list[str]
) -> None:
    server = raw_server(answer(SMALL[:5000], hint, length=9000), rest(OTHER, 5000, *others), answer(OTHER))
    desk.refusal(server.url, version=provided("rev-7"))
    body = desk.body(server.url, version=provided("rev-7"))
    assert body.path.read_bytes() == OTHER


@pytest.mark.parametrize("version", [provided("rev-8"), None])
def test_another_version_of_the_provider_starts_anew(
    desk: Desk, raw_server: StartRawServer, version: Version | None
) -> None:
    server = raw_server(CUT, answer(SMALL, 'ETag: "a"'))
    desk.refusal(server.url, version=provided("rev-7"))
    assert desk.files() == [".json", ".part"]
    assert desk.body(server.url, version=version).version == (version or strong('"a"'))
    assert asked(server, "Range") == [None, None]


@pytest.mark.parametrize(
    ("validator", "field", "changed"),
    [
        (['ETag: "a"'], '"a"', ['ETag: "b"']),
        (['ETag: "a"'], '"a"', []),
        ([f"Last-Modified: {NOON}", A_MINUTE_LATER], NOON, [f"Last-Modified: {LATER}"]),
    ],
)
def test_a_server_that_changes_the_bytes_before_its_provider_says_so_is_found_out(
    desk: Desk, raw_server: StartRawServer, validator: list[str], field: str, changed: list[str]
) -> None:
    server = raw_server(answer(SMALL[:5000], *validator, length=9000), rest(OTHER, 5000, *changed), answer(OTHER))
    assert desk.body(server.url, version=provided("rev-7"), retries=1).path.read_bytes() == OTHER
    assert asked(server, "If-Range") == [None, field, None]


# Complete, and not published


@pytest.mark.parametrize("version", [strong('"a"'), dated(NOON, 9000)])
def test_a_complete_partial_is_only_confirmed(desk: Desk, raw_server: StartRawServer, version: Version) -> None:
    server = raw_server(unchanged())
    complete(desk, server.url, version)
    body = desk.body(server.url)
    assert (body.path.read_bytes(), body.version, body.media.ext) == (SMALL, version, "wav")
    assert asked(server, "Range") == asked(server, "If-Range") == [None]
    assert [asked(server, "If-None-Match"), asked(server, "If-Modified-Since")].count([None]) == 1
    assert (desk.progress, desk.verified) == ([], [9000])


def test_a_complete_partial_is_really_confirmed_by_a_server(desk: Desk, studio: Nginx) -> None:
    first = desk.body(f"{studio.url}/plain/t42")
    first.path.unlink()
    assert first.version is not None
    complete(desk, f"{studio.url}/plain/t42", first.version, BYTES)
    assert desk.body(f"{studio.url}/plain/t42").path.read_bytes() == BYTES
    assert [(row.status, row.sent) for row in studio.requests()] == [(200, len(BYTES)), (304, 0)]


def test_a_complete_partial_is_begun_anew_when_the_server_sends_bytes(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(OTHER, 'ETag: "b"'))
    complete(desk, server.url, strong('"a"'))
    body = desk.body(server.url)
    assert (body.path.read_bytes(), body.version) == (OTHER, strong('"b"'))


def test_a_complete_partial_of_the_providers_version_needs_no_request(desk: Desk, closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}/"
    complete(desk, url, provided("rev-7"))
    body = desk.body(url, version=provided("rev-7"))
    assert (body.path.read_bytes(), body.version) == (SMALL, provided("rev-7"))


def test_a_complete_partial_of_a_version_that_the_provider_does_not_have_any_more_is_begun_anew(
    desk: Desk, raw_server: StartRawServer
) -> None:
    server = raw_server(answer(OTHER))
    complete(desk, server.url, provided("rev-7"))
    assert desk.body(server.url, version=provided("rev-8")).path.read_bytes() == OTHER
    assert asked(server, "If-None-Match") == [None]


@pytest.mark.parametrize(("tag", "is_kept"), [('"old"', False), ('"a"', True), ('W/"a"', True)])
def test_a_304_tells_a_known_version_from_a_complete_partial(
    desk: Desk, raw_server: StartRawServer, tag: str, is_kept: bool
) -> None:
    server = raw_server(unchanged(f"ETag: {tag}"))
    complete(desk, server.url, strong('"a"'))
    outcome = desk.get(server.url, [strong('"old"')])
    assert asked(server, "If-None-Match") == ['"old", "a"']
    if is_kept:
        assert isinstance(outcome, Body)
        assert outcome.path.read_bytes() == SMALL
    else:
        assert outcome == NotModified(strong('"old"'))
        assert desk.files() == []


@pytest.mark.parametrize("headers", [[], ['ETag: "other"']])
def test_a_304_that_may_mean_either_is_not_believed(desk: Desk, raw_server: StartRawServer, headers: list[str]) -> None:
    server = raw_server(unchanged(*headers), answer(OTHER))
    complete(desk, server.url, strong('"a"'))
    assert desk.body(server.url, [strong('"old"')]).path.read_bytes() == OTHER
    assert asked(server, "If-None-Match") == ['"old", "a"', None]


@pytest.mark.parametrize("status", ["404 Not Found", "503 Service Unavailable", "401 Unauthorized"])
def test_a_complete_partial_outlives_a_failure(desk: Desk, raw_server: StartRawServer, status: str) -> None:
    server = raw_server(answer(status=status))
    complete(desk, server.url, strong('"a"'))
    desk.refusal(server.url)
    assert desk.files() == [".json", ".part"]


def test_a_complete_partial_that_is_no_audio_is_dropped(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(unchanged())
    complete(desk, server.url, strong('"a"'), b"<html>")
    assert isinstance(desk.refusal(server.url), NotAudio)
    assert desk.files() == []


# Cut off by an abort


@pytest.mark.parametrize(
    ("stall", "chunks", "kept"),
    [
        (Stall(), 0, []),
        (Stall(bare(b"half")), 2, []),
        (Stall(answer(b"half", 'ETag: "a"', length=8)), 2, [".json", ".part"]),
    ],
)
def test_an_abort_ends_a_download_at_once_and_keeps_what_can_go_on(
    desk: Desk, raw_server: StartRawServer, stall: Stall, chunks: int, kept: list[str]
) -> None:
    server = raw_server(stall)
    assert _aborted_after(desk, server.url, lambda: bool(server.received) and len(desk.progress) >= chunks) < 1
    assert desk.files() == kept


def test_an_abort_ends_a_tls_body_and_keeps_only_what_was_decrypted(
    tmp_path: Path, nginx: StartNginx, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = nginx(served, tls=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
    desk = open_desk(tmp_path / "partials")
    with desk.client:
        assert _aborted_after(desk, f"{server.url}/slow/t42", lambda: len(desk.progress) > 1) < 1
    [kept] = desk.folder.glob("*.part")
    assert BYTES.startswith(kept.read_bytes())


def _aborted_after(desk: Desk, url: str, reached: Callable[[], bool]) -> float:
    web = desk.web()
    downloader = desk.downloader(web)
    return aborted_after(web, lambda: desk.ask(downloader, Origin(url)), reached)
