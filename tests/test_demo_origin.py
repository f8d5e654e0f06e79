"""exporter_plugin.demo.origin: the music cloud of the demo answers as a good music API does, but for ranges."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from exporter_plugin.demo.origin import MusicOrigin

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = {"Authorization": "Bearer secret"}
AUDIO = bytes(range(256)) * 40


@pytest.fixture
def origin() -> Iterator[MusicOrigin]:
    with MusicOrigin({"t01": AUDIO, "a b": b"other"}, token="secret") as running:
        yield running


class Client:
    """One keep-alive connection to a music origin."""

    def __init__(self, origin: MusicOrigin) -> None:
        url = urlsplit(origin.url)
        self.target = f"{url.path}?{url.query}"
        self.connection = http.client.HTTPConnection(str(url.hostname), url.port)

    def ask(self, track: str = "t01", **fields: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        headers = TOKEN | {name.replace("_", "-"): value for name, value in fields.items()}
        self.connection.request("GET", self.target.format(id=track), headers=headers)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()


@pytest.fixture
def client(origin: MusicOrigin) -> Iterator[Client]:
    started = Client(origin)
    with closing(started.connection):
        yield started


def test_a_track_comes_whole_with_a_strong_etag_and_a_type_that_says_nothing(client: Client) -> None:
    status, headers, body = client.ask()
    assert (status, body) == (200, AUDIO)
    assert headers["ETag"].startswith('"')
    assert headers["Content-Type"] == "application/octet-stream"


def test_the_url_has_a_query_and_no_extension(client: Client) -> None:
    assert client.target == "/api/tracks/{id}/stream?quality=original"


def test_requests_without_the_token_are_refused_and_a_connection_survives_that(client: Client) -> None:
    status, headers, _ = client.ask(Authorization="Bearer wrong")
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    connected = client.connection.sock
    assert client.ask()[0] == 200
    assert client.connection.sock is connected


def test_an_unknown_track_is_not_found_and_an_id_may_be_escaped(client: Client) -> None:
    assert client.ask("t99")[0] == 404
    assert client.ask("a%20b")[2] == b"other"


@pytest.mark.parametrize("listed", ["{}", '"old", {}', "W/{}", "*"])
def test_an_etag_that_is_still_true_is_answered_with_304_and_no_body(client: Client, listed: str) -> None:
    etag = client.ask()[1]["ETag"]
    status, headers, body = client.ask(If_None_Match=listed.format(etag))
    assert (status, headers["ETag"], body) == (304, etag, b"")


def test_answers_are_counted_by_status(origin: MusicOrigin, client: Client) -> None:
    etag = client.ask()[1]["ETag"]
    client.ask(If_None_Match=etag)
    client.ask(If_None_Match=etag)
    assert origin.answers == {200: 1, 304: 2}


def test_a_throttled_answer_keeps_to_its_rate() -> None:
    with MusicOrigin({"t01": AUDIO}, token="secret", rate=len(AUDIO) * 5) as origin:
        client = Client(origin)
        with closing(client.connection):
            began = time.monotonic()
            assert client.ask()[2] == AUDIO
            assert time.monotonic() - began >= 0.2


def test_closing_hangs_up_on_idle_and_on_slow_clients_and_leaves_no_thread_and_no_port() -> None:
    before = set(threading.enumerate())
    with MusicOrigin({"t01": AUDIO}, token="secret", rate=100) as origin:
        idle, slow = Client(origin), Client(origin)
        idle.ask("unknown")
        slow.connection.request("GET", slow.target.format(id="t01"), headers=TOKEN)
        answer = slow.connection.getresponse()
        began = time.monotonic()
    assert time.monotonic() - began < 1
    with closing(idle.connection), closing(slow.connection), answer:
        assert set(threading.enumerate()) <= before
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(idle.connection.port)))


def test_a_client_that_leaves_in_the_middle_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    with MusicOrigin({"t01": AUDIO * 1000}, token="secret") as slow:
        leaving = Client(slow)
        leaving.connection.request("GET", leaving.target.format(id="t01"), headers=TOKEN)
        leaving.connection.getresponse().close()
        leaving.connection.close()
    assert capfd.readouterr().err == ""
