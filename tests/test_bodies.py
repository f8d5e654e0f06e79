"""Bodies as HTTP/1.1 frames them, and which connections have another answer behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cachestore.errors import BadStatus, TrackError, Truncated, Unreachable
from tests.downloads import TRACK, Desk, answer, bare
from tests.raw_servers import Gate, Stall

if TYPE_CHECKING:
    import socket
    import threading

    from tests.conftest import StartRawServer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FIRST = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\r\nfirst\r\n0\r\n\r\n",
        b"2\r\nfi\r\n00003\r\nrst\r\n0\r\n\r\n",
        b'5 ;a="b;c";d\r\nfirst\r\n0;e\r\n\r\n',
        b"5\r\nfirst\r\n000\r\nA: b\r\nC: d\r\n\r\n",
    ],
)
def test_chunks_are_put_together(desk: Desk, raw_server: StartRawServer, chunks: bytes) -> None:
    web, url = desk.web(), raw_server(Stall(CHUNKED + chunks)).url
    assert web.document(TRACK, url).content == b"first"
    assert len(desk.client._idle) == 1


@pytest.mark.parametrize(
    "chunks",
    [
        b"",
        b"5\r\nfirst",
        b"5\r\nfirst\r\n",
        b"5\r\nfirst\r\n0\r\n",
        b"5\r\nfirst\r\n0\r\nA: b\r\n",
        b"5\r\nfirst0\r\n\r\n",
        b"5\nfirst\n0\n\n",
        b"5\r\nfirst\n0\r\n\r\n",
        b"4\r\nfirst\r\n0\r\n\r\n",
        b"6\r\nfirst\r\n0\r\n\r\n",
        b"x\r\nfirst\r\n0\r\n\r\n",
        b"-5\r\nfirst\r\n0\r\n\r\n",
        b"0x5\r\nfirst\r\n0\r\n\r\n",
        b" 5\r\nfirst\r\n0\r\n\r\n",
        b"5 5\r\nfirst\r\n0\r\n\r\n",
        b"5;\0\r\nfirst\r\n0\r\n\r\n",
        b"fffffffffffffff0\r\nfirst\r\n0\r\n\r\n",
        b"5\r\nfirst\r\n0\r\nno field\r\n\r\n",
        b"5;" + b"x" * 200_000,
        b"5\r\nfirst\r\n0\r\n" + b"A: b\r\n" * 50_000,
    ],
)
def test_chunks_that_are_none_or_have_no_end_bring_no_body(
    desk: Desk, raw_server: StartRawServer, chunks: bytes
) -> None:
    with pytest.raises(Truncated):
        desk.web().document(TRACK, raw_server(CHUNKED + chunks).url)
    assert len(desk.client._idle) == 0


@pytest.mark.parametrize(
    "said",
    [
        FIRST.replace(b"1.1", b"1.0"),
        FIRST.replace(b"\r\n", b"\r\nConnection: close\r\n", 1),
        FIRST.replace(b"\r\n", b"\r\nConnection: x, Close\r\n", 1),
        CHUNKED.replace(b"\r\n", b"\r\nContent-Length: 5\r\n", 1) + b"5\r\nfirst\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nfirst\r\n0\r\n\r\nx",
        FIRST + b"\r\n",
    ],
)
def test_a_connection_that_may_have_no_other_answer_is_closed(
    desk: Desk, raw_server: StartRawServer, said: bytes
) -> None:
    server = raw_server(Stall(said), answer(b"second"))
    web = desk.web()
    assert [web.document(TRACK, server.url).content for _ in range(2)] == [b"first", b"second"]


def test_nobody_asks_on_a_connection_that_speaks_something_else_now(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(Stall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), answer(b"second"))
    web = desk.web()
    with pytest.raises(BadStatus):
        web.document(TRACK, server.url)
    assert web.document(TRACK, server.url).content == b"second"


def test_interim_answers_are_passed_over(desk: Desk, raw_server: StartRawServer) -> None:
    soon = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 7\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    assert desk.web().document(TRACK, raw_server(soon + FIRST).url).content == b"first"


class Closing(Gate):
    """A connection that brings one answer, waits for another question, and says a bit of `second` or nothing."""

    def __init__(self, second: bytes) -> None:
        super().__init__(FIRST, second)

    def play(self, connection: socket.socket, stopped: threading.Event) -> None:
        connection.sendall(self._first)
        connection.settimeout(20)
        if connection.recv(65536):
            connection.sendall(self._rest)


@pytest.mark.parametrize("second", [b"", b"HTTP/1.1 102 Soon\r\n\r\n", b"HTTP/1.1 2", b"<html>late</html>\r\n\r\n"])
def test_what_a_server_does_not_answer_because_it_closes_an_old_connection_is_asked_anew_once(
    desk: Desk, raw_server: StartRawServer, second: bytes
) -> None:
    server = raw_server(Closing(second), answer(b"again"), Closing(second), b"")
    web = desk.web()
    assert [web.document(TRACK, server.url).content for _ in range(3)] == [b"first", b"again", b"first"]
    with pytest.raises(Unreachable):
        web.document(TRACK, server.url)
    assert len(server.received) == 4


@pytest.mark.parametrize("head", [b"X: " + b"x" * 200_000, b"X: x\r\n" * 50_000, b"\r\n" * 100])
def test_a_head_without_an_end_is_no_answer(desk: Desk, raw_server: StartRawServer, head: bytes) -> None:
    server = raw_server(b"HTTP/1.1 200 OK\r\n" * bool(head.strip()) + head)
    with pytest.raises(TrackError, match="is no HTTP"):
        desk.web().document(TRACK, server.url)


@pytest.mark.parametrize(
    ("framed", "kept"),
    [
        (b"Content-Length: 5\r\n\r\nmoved", 1),
        (b"Content-Length: 99999\r\n\r\n" + b"x" * 99_999, 0),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nmoved\r\n0\r\n\r\n", 1),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nmoved\r\n", 0),
        (b"Transfer-Encoding: chunked\r\n\r\n" + b"5\r\nmoved\r\n" * 20_000 + b"0\r\n\r\n", 0),
        (b"\r\nmoved", 0),
    ],
)
def test_a_small_body_that_nobody_wants_costs_no_connection(
    desk: Desk, raw_server: StartRawServer, framed: bytes, kept: int
) -> None:
    with pytest.raises(BadStatus):
        desk.web().document(TRACK, raw_server(Stall(b"HTTP/1.1 418 Teapot\r\n" + framed)).url)
    assert len(desk.client._idle) == kept


def test_a_body_may_end_with_its_connection(desk: Desk, raw_server: StartRawServer) -> None:
    assert desk.web().document(TRACK, raw_server(bare(b"first")).url).content == b"first"
