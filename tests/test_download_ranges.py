"""Ranges where a server is not what it was, refuses them, or does not know how long the whole is."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cachestore.download import NotModified
from cachestore.download.question import resource_of
from cachestore.errors import NotFound
from cachestore.partials import DownloadLock, claim
from cachestore.track import Origin
from tests.downloads import (
    SMALL,
    TRACK,
    Desk,
    answer,
    asked,
    bare,
    provided,
    rest,
    sha256,
    strong,
    unchanged,
    wave,
    weak,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.version import Version
    from tests.conftest import StartRawServer

OTHER = wave(9000, seed=8)
TAG = ['ETag: "1"']
DATE = ["Last-Modified: Tue, 01 Jan 1980 00:00:00 GMT", "Date: Mon, 30 Nov 2026 12:00:00 GMT"]
RANGE = "bytes=5000-"
CUT = answer(SMALL[:5000], *TAG, length=9000)


# A validator is unique for one resource


def others(head: bytes, said: Sequence[str]) -> bytes:
    """Answer as an honest server does of other bytes that it calls the same."""
    return rest(OTHER, 5000, *said) if b"range: bytes" in head.lower() else answer(OTHER, *said)


@pytest.mark.parametrize("said", [TAG, DATE])
def test_a_rest_from_another_mirror_is_not_put_to_the_bytes_of_the_first(
    desk: Desk, raw_server: StartRawServer, said: list[str]
) -> None:
    first = raw_server(answer(SMALL[:5000], *said, length=9000))
    second = raw_server(lambda head: others(head, said))
    hops = [answer(b"", f"Location: {url}/t42", status="302 Found") for url in (first.url, second.url)]
    assert desk.body(raw_server(*hops).url, retries=1).path.read_bytes() == OTHER
    assert asked(second, "Range") == [RANGE, None]


def test_a_rest_from_the_same_mirror_is(desk: Desk, raw_server: StartRawServer) -> None:
    mirror = raw_server(CUT, rest(SMALL, 5000, *TAG))
    hop = raw_server(answer(b"", f"Location: {mirror.url}/t42", status="302 Found"))
    assert desk.body(hop.url, retries=1).path.read_bytes() == SMALL


@pytest.mark.parametrize("said", [TAG, DATE])
@pytest.mark.parametrize(("old", "new"), [("old.wav", "new.wav"), ("get?file=old.wav", "get?file=new.wav")])
def test_a_rest_from_another_path_in_a_later_run_is_begun_anew(
    desk: Desk, raw_server: StartRawServer, said: list[str], old: str, new: str
) -> None:
    server = raw_server(answer(SMALL[:5000], *said, length=9000), lambda head: others(head, said))
    desk.refusal(f"{server.url}/{old}")
    assert desk.body(f"{server.url}/{new}").path.read_bytes() == OTHER
    assert asked(server, "Range") == [None, RANGE, None]


def test_a_complete_partial_of_another_resource_is_not_confirmed(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(unchanged(*TAG), answer(OTHER, *TAG))
    with claim(desk.folder, TRACK.address, DownloadLock.without(desk.folder), threading.Event()) as partial:
        partial.begin(strong('"1"'), strong('"1"'), len(SMALL), resource=resource_of(f"{server.url}/old.wav"))
        partial.write(SMALL)
    assert desk.body(f"{server.url}/new.wav").path.read_bytes() == OTHER


def test_the_version_of_a_provider_stands_for_the_bytes_wherever_they_are(
    desk: Desk, raw_server: StartRawServer
) -> None:
    desk.refusal(raw_server(CUT).url, version=provided("rev-7"))
    moved = raw_server(rest(SMALL, 5000, *TAG))
    assert desk.body(f"{moved.url}/t42", version=provided("rev-7")).path.read_bytes() == SMALL


def test_a_resource_is_the_same_whoever_asks_and_says_nothing_of_it() -> None:
    url = "https://music.example/t42.wav"
    alike = [url, f"{url}?sig=x", "https://dj:x@music.example/t42.wav", f"{url};token=x", f"{url}#x"]
    unlike = ["http://music.example/t42.wav", "https://music.example:444/t42.wav", f"{url}?id=1"]
    assert len({resource_of(one) for one in alike}) == 1
    assert len({resource_of(one) for one in [url, *unlike]}) == 4
    assert len(resource_of(url)) == 32


# A Range that is refused


@pytest.mark.parametrize(
    "status", ["400 Bad", "403 No", "404 No", "405 No", "412 No", "431 Large", "500 Oops", "501 No"]
)
def test_where_a_range_is_refused_the_whole_is_asked_for(desk: Desk, raw_server: StartRawServer, status: str) -> None:
    server = raw_server(CUT, answer(status=status), answer(SMALL, *TAG))
    desk.refusal(server.url)
    assert desk.body(server.url).path.read_bytes() == SMALL
    assert asked(server, "Range") == [None, RANGE, None]


@pytest.mark.parametrize("status", ["401 No", "408 Late", "425 Early", "429 Slow", "502 Oops", "503 Busy", "504 Late"])
def test_a_refusal_that_is_not_for_the_range_is_not_asked_again_without_it(
    desk: Desk, raw_server: StartRawServer, status: str
) -> None:
    server = raw_server(CUT, answer(status=status), rest(SMALL, 5000, *TAG))
    desk.refusal(server.url)
    desk.refusal(server.url)
    assert desk.body(server.url).path.read_bytes() == SMALL
    assert asked(server, "Range") == [None, RANGE, RANGE]


def test_a_500_gets_its_retries_before_the_whole_is_asked_for(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(CUT, answer(status="500 Oops"), answer(status="500 Oops"), answer(SMALL, *TAG))
    desk.refusal(server.url)
    desk.body(server.url, retries=1)
    assert asked(server, "Range") == [None, RANGE, RANGE, None]


def test_a_track_that_is_refused_anyway_costs_one_more_question_and_keeps_its_partial(
    desk: Desk, raw_server: StartRawServer
) -> None:
    gone = answer(status="404 Gone")
    server = raw_server(CUT, gone, gone, rest(SMALL, 5000, *TAG))
    desk.refusal(server.url)
    assert isinstance(desk.refusal(server.url, retries=3), NotFound)
    assert desk.body(server.url).path.read_bytes() == SMALL
    assert asked(server, "Range") == [None, RANGE, None, RANGE]


def test_an_origin_that_may_have_expired_is_renewed_before_the_whole_is_asked_for(
    desk: Desk, raw_server: StartRawServer
) -> None:
    server = raw_server(CUT, answer(status="403 No"), answer(status="403 No"), answer(SMALL, *TAG))
    desk.refusal(server.url)
    desk.other_origin = Origin(f"{server.url}?new")
    assert desk.body(server.url).path.read_bytes() == SMALL
    assert asked(server, "Range") == [None, RANGE, RANGE, None]
    assert [b"?new" in head.split(b"\r\n")[0] for head in server.received] == [False, False, True, True]


# A whole of unknown length


def test_a_rest_that_does_not_know_the_total_goes_on_where_that_is_known(
    desk: Desk, raw_server: StartRawServer
) -> None:
    parts = (rest(SMALL[:7000], 5000, *TAG), rest(SMALL, 7000, *TAG))
    server = raw_server(CUT, *(part.replace(b"/7000", b"/*").replace(b"/9000", b"/*") for part in parts))
    assert desk.body(server.url, retries=2).path.read_bytes() == SMALL
    assert asked(server, "Range") == [None, RANGE, "bytes=7000-"]


def test_a_page_in_chunks_that_was_cut_is_not_put_before_the_rest_of_the_file(
    desk: Desk, raw_server: StartRawServer
) -> None:
    page = bare(b"1388\r\n" + b"<" * 3000, *TAG, "Transfer-Encoding: chunked")
    server = raw_server(page, answer(SMALL, *TAG))
    assert desk.body(server.url, retries=1).path.read_bytes() == SMALL
    assert asked(server, "Range") == [None, None]


# A server that knows no conditions


def test_a_known_etag_in_the_head_of_a_200_needs_no_body(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(b"", *TAG, length=9000))
    assert desk.get(server.url, [strong('"2"'), strong('"1"')]) == NotModified(strong('"1"'))
    assert asked(server, "If-None-Match") == ['"2", "1"']
    assert desk.files() == []


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ([], TAG),
        ([strong('"2"')], TAG),
        ([weak('W/"1"')], TAG),
        ([weak('W/"1"')], ['ETag: W/"1"']),
        ([strong('"1"')], [*TAG, sha256(OTHER)]),
        ([strong('"1"'), replace(strong('"1"'), digest="of others")], TAG),
    ],
)
def test_an_etag_that_tells_less_has_its_bytes_compared(
    desk: Desk, raw_server: StartRawServer, known: list[Version], said: list[str]
) -> None:
    assert desk.body(raw_server(answer(OTHER, *said)).url, known).path.read_bytes() == OTHER
