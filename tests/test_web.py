"""Requests: documents, redirects, the names of failures, and how all of it is ended."""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import socket
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from unittest.mock import Mock

import httpx
import pytest

from cachestore.config import Config
from cachestore.errors import (
    BadResponse,
    BadStatus,
    Cancelled,
    ConfigError,
    Forbidden,
    NotFound,
    SourceError,
    TimedOut,
    TlsError,
    TooLarge,
    TrackError,
    Truncated,
    Unauthorized,
    Unreachable,
)
from cachestore.web import Web, open_web
from cachestore.web.client import open_client
from cachestore.web.flights import Flights
from cachestore.web.retries import Retries
from tests.downloads import (
    OPENED_BY,
    SECRET,
    TRACK,
    Desk,
    aborted_after,
    answer,
    asked,
    bare,
    hiding,
    open_desk,
    strong,
    told,
)
from tests.raw_servers import Drip, Stall

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from cachestore.web.connection import Connection
    from tests.conftest import StartNginx, StartRawServer
    from tests.servers import Nginx

MOST = 16 * 10**6


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "t42").write_bytes(b"a document")
    return folder


@pytest.fixture
def studio(nginx: StartNginx, served: Path) -> Nginx:
    return nginx(served)


def refusal(desk: Desk, url: str, *, retries: int = 0) -> TrackError:
    """Return the failure of a document, which never tells what the URL hides."""
    with pytest.raises(TrackError) as caught:
        desk.web(retries=retries).document(TRACK, hiding(url))
    return told(caught.value)


def redirect(to: str, *headers: str, status: str = "302 Found") -> bytes:
    return answer(b"", f"Location: {to}", *headers, status=status)


# Documents


def test_a_document_comes_whole_with_its_headers(desk: Desk, studio: Nginx) -> None:
    document = desk.web().document(TRACK, f"{studio.url}/auth/t42", OPENED_BY)
    assert document.content == b"a document"
    assert document.headers["etag"].startswith('"')
    assert "document" not in repr(document).lower().replace("document(", "")


@pytest.mark.parametrize(
    "whole",
    [
        answer(b'{"url": "x"}'),
        bare(b'{"url": "x"}'),
        bare(b'c\r\n{"url": "x"}\r\n0\r\n\r\n', "Transfer-Encoding: chunked"),
    ],
)
def test_json_is_read_however_it_is_sent(desk: Desk, raw_server: StartRawServer, whole: bytes) -> None:
    server = raw_server(whole)
    assert desk.web().json(TRACK, server.url, {"accept": "application/json"}) == {"url": "x"}
    assert asked(server, "Accept") == ["application/json"]


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"url": ', b"[" * 100_000, b"\xff\xfe\x00"])
def test_what_is_no_json_is_a_bad_response(desk: Desk, raw_server: StartRawServer, content: bytes) -> None:
    with pytest.raises(BadResponse) as caught:
        desk.web(retries=3).json(TRACK, raw_server(answer(content)).url)
    told(caught.value)


def test_a_document_of_16_megabytes_is_the_largest(desk: Desk, raw_server: StartRawServer) -> None:
    assert len(desk.web().document(TRACK, raw_server(answer(bytes(MOST))).url).content) == MOST
    error = refusal(desk, raw_server(bare(bytes(MOST + 1))).url, retries=3)
    assert isinstance(error, TooLarge)
    assert "16.0 MB" in str(error)


def test_a_document_that_is_compressed_though_nobody_asked_for_that_is_refused(
    desk: Desk, raw_server: StartRawServer
) -> None:
    packed = answer(gzip.compress(b'{"url": "x"}'), "Content-Encoding: gzip")
    assert isinstance(refusal(desk, raw_server(packed).url, retries=3), BadResponse)


@pytest.mark.parametrize(
    "cut",
    [
        answer(b"half", length=8),
        bare(b"5\r\nabcde\r\n", "Transfer-Encoding: chunked"),
    ],
)
def test_a_document_that_was_cut_is_asked_for_again(desk: Desk, raw_server: StartRawServer, cut: bytes) -> None:
    assert isinstance(refusal(desk, raw_server(cut).url), Truncated)
    assert desk.web(retries=1).document(TRACK, raw_server(cut, answer(b"whole")).url).content == b"whole"


def test_a_document_is_tried_for_as_often_as_retries_say(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(status="502 Bad Gateway"))
    assert isinstance(refusal(desk, server.url, retries=2), BadStatus)
    assert len(server.received) == 3


