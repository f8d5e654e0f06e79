"""Servers that answer anything: whatever they do, only whole, right files enter the store, and nothing hangs.

A failure names the seed and the case: ``play(SEED, [CASE], ...)`` shows it again, mostly, since threads have their say.
"""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachestore.cache import Cache
from cachestore.config import SourceConfig
from cachestore.track import Track, url_track
from cachestore.web import retries, web
from cachestore.web.retries import Retries
from tests.crashes import IN_FULL
from tests.downloads import answer, bare, rest, sha256, unchanged
from tests.library import Sample, make_sample, make_wave
from tests.odd_bouts import LONGEST, impatient, play
from tests.raw_servers import Drip, RawServer, Stall
from tests.servers import program

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import StartRawServer

ETAG = 'ETag: "1"'
OURS, THEIRS, NOBODYS = (make_wave(4000, name) for name in ("ours", "theirs", "nobody's"))


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Sequence[bytes]:
    """Small audio files, several of each format."""
    folder, ffmpeg = tmp_path_factory.mktemp("files"), program("ffmpeg")
    made = [Sample(folder / f"{n}.{ext}", ext, "A", f"T{n}") for ext in ("flac", "mp3", "ogg", "m4a") for n in range(3)]
    for sample in made:
        make_sample(ffmpeg, sample, seconds=0.4)
    return [sample.data for sample in made]


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait between attempts."""
    monkeypatch.setattr(retries, "_backoff", lambda _: 0.0)
    monkeypatch.setattr(web, "Retries", partial(Retries, wait=lambda cancel, _: cancel.is_set()))


def test_only_whole_right_files_enter_the_store(files: Sequence[bytes], tmp_path: Path) -> None:
    play(random.getrandbits(32), range(100), files, tmp_path)


@pytest.mark.long
def test_only_whole_right_files_enter_the_store_whatever_servers_say(files: Sequence[bytes], tmp_path: Path) -> None:
    over = time.monotonic() + (60 if IN_FULL else 20)
    while time.monotonic() < over:
        play(random.getrandbits(32), range(200), files, tmp_path)


# --- any text in any field


_NAMES = (
    "Connection", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-MD5", "Content-Range",
    "Content-Type", "Date", "ETag", "Last-Modified", "Location", "Repr-Digest", "Retry-After", "Transfer-Encoding",
    "x-goog-hash",
)  # fmt: skip
_STATUSES = ("200 OK", "206 Partial Content", "304 Not Modified", "302 Found", "416 Not There", "503 Later")
_TEXTS = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"))
_ROWS = st.lists(st.tuples(st.sampled_from(_NAMES), _TEXTS))


@settings(max_examples=12, deadline=None)
@given(answers=st.lists(st.tuples(st.sampled_from(_STATUSES), _ROWS), min_size=1, max_size=20))
def test_no_text_in_any_field_does_harm(
    answers: list[tuple[str, list[tuple[str, str]]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    def respond(head: bytes) -> bytes:
        number = head.split()[1].rpartition(b"/")[2]
        if not number.isdigit() or int(number) >= len(answers):
            return b""  # somewhere else, where a Location led
        status, rows = answers[int(number)]
        return answer(OURS, *(f"{name}: {value}" for name, value in rows), status=status)

    server = RawServer(respond)
    try:
        tracks = [url_track(f"{server.url}/track/{number}") for number in range(len(answers))]
        found = fetched(tmp_path_factory.mktemp("any"), *tracks)
    finally:
        server.stop()
    assert all(each == OURS or isinstance(each, str) for each in found)


# --- what was found, each for itself


def fetched(folder: Path, *tracks: Track, **sources: SourceConfig) -> list[bytes | str]:
    """Return the bytes of each track, or the code of its failure, asked for one after the other."""
    with Cache.open(impatient(folder / "root", **sources)) as cache:
        return [
            cache.store.blobs.path(result.entry.digest).read_bytes() if result.error is None else result.error.code
            for result in cache.fetch(tracks, jobs=1)
        ]


def kept_alive(*answers: bytes) -> Stall:
    """Return answers to one request, behind which the connection stays open."""
    return Stall(b"".join(answers).replace(b"Connection: close\r\n", b""))


def test_what_comes_behind_an_answer_is_no_answer_to_the_next_request(
    tmp_path: Path, raw_server: StartRawServer
) -> None:
    server = raw_server(kept_alive(answer(OURS), answer(NOBODYS)), answer(THEIRS))
    assert fetched(tmp_path, url_track(f"{server.url}/1"), url_track(f"{server.url}/2")) == [OURS, THEIRS]


def test_what_comes_behind_a_long_body_in_a_record_of_tls_is_no_answer_to_the_next_request(
    tmp_path: Path,
    raw_server: StartRawServer,
    certified: tuple[ssl.SSLContext, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certified[1]))
    long = make_wave(100_001, "long")
    server = raw_server(kept_alive(answer(long), answer(NOBODYS)), answer(THEIRS), tls=certified[0])
    assert fetched(tmp_path, url_track(f"{server.url}/1"), url_track(f"{server.url}/2")) == [long, THEIRS]


def test_the_body_of_a_304_is_no_answer_to_the_next_request(tmp_path: Path, raw_server: StartRawServer) -> None:
    unchanged = f"HTTP/1.1 304 Not Modified\r\n{ETAG}\r\n\r\n".encode()
    server = raw_server(answer(OURS, ETAG), kept_alive(unchanged, answer(NOBODYS)), answer(THEIRS))
    one, two = url_track(f"{server.url}/1"), url_track(f"{server.url}/2")
    assert fetched(tmp_path, one) == [OURS]
    assert fetched(tmp_path, one, two) == [OURS, THEIRS]


def test_a_part_ends_where_its_range_ends(tmp_path: Path, raw_server: StartRawServer) -> None:
    span = f"Content-Range: bytes 1000-1499/{len(OURS)}"
    part = bare(OURS[1000:1500] + NOBODYS[1500:], ETAG, span, status="206 Partial Content")
    server = raw_server(answer(OURS[:1000], ETAG, length=len(OURS)), part, answer(OURS, ETAG))
    assert fetched(tmp_path, url_track(f"{server.url}/1"))[0] in {OURS, "bad_response"}


def test_a_promised_digest_outlives_the_run(tmp_path: Path, raw_server: StartRawServer) -> None:
    flipped = OURS[:500] + b"?" + OURS[501:]
    cut = answer(flipped[:1000], ETAG, sha256(OURS), length=len(OURS))
    server = raw_server(cut, answer(status="401 Unauthorized"), rest(OURS, 1000, ETAG), answer(OURS, ETAG))
    track = url_track(f"{server.url}/1")
    assert fetched(tmp_path, track) == ["unauthorized"]
    assert fetched(tmp_path, track) == [OURS]
    assert len(server.received) == 4


@pytest.mark.parametrize(("one", "other"), [('"1"', '"2"'), ('W/"1"', 'W/"2"'), ('W/"1"', 'W/"1"'), ("", "")])
def test_the_version_of_a_provider_does_not_make_two_bodies_one(
    tmp_path: Path, raw_server: StartRawServer, one: str, other: str
) -> None:
    """The file changes after the service was asked, and the download is cut."""
    begun = False

    def respond(head: bytes) -> bytes:
        nonlocal begun
        if b"/document" in head:
            return answer(b'{"url": "/stream", "version": 7}')
        if not begun:
            begun = True
            return answer(OURS[:1000], f"ETag: {one}", length=len(OURS))
        is_rest = b"Range: " in head and (b"If-Range: " not in head or one == other)
        return rest(THEIRS, 1000, f"ETag: {other}") if is_rest else answer(THEIRS, f"ETag: {other}")

    pointers = {"stream_pointer": "/url", "version_pointer": "/version"}
    api = SourceConfig("api", "http", {"resolve_url": f"{raw_server(respond).url}/{{id}}", **pointers})
    assert fetched(tmp_path, Track("api", "document"), api=api) == [THEIRS]


@pytest.mark.parametrize(
    ("stream", "asked"), [("/new.wav?sig=1", 2), ("/stream?id=new.wav&sig=1", 2), ("/stream?sig=2", 1)]
)
@pytest.mark.parametrize("word", ['ETag: "1"', "Last-Modified: Mon, 05 Oct 2026 10:00:00 GMT"])
def test_a_validator_is_of_the_path_that_the_service_named(
    tmp_path: Path, raw_server: StartRawServer, stream: str, asked: int, word: str
) -> None:
    """The service names another file, whose server has the very same ETag, or date and length, for other bytes."""
    now = "/stream?sig=1"

    def respond(head: bytes) -> bytes:
        if b"/document" in head:
            return answer(b'{"url": "%b"}' % now.encode())
        if b"if-none-match" in head.lower() or b"if-modified-since" in head.lower():
            return unchanged(word)
        return answer(THEIRS if b"new.wav" in head else OURS, word)

    server = raw_server(respond)
    api = SourceConfig("api", "http", {"resolve_url": f"{server.url}/{{id}}", "stream_pointer": "/url"})
    track = Track("api", "document")
    assert fetched(tmp_path, track, api=api) == [OURS]
    now = stream
    assert fetched(tmp_path, track, api=api) == [OURS if asked == 1 else THEIRS]
    heads = [head.lower() for head in server.received if b"/document" not in head]
    conditions = [b"if-none-match" in head or b"if-modified-since" in head for head in heads]
    assert conditions == [False, True, False][: asked + 1]


def test_a_part_that_began_under_an_old_word_of_a_provider_is_not_gone_on_with(
    tmp_path: Path, raw_server: StartRawServer
) -> None:
    """The file changes after the service was asked, a retry begins with it, and then it changes back."""
    answers = [answer(OURS[:1000], length=len(OURS))]
    changed_back = False

    def respond(head: bytes) -> bytes:
        if b"/document" in head:
            return answer(b'{"url": "/stream", "version": 7}')
        if not changed_back:
            return answers.pop() if answers else answer(THEIRS[:2000], length=len(THEIRS))
        return rest(OURS, 2000) if b"Range: bytes=2000-" in head else answer(OURS)

    pointers = {"stream_pointer": "/url", "version_pointer": "/version"}
    api = SourceConfig("api", "http", {"resolve_url": f"{raw_server(respond).url}/{{id}}", **pointers})
    assert fetched(tmp_path, Track("api", "document"), api=api) == ["truncated"]
    changed_back = True
    assert fetched(tmp_path, Track("api", "document"), api=api) == [OURS]


@pytest.mark.parametrize("name", ["ETag", "Last-Modified"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_field_that_comes_twice_and_once_empty_can_be_asked_for(
    tmp_path: Path, raw_server: StartRawServer, name: str, place: int
) -> None:
    rows = ["Mon, 04 Mar 2019 10:00:00 GMT"]
    rows.insert(place, "")
    server = raw_server(answer(OURS, *(f"{name}: {value}" for value in rows)))
    track = url_track(f"{server.url}/1")
    assert fetched(tmp_path, track) + fetched(tmp_path, track) == [OURS, OURS]


_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "dripping",
    [
        _CHUNKED + b"fa0;x=" + b"y" * 5000,
        _CHUNKED + b"4\r\nRIFF\r\n0\r\n" + b"X: y\r\n" * 900,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 900,
        b"HTTP/1.1 102 Soon\r\n\r\n" * 250,
    ],
    ids=["extension", "trailers", "head", "early answers"],
)
def test_what_drips_beside_a_body_ends_too(tmp_path: Path, raw_server: StartRawServer, dripping: bytes) -> None:
    server = raw_server(Drip(dripping, 0.05, 10))
    began = time.monotonic()
    assert fetched(tmp_path, url_track(f"{server.url}/1"))[0] in {"timeout", "truncated"}
    assert time.monotonic() - began < LONGEST
