"""An origin that is refused: signed URLs expire in the middle of an export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cachestore.errors import Forbidden, Unauthorized
from cachestore.track import Origin
from tests.downloads import BYTES, OPENED_BY, SMALL, Desk, answer, asked, provided, rest, strong, wave

if TYPE_CHECKING:
    from pathlib import Path

    from cachestore.version import Version
    from tests.conftest import StartNginx, StartRawServer
    from tests.servers import Nginx


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


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "410 Gone"])
def test_an_origin_that_may_have_expired_is_renewed(desk: Desk, raw_server: StartRawServer, status: str) -> None:
    old, new = raw_server(answer(status=status)), raw_server(answer(SMALL))
    desk.other_origin = Origin(new.url, OPENED_BY)
    assert desk.body(old.url).path.read_bytes() == SMALL
    [(url, error)] = desk.refused
    assert (url, error.status) == (old.url, int(status[:3]))
    assert asked(new, "Authorization") == [OPENED_BY["Authorization"]]
    assert desk.waits == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"subsonic-response": {"status": "failed", "error": {"code": 40}}}', "40"),
        (b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>", "ExpiredToken"),
    ],
)
def test_an_origin_that_is_refused_in_a_document_is_renewed(
    desk: Desk, raw_server: StartRawServer, content: bytes, code: str
) -> None:
    desk.other_origin = Origin(raw_server(answer(SMALL)).url)
    assert desk.body(raw_server(answer(content, 'ETag: "a"')).url).path.read_bytes() == SMALL
    assert [error.provider_code for _, error in desk.refused] == [code]


@pytest.mark.parametrize("status", ["404 Not Found", "416 Range Not Satisfiable", "500 Oops", "302 Found", "402 Pay"])
def test_no_other_status_renews_an_origin(desk: Desk, raw_server: StartRawServer, status: str) -> None:
    desk.other_origin = Origin(raw_server(answer(SMALL)).url)
    desk.refusal(raw_server(answer(status=status)).url)
    assert desk.refused == []


def test_where_nothing_renews_an_origin_the_refusal_stands(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(status="403 Forbidden"))
    assert isinstance(desk.refusal(server.url, retries=3), Forbidden)
    assert (len(server.received), len(desk.refused)) == (1, 1)


def test_a_second_refusal_is_final(desk: Desk, raw_server: StartRawServer) -> None:
    old, new = raw_server(answer(status="403 Forbidden")), raw_server(answer(status="401 Unauthorized"))
    desk.other_origin = Origin(new.url)
    error = desk.refusal(old.url, retries=3)
    assert error.status == 401
    assert (len(old.received), len(new.received), len(desk.refused)) == (1, 1, 1)


def test_a_renewed_origin_stays_renewed_over_retries(desk: Desk, raw_server: StartRawServer) -> None:
    old = raw_server(answer(status="403 Forbidden"))
    new = raw_server(answer(status="503 Busy"), answer(SMALL))
    desk.other_origin = Origin(new.url)
    assert desk.body(old.url, retries=1).path.read_bytes() == SMALL
    assert (len(old.received), len(new.received)) == (1, 2)


def test_a_renewal_that_comes_after_bytes_goes_on_from_there(desk: Desk, raw_server: StartRawServer) -> None:
    cut, refused = answer(SMALL[:5000], 'ETag: "a"', length=9000), answer(status="403 Forbidden")
    server = raw_server(cut, refused, rest(SMALL, 5000, 'ETag: "a"'))
    desk.other_origin = Origin(f"{server.url}?signature=new")
    body = desk.body(f"{server.url}?signature=old", [strong('"old"')], retries=1)
    assert (body.path.read_bytes(), body.version) == (SMALL, strong('"a"'))
    assert b"signature=new" in server.received[2]
    assert (asked(server, "Range")[1:], asked(server, "If-Range")[1:]) == (["bytes=5000-"] * 2, ['"a"'] * 2)
    assert asked(server, "If-None-Match") == ['"old"'] * 3


@pytest.mark.parametrize("version", [provided("rev-7"), provided("rev-8"), None])
def test_a_renewal_goes_on_only_with_the_same_version_of_the_provider(
    desk: Desk, raw_server: StartRawServer, version: Version | None
) -> None:
    other = wave(9000, seed=8)
    old = raw_server(answer(SMALL[:5000], length=9000), answer(status="403 Forbidden"))
    new = raw_server(lambda head: rest(SMALL, 5000) if b"range: bytes" in head.lower() else answer(other))
    desk.other_origin = Origin(new.url, version=version)
    body = desk.body(old.url, version=provided("rev-7"), retries=1)
    is_same = version == provided("rev-7")
    assert (body.path.read_bytes(), body.version) == (SMALL if is_same else other, version)
    assert asked(new, "Range") == ["bytes=5000-" if is_same else None]


def test_a_refusal_does_not_cost_the_partial(desk: Desk, studio: Nginx) -> None:
    desk.cut(f"{studio.url}/auth/t42", 100_000, headers=OPENED_BY)
    assert isinstance(desk.refusal(f"{studio.url}/auth/t42"), Unauthorized)
    assert desk.body(f"{studio.url}/auth/t42", headers=OPENED_BY).path.read_bytes() == BYTES
    assert desk.progress[0][0] >= 100_000