def test_what_cannot_pass_is_not_asked_for_again(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(status="404 Not Found"))
    assert isinstance(refusal(desk, server.url, retries=5), NotFound)
    assert len(server.received) == 1


def test_a_document_that_never_ends_is_given_up_at_its_deadline(desk: Desk, raw_server: StartRawServer) -> None:
    ticks = itertools.count()
    server = raw_server(bare(bytes(MOST)))
    web = Web(desk.client, Retries(5, 20.0, clock=lambda: float(next(ticks))), desk.cancel)
    with pytest.raises(TimedOut, match="total_timeout"):
        web.document(TRACK, server.url)
    assert len(server.received) == 1


@pytest.mark.parametrize("stall", [Stall(), Stall(b"HTTP/1.1 200 OK\r\nX: "), Stall(answer(b"half", length=8))])
def test_a_server_that_stalls_is_not_waited_for_beyond_the_deadline(
    desk: Desk, raw_server: StartRawServer, stall: Stall
) -> None:
    web = Web(desk.client, Retries(5, 0.3), desk.cancel)
    started = time.monotonic()
    with pytest.raises(TimedOut):
        web.document(TRACK, raw_server(stall).url)
    assert time.monotonic() - started < 2


def test_a_deadline_within_another_is_the_outer_one(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(b"", "Retry-After: 20", status="503 Service Unavailable"))
    web = desk.web(retries=9, total_timeout=50)
    with web.one_deadline():
        for _ in range(2):
            with pytest.raises(BadStatus):
                web.document(TRACK, server.url)
    assert len(server.received) == 4
    with pytest.raises(BadStatus):
        web.document(TRACK, server.url)
    assert len(server.received) == 7


def test_a_body_is_cut_off_at_its_deadline_or_when_it_comes_too_slowly(desk: Desk) -> None:
    def drip(size: int) -> Iterator[bytes]:
        for _ in range(100):
            desk.seconds += 1
            yield bytes(size)

    def dripping(size: int) -> httpx.Response:
        return httpx.Response(200, content=drip(size))

    patient, hasty = desk.web(), desk.web(total_timeout=50)
    with pytest.raises(TimedOut, match="too slowly"), patient.one_deadline():
        list(patient.chunks(TRACK, dripping(400)))
    with pytest.raises(TimedOut, match="total_timeout"), hasty.one_deadline():
        list(hasty.chunks(TRACK, dripping(600)))
    with patient.one_deadline():
        assert len(list(patient.chunks(TRACK, dripping(600)))) == 100


def test_a_server_that_really_drips_is_given_up(tmp_path: Path, raw_server: StartRawServer) -> None:
    server = raw_server(Drip(answer(bytes(2000)), 0.05, 10))
    with open_client(connect_timeout=1, stall_timeout=0.3, jobs=1) as client:
        web = Web(client, Retries(0, 60.0), threading.Event())
        with pytest.raises(TimedOut, match="too slowly"):
            web.document(TRACK, server.url)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses connections")
def test_a_server_that_takes_no_connection_is_away_until_it_answers() -> None:
    with full_port() as port, open_client(connect_timeout=0.1, stall_timeout=0.3, jobs=1) as client:
        wait = Mock(return_value=False)
        web = Web(client, Retries(2, 60.0, wait=wait), threading.Event())
        for _ in range(3):
            with pytest.raises(Unreachable, match=f"no connection to 127.0.0.1:{port} in time"):
                web.document(TRACK, f"http://127.0.0.1:{port}")
        assert wait.call_count == 2
        web.close()


