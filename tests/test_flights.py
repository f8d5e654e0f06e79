"""Requests on connections that are kept alive: the thread that asks sends them itself, and they end as others do."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest

from cachestore.errors import ConfigError, TimedOut
from cachestore.web.client import open_client
from cachestore.web.flights import Flights
from tests.downloads import TRACK, Desk, aborted_after, answer
from tests.raw_servers import Drip, Gate

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from cachestore.web.connection import Connection
    from tests.conftest import StartRawServer

FIRST = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"


class KeptAlive(Gate):
    """A connection that brings one answer, waits for another question, and then sends `second` again and again."""

    def __init__(self, second: bytes = b"") -> None:
        super().__init__(b"", b"")
        self.second = second
        self.asked = threading.Event()

    def play(self, connection: socket.socket, stopped: threading.Event) -> None:
        connection.sendall(FIRST)
        connection.settimeout(20)
        if connection.recv(65536):
            self.asked.set()
            while not stopped.wait(0.01):
                connection.sendall(self.second)


class Late(KeptAlive):
    """A connection that brings one answer, and `second`, and its end, when the next one is asked for."""

    def play(self, connection: socket.socket, stopped: threading.Event) -> None:
        connection.sendall(FIRST)
        connection.settimeout(20)
        connection.recv(65536)
        connection.sendall(self.second)


def no_other_thread(_: Flights, url: httpx.URL, _until: float) -> Connection:
    raise AssertionError(url)


@pytest.mark.parametrize("second", [b"", b"HTTP/1.1 102 Soon\r\n\r\n"])
def test_an_abort_ends_the_wait_for_a_second_answer(
    desk: Desk, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch, second: bytes
) -> None:
    kept = KeptAlive(second)
    web, url = desk.web(), raw_server(kept).url
    assert web.document(TRACK, url).content == b"first"
    monkeypatch.setattr(Flights, "_dialed", no_other_thread)
    assert aborted_after(web, lambda: web.document(TRACK, url), kept.asked.is_set) < 1


@pytest.mark.parametrize("second", [b"", b"HTTP/1.1 102 Soon\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_second_answer_is_waited_for_until_the_deadline_and_no_longer(
    raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch, second: bytes
) -> None:
    kept = KeptAlive(second)
    url, headers = httpx.URL(raw_server(kept).url), httpx.Headers()
    with open_client(connect_timeout=20, stall_timeout=20, jobs=1) as client:
        flights = Flights(client)
        with flights.get(url, headers, 60) as response:
            assert b"".join(flights.body(response)) == b"first"
        monkeypatch.setattr(Flights, "_dialed", no_other_thread)
        began = time.monotonic()
        with pytest.raises(httpx.TimeoutException), flights.get(url, headers, 0.2):
            pytest.fail("there was no answer")
        assert time.monotonic() - began < 10
        flights.close()


def test_a_body_has_no_more_time_because_its_head_came_late(raw_server: StartRawServer) -> None:
    url, left = httpx.URL(raw_server(Drip(FIRST, 0.3, 15)).url), 20.0
    with open_client(connect_timeout=20, stall_timeout=20, jobs=1) as client:
        flights, began = Flights(client), time.monotonic()
        with flights.get(url, httpx.Headers(), left):
            [connection] = flights._open
            assert connection.until < began + left + 0.5


def test_timeouts_may_be_longer_than_sockets_know(tmp_path: Path, raw_server: StartRawServer) -> None:
    with open_client(connect_timeout=1e300, stall_timeout=1e300, jobs=1) as client:
        web = Desk(client, tmp_path).web()
        assert web.document(TRACK, raw_server(answer(b"x")).url).content == b"x"


def test_a_server_that_is_silent_on_a_connection_that_is_kept_alive_is_told_as_on_a_new_one(
    tmp_path: Path, raw_server: StartRawServer
) -> None:
    url = raw_server(KeptAlive()).url
    with open_client(connect_timeout=5, stall_timeout=0.2, jobs=1) as client:
        web = Desk(client, tmp_path).web(retries=0)
        web.document(TRACK, url)
        with pytest.raises(TimedOut, match="did not answer in time"):
            web.document(TRACK, url)


def close_at_once(_: bytes) -> bytes:
    return FIRST


@pytest.mark.parametrize("first", [close_at_once, answer(b"first")])
def test_a_connection_that_is_closed_is_replaced_by_another_thread(
    desk: Desk, raw_server: StartRawServer, first: bytes | Callable[[bytes], bytes]
) -> None:
    server = raw_server(first)
    web = desk.web(retries=3)
    assert [web.document(TRACK, server.url).content for _ in range(3)] == [b"first"] * 3
    assert len(server.received) == 3


@pytest.mark.parametrize("late", [b"", b"<html>the rest of what was said before</html>"])
def test_what_is_wrong_with_a_connection_that_was_used_before_is_no_fault_of_the_next_answer(
    desk: Desk, raw_server: StartRawServer, late: bytes
) -> None:
    web, server = desk.web(retries=0), raw_server(Late(late), answer(b"second"))
    assert [web.document(TRACK, server.url).content for _ in range(2)] == [b"first", b"second"]
    assert len(server.received) == 2


def test_a_server_that_names_the_url_and_the_one_that_has_the_bytes_keep_their_connections(
    tmp_path: Path, raw_server: StartRawServer
) -> None:
    servers = [raw_server(Late(FIRST)) for _ in range(2)]
    with open_client(connect_timeout=20, stall_timeout=20, jobs=1) as client:
        web = Desk(client, tmp_path).web()
        for server in servers * 2:
            assert web.document(TRACK, server.url).content == b"first"
    assert [len(server.received) for server in servers] == [1, 1]


def test_two_connections_are_kept_alive_for_each_worker_and_none_after_the_end(
    raw_server: StartRawServer,
) -> None:
    url, headers = httpx.URL(raw_server(KeptAlive()).url), httpx.Headers()
    with open_client(connect_timeout=20, stall_timeout=20, jobs=2) as client, ExitStack() as answers:
        flights = Flights(client)
        several = [answers.enter_context(flights.get(url, headers, 60)) for _ in range(6)]
        assert [b"".join(flights.body(response)) for response in several[:5]] == [b"first"] * 5
        assert len(client._idle) == 0
        answers.close()
        assert len(client._idle) == 4
        with flights.get(httpx.URL(raw_server(answer(b"x")).url), headers, 60):
            flights.close()
            assert len(client._idle) == 0
        assert len(client._idle) == 0


def test_a_connection_that_was_not_used_for_long_is_not_used_again(
    desk: Desk, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cachestore.web.client._EXPIRY", 0.0)
    server, web = raw_server(KeptAlive(), answer(b"second")), desk.web()
    assert [web.document(TRACK, server.url).content for _ in range(2)] == [b"first", b"second"]


def test_a_bundle_that_turns_out_to_be_none_when_tls_is_spoken_is_told(
    tmp_path: Path, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with open_client(connect_timeout=5, stall_timeout=5, jobs=1) as client:
        web = Desk(client, tmp_path).web()
        assert web.document(TRACK, raw_server(answer(b"x")).url).content == b"x"
        for _ in range(2):
            with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
                web.document(TRACK, raw_server(answer(b"x")).url.replace("http", "https"))
