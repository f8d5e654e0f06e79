"""Digests behind the body: what a server knows only when it has sent all of it, it says in trailer fields."""

from __future__ import annotations

import zlib
from base64 import b64encode
from hashlib import md5, sha256
from typing import TYPE_CHECKING

import pytest

from cachestore.errors import Corrupt
from tests.downloads import SMALL, TRACK, Desk, answer, asked, bare, strong, wave

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartNginx, StartRawServer

OTHER = wave(9000, seed=7)


def trailing(body: bytes, *trailers: str, head: tuple[str, ...] = (), status: str = "200 OK") -> bytes:
    """Return an answer in one chunk with fields behind it."""
    frame = b"%x\r\n%s\r\n0\r\n" % (len(body), body)
    behind = "".join(f"{field}\r\n" for field in trailers).encode("latin-1")
    return bare(frame + behind + b"\r\n", "Transfer-Encoding: chunked", *head, status=status)


def text(digest: bytes) -> str:
    return b64encode(digest).decode()


def fields(body: bytes) -> dict[str, str]:
    """Return a field of each kind that may promise something behind the body."""
    return {
        "Repr-Digest": f"sha-256=:{text(sha256(body).digest())}:",
        "Content-Digest": f"sha-256=:{text(sha256(body).digest())}:",
        "Digest": f"sha-256={text(sha256(body).digest())}",
        "Content-MD5": text(md5(body).digest()),
        "x-amz-checksum-crc32": text(zlib.crc32(body).to_bytes(4, "big")),
        "x-goog-hash": f"md5={text(md5(body).digest())}",
    }


@pytest.mark.parametrize("name", fields(b""))
def test_what_is_promised_behind_a_body_has_to_hold(desk: Desk, raw_server: StartRawServer, name: str) -> None:
    right, wrong = (f"{name}: {fields(body)[name]}" for body in (SMALL, OTHER))
    assert desk.body(raw_server(trailing(SMALL, right)).url).path.read_bytes() == SMALL
    (tmp,) = desk.folder.iterdir()
    tmp.unlink()
    error = desk.refusal(raw_server(trailing(SMALL, wrong)).url)
    assert isinstance(error, Corrupt)
    assert name.lower() in error.reason.lower()
    assert desk.files() == []


def test_a_promise_in_front_counts_beside_one_behind(desk: Desk, raw_server: StartRawServer) -> None:
    right, wrong = (f"Repr-Digest: {fields(body)['Repr-Digest']}" for body in (SMALL, OTHER))
    assert isinstance(desk.refusal(raw_server(trailing(SMALL, right, head=(wrong,))).url), Corrupt)
    assert isinstance(desk.refusal(raw_server(trailing(SMALL, wrong, head=(right,))).url), Corrupt)


def test_of_an_object_in_parts_the_checksum_behind_it_is_left_alone_too(desk: Desk, raw_server: StartRawServer) -> None:
    behind = f"x-amz-checksum-crc32: {fields(OTHER)['x-amz-checksum-crc32']}"
    server = raw_server(trailing(SMALL, behind, head=("x-amz-checksum-type: COMPOSITE",)))
    assert desk.body(server.url).path.read_bytes() == SMALL


def test_of_a_rest_it_is_of_the_part_or_of_the_whole_as_in_front(desk: Desk, raw_server: StartRawServer) -> None:
    cut = answer(SMALL[:5000], 'ETag: "a"', length=9000)
    span = ('ETag: "a"', "Content-Range: bytes 5000-8999/9000")
    part = f"Content-Digest: {fields(SMALL[5000:])['Content-Digest']}"
    whole = f"Repr-Digest: {fields(SMALL)['Repr-Digest']}"
    server = raw_server(cut, trailing(SMALL[5000:], part, whole, head=span, status="206 Partial Content"))
    assert desk.body(server.url, retries=1).path.read_bytes() == SMALL
    assert asked(server, "Range") == [None, "bytes=5000-"]
    next(desk.folder.iterdir()).unlink()
    wrong = f"Content-Digest: {fields(OTHER[5000:])['Content-Digest']}"
    server = raw_server(cut, trailing(SMALL[5000:], wrong, head=span, status="206 Partial Content"), answer(b"<html>"))
    desk.refusal(server.url)
    assert isinstance(desk.refusal(server.url), Corrupt)


def test_nothing_else_behind_a_body_counts(desk: Desk, raw_server: StartRawServer) -> None:
    others = ('ETag: "b"', "Content-Type: text/html", "Content-Encoding: gzip", "Content-Length: 7", "Location: /x")
    body = desk.body(raw_server(trailing(SMALL, *others, head=('ETag: "a"',))).url)
    assert (body.version, body.path.read_bytes()) == (strong('"a"'), SMALL)


@pytest.mark.parametrize("behind", [(), ("Repr-Digest: nonsense",), ("Repr-Digest: sha-256=:AAAA:",)])
def test_an_announced_promise_that_does_not_come_costs_nothing(
    desk: Desk, raw_server: StartRawServer, behind: tuple[str, ...]
) -> None:
    server = raw_server(trailing(SMALL, *behind, head=("Trailer: Repr-Digest",)))
    assert desk.body(server.url).path.read_bytes() == SMALL
    assert len(server.received) == 1


@pytest.mark.parametrize("holds", [True, False])
def test_a_real_server_says_it_behind_the_body(desk: Desk, nginx: StartNginx, tmp_path: Path, holds: bool) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served/x").write_bytes(SMALL)
    digest = fields(SMALL if holds else OTHER)["Repr-Digest"]
    server = nginx(tmp_path, body=f'location / {{ root {tmp_path}/served; add_trailer Repr-Digest "{digest}"; }}')
    if holds:
        assert desk.body(f"{server.url}/x").path.read_bytes() == SMALL
    else:
        assert isinstance(desk.refusal(f"{server.url}/x"), Corrupt)
    web = desk.web()
    web.document(TRACK, f"{server.url}/x")
    web.document(TRACK, f"{server.url}/x")
    assert len(desk.client._idle) == 1