@contextmanager
def full_port() -> Iterator[int]:
    """Give a port whose queue of connections is full, so that nobody is answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        for _ in range(4):
            connection = waiting.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_headers_that_drip_are_given_up(tmp_path: Path, raw_server: StartRawServer) -> None:
    server = raw_server(Drip(bare(b"", *(f"X-{n}: x" for n in range(1000))), 0.05, 10))
    with open_client(connect_timeout=0.1, stall_timeout=0.3, jobs=1) as client:
        web = Web(client, Retries(0, 60.0), threading.Event())
        with pytest.raises(TimedOut, match="did not answer in time"):
            web.document(TRACK, server.url)


DRIPS_BESIDE_ITS_BODY = Drip(bare(b"4;" + b"x" * 100_000, "Transfer-Encoding: chunked"), 0.05, 200)


@pytest.mark.parametrize(("stall_timeout", "total_timeout", "kind"), [(0.3, 60.0, Truncated), (60.0, 0.5, TimedOut)])
def test_what_drips_beside_a_body_is_given_up(
    raw_server: StartRawServer, stall_timeout: float, total_timeout: float, kind: type[TrackError]
) -> None:
    with open_client(connect_timeout=1, stall_timeout=stall_timeout, jobs=1) as client:
        web = Web(client, Retries(0, total_timeout), threading.Event())
        started = time.monotonic()
        with pytest.raises(kind):
            web.document(TRACK, raw_server(DRIPS_BESIDE_ITS_BODY).url)
        assert time.monotonic() - started < 5
        web.close()


def test_what_comes_slowly_but_comes_is_waited_for(raw_server: StartRawServer) -> None:
    with open_client(connect_timeout=1, stall_timeout=0.2, jobs=1) as client:
        web = Web(client, Retries(0, 60.0), threading.Event())
        document = web.document(TRACK, raw_server(Drip(answer(bytes(3000)), 0.05, 150)).url)
        assert document.content == bytes(3000)
        web.close()


def test_what_comes_behind_an_answer_is_not_taken_for_the_next_one(desk: Desk, raw_server: StartRawServer) -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    server = raw_server(Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx" + evil), answer(b"good"))
    web = desk.web()
    assert web.document(TRACK, server.url).content == b"x"
    assert web.document(TRACK, server.url).content == b"good"


LONG = bytes(range(256)) * 4096
SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize("behind", [b"x", b"\r\n" * 99, SMUGGLED])
@pytest.mark.parametrize("body", [b"x", LONG[: 64 * 1024], LONG[:200_001], LONG])
def test_what_comes_behind_an_answer_in_its_last_record_is_not_taken_for_the_next_one(
    raw_server: StartRawServer, certified: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch,
    body: bytes, behind: bytes,
) -> None:  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(certified[1]))
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    server = raw_server(Stall(whole + behind), answer(b"good"), tls=certified[0])
    with open_client(connect_timeout=5, stall_timeout=5, jobs=1) as client:
        web = Web(client, Retries(0, 60.0), threading.Event())
        assert web.document(TRACK, server.url).content == body
        assert web.document(TRACK, server.url).content == b"good"
        web.close()


def taken(web: Web, url: str) -> list[tuple[type, int]]:
    """Take in a body that is LONG, and return of what type and size its pieces were."""
    with web.one_deadline(), web.get(TRACK, url, {}) as response:
        pieces = [(type(piece), bytes(piece)) for piece in web.chunks(TRACK, response)]
    assert b"".join(piece for _, piece in pieces) == LONG
    return [(kind, len(piece)) for kind, piece in pieces]


@pytest.mark.parametrize("tls", [False, True])
def test_a_long_body_comes_in_views_of_one_buffer_and_leaves_the_connection_as_it_was(
    nginx: StartNginx, served: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    (served / "long").write_bytes(LONG)
    server = nginx(served, tls=tls)
    if tls:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
    with open_client(connect_timeout=5, stall_timeout=5, jobs=1) as client:
        web = Web(client, Retries(0, 60.0), threading.Event())
        for _ in range(2):
            assert memoryview in {kind for kind, _ in taken(web, f"{server.url}/plain/long")}
        assert web.document(TRACK, f"{server.url}/plain/t42").content == b"a document"
        assert len(client._idle) == 1
        web.close()


def test_a_long_body_may_come_in_chunks_of_any_size(desk: Desk, raw_server: StartRawServer) -> None:
    sizes = [1, 7, 16_384, 65_536, 300_000, len(LONG) - 381_928]
    starts = itertools.accumulate(sizes, initial=0)
    pieces = [b"%x\r\n%b\r\n" % (size, LONG[start : start + size]) for start, size in zip(starts, sizes, strict=False)]
    server = raw_server(bare(b"".join([*pieces, b"0\r\n\r\n"]), "Transfer-Encoding: chunked"))
    taken(desk.web(), server.url)


def test_nothing_is_taken_of_what_follows_a_long_body(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(Stall(answer(LONG) + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), answer(b"good"))
    web = desk.web()
    assert sum(size for _, size in taken(web, server.url)) == len(LONG)
    assert web.document(TRACK, server.url).content == b"good"


def test_a_long_body_that_is_cut_or_stalls_is_told_as_a_short_one_is(raw_server: StartRawServer) -> None:
    whole = answer(LONG)
    with open_client(connect_timeout=1, stall_timeout=0.3, jobs=1) as client:
        web = Web(client, Retries(0, 60.0), threading.Event())
        with pytest.raises(Truncated):
            web.document(TRACK, raw_server(whole[:500_000]).url)
        with pytest.raises(TimedOut, match="stopped sending"):
            web.document(TRACK, raw_server(Stall(whole[:500_000])).url)
        web.close()


# Failures and their names


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (401, Unauthorized, False),
        (403, Forbidden, False),
        (404, NotFound, False),
        (410, NotFound, False),
        (416, BadStatus, False),
        (429, BadStatus, True),
        (500, BadStatus, True),
        (503, BadStatus, True),
    ],
)
def test_a_status_becomes_a_failure_of_its_kind(
    desk: Desk, studio: Nginx, status: int, kind: type[TrackError], retryable: bool
) -> None:
    error = refusal(desk, f"{studio.url}/status/{status}/t42")
    assert type(error) is kind
    assert (error.retryable, error.status) == (retryable, status)
    assert str(status) in str(error)


@pytest.mark.parametrize(
    "status", ["204 No Content", "206 Partial Content", "299 Odd", "302 Found", "304 Not Modified"]
)
def test_a_status_that_brings_no_whole_document_is_a_failure(
    desk: Desk, raw_server: StartRawServer, status: str
) -> None:
    error = refusal(desk, raw_server(bare(b"", status=status)).url)
    assert isinstance(error, BadStatus)
    assert str(error.status) == status[:3]


def test_a_failure_says_when_a_server_wants_to_be_asked_again(desk: Desk, raw_server: StartRawServer) -> None:
    error = refusal(desk, raw_server(answer(b"", "Retry-After: 7200", status="429 Too Many Requests")).url, retries=5)
    assert error.retry_after == 7200
    assert "wants to be asked again in 2 h" in str(error)
    assert desk.waits == []


def test_a_failure_does_not_wait_for_a_body_that_nobody_wants(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(Stall(answer(b"", status="404 Not Found", length=10)))
    started = time.monotonic()
    assert isinstance(refusal(desk, server.url), NotFound)
    assert time.monotonic() - started < 2


def test_a_refused_connection_names_the_place(desk: Desk, closed_port: int) -> None:
    error = refusal(desk, f"http://127.0.0.1:{closed_port}/t42")
    assert isinstance(error, Unreachable)
    assert str(error) == f"Opus: no connection to 127.0.0.1:{closed_port}: connection refused"


def test_a_name_that_does_not_resolve_is_told(desk: Desk) -> None:
    error = refusal(desk, "http://music.invalid/t42")
    assert isinstance(error, Unreachable)
    assert str(error) == "Opus: the name music.invalid does not resolve"


def test_a_certificate_that_nobody_trusts_is_not_retried(desk: Desk, nginx: StartNginx, served: Path) -> None:
    error = refusal(desk, f"{nginx(served, tls=True).url}/plain/t42", retries=3)
    assert isinstance(error, TlsError)
    assert "the certificate of 127.0.0.1:" in str(error)
    assert desk.waits == []


def test_a_server_that_speaks_no_tls_is_told(desk: Desk, studio: Nginx) -> None:
    error = refusal(desk, studio.url.replace("http", "https"))
    assert isinstance(error, TlsError)
    assert "wrong version number" in str(error)


@pytest.mark.parametrize("answered", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"])
def test_an_answer_that_is_no_http_is_a_bad_response(desk: Desk, raw_server: StartRawServer, answered: bytes) -> None:
    assert isinstance(refusal(desk, raw_server(answered).url), BadResponse)


@contextmanager
def unreachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no connection be made, nor one be used that is there."""

    def refuse(_: Flights, request: httpx.Request, _until: float) -> tuple[Connection, httpx.Response]:
        raise httpx.ConnectError("refused", request=request)

    with monkeypatch.context() as patched:
        patched.setattr(Flights, "_answer", refuse)
        yield


