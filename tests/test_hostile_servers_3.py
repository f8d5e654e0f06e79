"""Servers whose words look like those of a decent one: a traceback, or other bytes, hide behind a header field."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from cachestore.download import NotModified
from cachestore.errors import Cancelled, Unreachable
from cachestore.web.client import open_client
from cachestore.web.flights import Flights
from tests.downloads import SMALL, Desk, answer, come_true, dated, wave
from tests.raw_servers import Gate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartRawServer
    from tests.stranger import Stranger

NOON, LATER = "Thu, 01 Jan 2026 12:00:00 GMT", "Thu, 01 Jan 2026 13:00:00 GMT"
EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"
OTHER = wave(9000, seed=5)


# Tracebacks


@pytest.mark.parametrize(
    "cookie",
    [
        f"a=b; expires=Wed, 09 Feb {'9' * 5000} 22:23:32 GMT",  # of which Python's own jar warns with a traceback
        "a=b; expires=Wed, 09 Feb 2050 22:23:32 GMT; domain=127.0.0.1; path=/",
    ],
)
def test_a_cookie_is_not_even_read(stranger: Stranger, raw_server: StartRawServer, cookie: str) -> None:
    server = raw_server(answer(SMALL, f"Set-Cookie: {cookie}"))
    command = [sys.executable, "-W", "error", "-m", "cachestore", "fetch", f"{server.url}/1", f"{server.url}/2"]
    done = subprocess.run(
        command, cwd=stranger.home, env={"HOME": str(stranger.home)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "2 tracks: 2 downloaded\n")
    assert done.stderr.count("\n") == 2
    assert not any(b"cookie" in head.lower() for head in server.received)


# Handshakes


@pytest.mark.parametrize("farewell", [b"", b"\x15\x03\x03\x00\x02\x01\x00"], ids=["none", "close_notify"])
def test_a_connection_that_ends_before_tls_is_agreed_on_is_tried_again(desk: Desk, farewell: bytes) -> None:
    connections = 0

    def answer_all() -> None:
        nonlocal connections
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections += 1
                with connection:
                    connection.recv(65536)
                    connection.sendall(farewell)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_all)
        thread.start()
        error = desk.refusal(f"https://127.0.0.1:{listener.getsockname()[1]}/x", retries=2)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert isinstance(error, Unreachable)
    assert "closed the connection before TLS was agreed on" in error.reason
    assert connections == 3


# Dates that tell nothing


@pytest.mark.parametrize("modified", [NOON, EPOCH, "never"])
def test_a_date_that_other_bytes_had_as_well_tells_nothing(
    stranger: Stranger, raw_server: StartRawServer, modified: str
) -> None:
    field = f"Last-Modified: {modified}"
    server = raw_server(*(answer(body, field) for body in (SMALL, wave(8000), OTHER)))
    stranger.configure(server.url)
    for _ in range(3):
        stranger.run("fetch", "open:x")
    assert OTHER in {path.read_bytes() for path in stranger.blobs()}


def test_a_date_that_only_one_version_had_tells_it_from_the_others(desk: Desk, raw_server: StartRawServer) -> None:
    url = raw_server(answer(SMALL, f"Last-Modified: {NOON}")).url
    assert desk.get(url, [dated(LATER, 9000), dated(NOON, 9000)]) == NotModified(dated(NOON, 9000))
    body = desk.body(url, [dated(NOON, 8000), dated(NOON, 9000)])
    assert body.version == dated(NOON, 9000)


@pytest.mark.parametrize("modified", [EPOCH, "0", "-1", "never", "Thu, 99 Foo 2026", "\x1b[31m"])
def test_what_is_no_date_is_no_version(desk: Desk, raw_server: StartRawServer, modified: str) -> None:
    assert desk.body(raw_server(answer(SMALL, f"Last-Modified: {modified}")).url).version is None


# Interim answers


class Flood(Gate):
    """Interim answers without an end."""

    def __init__(self) -> None:
        super().__init__(b"", b"")
        self.others = {*threading.enumerate()}
        self.began = threading.Event()

    def play(self, connection: socket.socket, stopped: threading.Event) -> None:
        connection.settimeout(2)  # a client that is gone may have left it to wait for room
        while not stopped.is_set():
            connection.sendall(b"HTTP/1.1 102 Soon\r\n\r\n" * 100)
            self.began.set()


@pytest.fixture
def flights() -> Iterator[Flights]:
    with open_client(connect_timeout=20, stall_timeout=20, jobs=1) as client:
        made = Flights(client)
        yield made
        made.close()


def give_up(flights: Flights, url: str, flood: Flood) -> None:
    """Ask and give up, until the server was reached before."""
    while not flood.began.is_set():
        with pytest.raises(httpx.TimeoutException), flights.get(httpx.URL(url), httpx.Headers(), 0.5):
            pytest.fail("there was no answer")


def nobody_reads(flights: Flights, flood: Flood) -> bool:
    """Return whether no thread that waits for an answer is left in the end: one that waits for work ends at once."""
    flights.close()
    come_true(lambda: not [one for one in {*threading.enumerate()} - flood.others if one.name == "request"])
    return True


def test_a_flood_of_interim_answers_ends_with_the_patience_for_its_request(
    flights: Flights, raw_server: StartRawServer
) -> None:
    flood = Flood()
    give_up(flights, raw_server(flood).url, flood)
    assert nobody_reads(flights, flood)


def test_a_flood_of_interim_answers_ends_with_a_cancel(flights: Flights, raw_server: StartRawServer) -> None:
    flood = Flood()
    url = httpx.URL(raw_server(flood).url)

    def cancel() -> None:
        flood.began.wait(20)
        flights.abort()

    threading.Thread(target=cancel).start()
    with pytest.raises(Cancelled), flights.get(url, httpx.Headers(), 60):
        pytest.fail("there was no answer")
    assert nobody_reads(flights, flood)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_flood_of_interim_answers_ends_through_a_proxy(
    raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    flood = Flood()
    monkeypatch.setenv(f"{scheme}_proxy", raw_server(flood).url)
    with open_client(connect_timeout=20, stall_timeout=20, jobs=1) as client:
        flights = Flights(client)
        give_up(flights, f"{scheme}://music.example/x", flood)
        assert nobody_reads(flights, flood)
