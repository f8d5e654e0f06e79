"""Servers that send what HTTP does not foresee, or without an end: nothing is mixed up, and every wait ends."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from cachestore.errors import AddressError, BadResponse, NotFound, TimedOut
from cachestore.sources.template import Template
from cachestore.track import Origin, parse_address
from cachestore.web import Web
from cachestore.web.client import open_client
from cachestore.web.retries import Retries
from tests.downloads import SMALL, TRACK, Desk, answer, asked, bare, strong, wave
from tests.raw_servers import Drip, Stall

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tests.conftest import StartRawServer
    from tests.raw_servers import Answer
    from tests.stranger import Stranger

BODIES = {"a": wave(9000, seed=1), "b": wave(9000, seed=2)}
EVIL = wave(9000, seed=3)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DOCUMENTS = """
[sources.listed]
kind = "http"
resolve_url = "{url}/document/{{id}}"
stream_pointer = "/url"
"""


@dataclass(frozen=True, slots=True)
class KeptAlive(Stall):
    """An answer after which the same connection may be used for the next request."""

    respond: Callable[[bytes], bytes] = field(kw_only=True)

    def play(self, connection: socket.socket, stopped: threading.Event) -> None:
        connection.sendall(self.data)
        connection.settimeout(0.05)
        while not stopped.is_set():
            with suppress(TimeoutError):
                head = connection.recv(65536)
                if not head:
                    return
                connection.sendall(self.respond(head))


def kept_alive(respond: Callable[[bytes], bytes]) -> Callable[[bytes], Answer]:
    return lambda head: KeptAlive(respond(head).replace(b"Connection: close\r\n", b""), respond=respond)


def name_of(head: bytes) -> str:
    """Return the last step of the path that was asked for."""
    return head.split()[1].decode().rpartition("/")[2]


def genuine(head: bytes) -> bytes:
    return answer(BODIES[name_of(head)], f'ETag: "{name_of(head)}"')


def stored(stranger: Stranger) -> set[bytes]:
    return {path.read_bytes() for path in stranger.blobs()}


# Bytes behind an answer


def test_an_answer_that_nobody_asked_for_is_not_the_next_tracks(stranger: Stranger, raw_server: StartRawServer) -> None:
    def respond(head: bytes) -> bytes:
        said = genuine(head) + (answer(EVIL, 'ETag: "evil"') if name_of(head) == "a" else b"")
        return said.replace(b"Connection: close\r\n", b"")

    stranger.configure(raw_server(kept_alive(respond)).url, jobs=1)
    stranger.run("fetch", "open:a", "open:b")
    assert stored(stranger) == set(BODIES.values())


def test_a_body_of_an_answer_that_has_none_is_not_the_next_tracks(
    stranger: Stranger, raw_server: StartRawServer
) -> None:
    def respond(head: bytes) -> bytes:
        if b"if-none-match" in head.lower():
            return b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n' + answer(EVIL, 'ETag: "evil"')
        return genuine(head).replace(b"Connection: close\r\n", b"")

    stranger.configure(raw_server(kept_alive(respond)).url, jobs=1)
    stranger.run("fetch", "open:a")
    assert stranger.run("fetch", "open:a", "open:b").out == "2 tracks: 1 cached, 1 downloaded\n"
    assert stored(stranger) == set(BODIES.values())


# What has no end


def endless(head: bytes) -> Drip:
    """Return an answer that goes on with a byte now and then, and never comes to anything."""
    return Drip(head + b" " * 100 * len(head), 0.1, len(head))


@pytest.mark.long
@pytest.mark.parametrize(
    ("track", "said"),
    [
        ("open:a", CHUNKED + b"3e8;a="),
        ("open:a", CHUNKED + b"5\r\nRIFF1\r\n0\r\nA: "),
        ("listed:a", bare(b'{"url":')),
    ],
    ids=["chunk extension", "trailer", "document"],
)
def test_what_drips_without_an_end_ends_by_the_total_timeout(
    stranger: Stranger, raw_server: StartRawServer, track: str, said: bytes
) -> None:
    url = raw_server(endless(said)).url
    stranger.configure(url, sources=DOCUMENTS.format(url=url), total_timeout="2 s")
    began = time.monotonic()
    told = stranger.run("fetch", track, code=75).err
    assert time.monotonic() - began < 8
    assert "it took longer than total_timeout allows" in told


def test_redirects_end_together_by_the_total_timeout(raw_server: StartRawServer) -> None:
    def onwards(head: bytes) -> Drip:
        redirect = answer(b"", f"Location: /{name_of(head)}x", status="302 Found")
        return Drip(redirect, 0.5, len(redirect) - 1)

    server = raw_server(onwards)
    with open_client(connect_timeout=5, stall_timeout=5, jobs=1) as client:
        web = Web(client, Retries(0, 1.2), threading.Event())
        try:
            with pytest.raises(TimedOut):
                web.document(TRACK, f"{server.url}/x")
        finally:
            web.close()
    assert len(server.received) <= 4


def test_a_document_that_is_encoded_is_refused_before_it_is_read(desk: Desk, raw_server: StartRawServer) -> None:
    url = raw_server(Stall(answer(b"", "Content-Encoding: gzip", length=1000))).url
    with pytest.raises(BadResponse, match="compressed"):
        desk.web().document(TRACK, url)


# What costs more than it should


def test_what_is_sent_of_known_versions_stays_small_however_many_there_are(
    desk: Desk, raw_server: StartRawServer
) -> None:
    server = raw_server(answer(SMALL, 'ETag: "new"'))
    desk.body(server.url, [strong(f'"{number:05d}{"x" * 1500}"') for number in range(20)])
    [sent] = asked(server, "If-None-Match")
    assert sent is not None
    assert sent.startswith('"00000')  # the current one
    assert len(sent) <= 4000


@pytest.mark.parametrize("value", ['attachment; filename="' + ";" * 90_000, 'a; filename="' + '\\";' * 30_000])
def test_a_file_name_that_is_hard_to_read_costs_nothing(desk: Desk, raw_server: StartRawServer, value: str) -> None:
    url = raw_server(answer(SMALL, f"Content-Disposition: {value}")).url
    began = time.thread_time()
    assert desk.body(url).name == ""
    assert time.thread_time() - began < 1


def test_a_pinned_version_that_the_server_does_not_have_is_not_downloaded(
    desk: Desk, raw_server: StartRawServer
) -> None:
    url = raw_server(Stall(answer(SMALL[:100], 'ETag: "a"', length=9000))).url
    with pytest.raises(NotFound, match="the pinned version 0123456789abcdef is neither"):
        desk.ask(desk.downloader(desk.web()), Origin(url), track=replace(TRACK, version="0123456789abcdef"))
    assert desk.files() == []


# What cannot be read


@pytest.mark.parametrize("location", ["https:////]", "http:////["])
def test_a_redirect_to_what_is_no_url_fails_its_track_only(
    stranger: Stranger, raw_server: StartRawServer, location: str
) -> None:
    def respond(head: bytes) -> bytes:
        return genuine(head) if name_of(head) in BODIES else answer(b"", f"Location: {location}", status="302 Found")

    stranger.configure(raw_server(respond).url, jobs=1)
    told = stranger.run("fetch", "open:bad", "open:a", "open:b", code=1)
    assert "open:bad: the server redirects to something that is no http(s) URL; check the source" in told.err
    assert stored(stranger) == set(BODIES.values())


@pytest.mark.parametrize(
    "url",
    ["https://dj:s3cret@h\u2100st/a?token=s3cret", "https://dj:x/s3cret@host/a", "https://dj:s3cret/x@host/a",
     "https://dj:s3cret@[host/a", "https://dj:s3cret@host:9x/a"],
)  # fmt: skip
def test_a_url_that_cannot_be_read_is_not_shown_with_its_password(url: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(url)
    assert "s3cret" not in f"{caught.value} {caught.value!r} {caught.value.args}"


def test_a_template_shows_nothing_of_itself() -> None:
    made = Template.parse("x", "https://dj:${TOKEN}@music.example/${TOKEN}/{id}", {"TOKEN": "s3cret"})
    assert "s3cret" not in repr(made)