def test_a_server_that_cannot_be_reached_gets_all_retries_once_and_then_one_attempt_a_time(
    desk: Desk, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, web = raw_server(answer(b"x")), desk.web(retries=2)
    for _ in range(3):
        with unreachable(monkeypatch), pytest.raises(Unreachable):
            web.document(TRACK, server.url)
        assert len(desk.waits) == 2
    assert web.document(TRACK, server.url).content == b"x"
    with unreachable(monkeypatch), pytest.raises(Unreachable):
        web.document(TRACK, server.url)
    assert len(desk.waits) == 4


@pytest.mark.parametrize("status", ["404 Not Found", "401 Unauthorized", "501 Not Implemented"])
def test_any_answer_shows_that_a_server_is_there_again(
    desk: Desk, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    server, web = raw_server(answer(status=status)), desk.web(retries=2)
    with unreachable(monkeypatch), pytest.raises(Unreachable):
        web.document(TRACK, server.url)
    with pytest.raises(TrackError):
        web.document(TRACK, server.url)
    with unreachable(monkeypatch), pytest.raises(Unreachable):
        web.document(TRACK, server.url)
    assert len(desk.waits) == 4


def test_a_track_that_brings_no_answer_costs_the_others_no_retries(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(b"", b"", b"", b"", answer(b"x"))
    web = desk.web(retries=2)
    with pytest.raises(Unreachable, match="closed the connection without an answer"):
        web.document(TRACK, f"{server.url}/bad")
    assert web.document(TRACK, f"{server.url}/good").content == b"x"


def test_a_server_that_was_away_and_is_busy_now_gets_its_retries(
    desk: Desk, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = answer(b"", "Retry-After: 2", status="503 Service Unavailable")
    server, web = raw_server(busy, busy, answer(b"x")), desk.web(retries=2)
    with unreachable(monkeypatch), pytest.raises(Unreachable):
        web.document(TRACK, server.url)
    assert web.document(TRACK, server.url).content == b"x"
    assert sum(desk.waits[2:]) >= 4


def test_a_refusal_by_another_origin_says_nothing_of_our_credentials(desk: Desk, raw_server: StartRawServer) -> None:
    cdn = raw_server(answer(status="401 Unauthorized"))
    api = raw_server(answer(b"", f"Location: {cdn.url}/x", status="302 Found"))
    assert type(refusal(desk, api.url)) is Forbidden
    assert type(refusal(desk, cdn.url)) is Unauthorized


def test_a_connection_closed_without_an_answer_is_retried(desk: Desk, raw_server: StartRawServer) -> None:
    assert isinstance(refusal(desk, raw_server(b"").url), Unreachable)
    assert desk.web(retries=1).document(TRACK, raw_server(b"", answer(b"x")).url).content == b"x"


@pytest.mark.parametrize("stall", [Stall(), Stall(answer(b"half", length=8))])
def test_a_server_that_stalls_times_out(tmp_path: Path, raw_server: StartRawServer, stall: Stall) -> None:
    desk = open_desk(tmp_path / "partials", stall_timeout=0.2)
    with desk.client:
        assert isinstance(refusal(desk, raw_server(stall).url), TimedOut)


@pytest.mark.parametrize(
    "url",
    ["http://a..b/", "http://xn--/", "ftp://127.0.0.1/a", "no url", "http://[::1/", "", "http:///a", "http://h:x/"],
)
def test_a_url_that_cannot_be_asked_is_the_fault_of_the_source(desk: Desk, url: str) -> None:
    with pytest.raises(SourceError, match="check the source"):
        desk.web().document(TRACK, url)


@pytest.mark.parametrize("value", ["Bearer tok\r\nX: y", "Bearer \u20ac", "Bearer tok\0"])
def test_headers_that_cannot_be_sent_are_the_fault_of_the_source_and_not_shown(
    desk: Desk, studio: Nginx, value: str
) -> None:
    with pytest.raises(SourceError) as caught:
        desk.web().document(TRACK, f"{studio.url}/plain/t42", {"Authorization": value})
    assert "Bearer" not in str(told(caught.value))


# Ending it all


@pytest.mark.parametrize("stall", [Stall(), Stall(b"HTTP/1.1 200 OK\r\nX: ")])
def test_an_abort_ends_the_wait_for_an_answer(desk: Desk, raw_server: StartRawServer, stall: Stall) -> None:
    server = raw_server(stall)
    web = desk.web(retries=3)
    assert aborted_after(web, lambda: web.document(TRACK, server.url), lambda: bool(server.received)) < 1


@pytest.mark.parametrize(
    "stall",
    [
        Stall(answer(b"half", length=8)),
        Stall(bare(b"4\r\nhalf", "Transfer-Encoding: chunked")),
        Stall(answer(b"", "Location: /x", status="302 Found", length=10)),
    ],
)
def test_an_abort_ends_the_wait_for_the_rest_of_an_answer(desk: Desk, raw_server: StartRawServer, stall: Stall) -> None:
    web, url = desk.web(), raw_server(stall).url
    assert aborted_after(web, lambda: web.document(TRACK, url), lambda: bool(web._flights._open)) < 1


def test_an_abort_ends_a_tls_handshake(tmp_path: Path, raw_server: StartRawServer) -> None:
    server = raw_server(Stall())
    with open_client(connect_timeout=1.2, stall_timeout=5, jobs=1) as client:
        web = Desk(client, tmp_path).web()
        url = server.url.replace("http", "https")
        assert aborted_after(web, lambda: web.document(TRACK, url), lambda: len(server._threads) > 1) < 1


def test_an_abort_ends_a_connection_that_is_not_made(desk: Desk) -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for one in (first, second):  # the queue is full: the next SYN stays without an answer
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        web, url = desk.web(), f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert aborted_after(web, lambda: web.document(TRACK, url), lambda: True) < 1


def test_nothing_is_asked_after_an_abort(desk: Desk, studio: Nginx) -> None:
    web = desk.web()
    web.abort()
    with pytest.raises(Cancelled):
        web.document(TRACK, f"{studio.url}/plain/t42")
    assert studio.requests() == []


def test_a_cancel_ends_the_wait_for_a_retry(desk: Desk, raw_server: StartRawServer) -> None:
    desk.cancel.set()
    server = raw_server(answer(status="503 Service Unavailable"))
    with pytest.raises(Cancelled):
        desk.web(retries=5).document(TRACK, server.url)
    assert len(server.received) == 1


def test_a_cancel_ends_any_other_wait(desk: Desk) -> None:
    desk.cancel.set()
    with pytest.raises(Cancelled):
        desk.web().pause(60)


# The client


def test_a_connection_is_used_again_after_a_body_a_304_and_a_redirect(desk: Desk, studio: Nginx) -> None:
    web = desk.web()
    etag = web.document(TRACK, f"{studio.url}/redir/t42").headers["etag"]
    with web.one_deadline(), web.get(TRACK, f"{studio.url}/plain/t42", {"If-None-Match": etag}) as response:
        assert response.status_code == 304
    web.document(TRACK, f"{studio.url}/plain/t42")
    with pytest.raises(NotFound):
        web.document(TRACK, f"{studio.url}/status/404/t42")
    web.document(TRACK, f"{studio.url}/plain/t42")
    assert len(desk.client._idle) == 1


def test_no_url_reaches_a_log(desk: Desk, studio: Nginx, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    desk.web().document(TRACK, f"{studio.url}/plain/t42?token={SECRET}", OPENED_BY)
    assert caplog.text == ""


def test_bytes_of_a_header_are_sent_and_received_as_they_are(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(b"x", 'ETag: "\xe9"'))
    document = desk.web().document(TRACK, server.url, {"If-None-Match": strong('"\xe9"').value})
    assert asked(server, "If-None-Match") == [document.headers["etag"]] == ['"\xe9"']


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", f"gopher://dj:{SECRET}@proxy"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("ALL_PROXY", f"socks5://dj:{SECRET}@127.0.0.1:9"),
    ],
)
def test_an_environment_that_cannot_be_used_is_a_mistake_to_correct(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        open_client(connect_timeout=1, stall_timeout=1, jobs=1)
    assert name in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_proxy_of_the_environment_is_used(
    desk: Desk, forward_proxy: Nginx, studio: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", forward_proxy.url)
    with open_client(connect_timeout=5, stall_timeout=5, jobs=1) as client:
        Web(client, Retries(0, 60.0), desk.cancel).document(TRACK, f"{studio.url}/plain/t42")
    assert [(row.host, row.path) for row in forward_proxy.requests()] == [
        (studio.url.removeprefix("http://"), "/plain/t42")
    ]


def test_a_web_is_opened_as_the_configuration_says(tmp_path: Path, raw_server: StartRawServer) -> None:
    cancel = threading.Event()
    server = raw_server(Stall())
    web = open_web(Config(root=tmp_path, stall_timeout=0.2, connect_timeout=0.2, retries=0), jobs=1, cancel=cancel)
    with pytest.raises(TimedOut):
        web.document(TRACK, server.url)
    assert str(asked(server, "User-Agent")[0]).startswith("cachestore/")
    web.close()
    assert json.dumps(asked(server, "Accept-Encoding")) == '["identity"]'
