"""One conditional GET: what becomes of a server's answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from cachestore.download import Body, NotModified
from cachestore.errors import (
    BadResponse,
    BadStatus,
    Cancelled,
    Corrupt,
    NoSpace,
    NotAudio,
    NotFound,
    TimedOut,
    TooLarge,
    TrackError,
    Truncated,
    Unauthorized,
)
from cachestore.media import Media
from cachestore.partials import claims
from cachestore.track import Origin, Track
from cachestore.version import Version, VersionKind
from tests.downloads import (
    BYTES,
    OPENED_BY,
    SMALL,
    Desk,
    answer,
    asked,
    bare,
    dated,
    provided,
    rest,
    sha256,
    strong,
    unchanged,
    weak,
)
from tests.servers import replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import StartNginx, StartRawServer
    from tests.library import Sample
    from tests.servers import Nginx

NOON, LATER = "Sun, 22 Nov 2026 12:00:00 GMT", "Sun, 22 Nov 2026 13:00:00 GMT"


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


def chunked(body: bytes, *headers: str) -> bytes:
    frame = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n" if body else b"0\r\n\r\n"
    return bare(frame, "Transfer-Encoding: chunked", *headers)


# Whole bodies


def test_a_track_arrives_whole_with_its_digest_version_and_type(desk: Desk, studio: Nginx) -> None:
    body = desk.body(f"{studio.url}/plain/t42")
    assert body.path.parent == desk.folder
    assert body.path.read_bytes() == BYTES
    assert body.media == Media("wav", "audio/wav")
    assert body.version is not None
    assert body.version.kind is VersionKind.STRONG


@pytest.mark.parametrize("ext", ["flac", "mp3", "ogg", "m4a", "wav"])
def test_real_files_arrive_as_what_they_are(
    desk: Desk, nginx: StartNginx, library: Mapping[str, Sample], tmp_path: Path, ext: str
) -> None:
    library[ext].copy_to(tmp_path / "music", "t42")
    body = desk.body(f"{nginx(tmp_path / 'music').url}/plain/t42")
    assert body.media.ext == ext
    assert body.path.read_bytes() == library[ext].data


def test_progress_starts_at_nothing_and_ends_at_the_total_and_then_the_bytes_are_verified(
    desk: Desk, studio: Nginx
) -> None:
    desk.body(f"{studio.url}/plain/t42")
    assert desk.progress[0] == (0, len(BYTES))
    assert desk.progress[-1] == (len(BYTES), len(BYTES))
    assert desk.progress == sorted(desk.progress)
    assert desk.verified == [len(BYTES)]


def test_the_headers_of_the_origin_open_its_door(desk: Desk, studio: Nginx) -> None:
    assert desk.body(f"{studio.url}/auth/t42", headers=OPENED_BY).size == len(BYTES)


@pytest.mark.parametrize("whole", [chunked(SMALL), bare(SMALL)])
def test_a_body_without_length_is_whole_when_its_container_is(
    desk: Desk, raw_server: StartRawServer, whole: bytes
) -> None:
    assert desk.body(raw_server(whole).url).path.read_bytes() == SMALL
    assert desk.progress[-1] == (len(SMALL), None)


# An MP3 without any word of its length: whole at any frame.
FRAME = b"\xff\xfb\x90\x64" + bytes(413)
ENDLESS, ITS_BEGINNING = FRAME * 40, FRAME * 25


def test_a_body_that_only_a_closed_connection_ends_has_to_come_twice_the_same(
    desk: Desk, raw_server: StartRawServer
) -> None:
    server = raw_server(bare(ENDLESS))
    assert desk.body(server.url).path.read_bytes() == ENDLESS
    assert (len(server.received), desk.waits) == (2, [])


@pytest.mark.parametrize("cut", [0, 1])
def test_a_body_that_a_closed_connection_cut_is_not_taken_for_whole(
    desk: Desk, raw_server: StartRawServer, cut: int
) -> None:
    bodies = [bare(ENDLESS), bare(ENDLESS)]
    bodies.insert(cut, bare(ITS_BEGINNING))
    server = raw_server(*bodies)
    assert desk.body(server.url, retries=2).path.read_bytes() == ENDLESS


def test_a_body_that_never_comes_twice_the_same_is_told(desk: Desk, raw_server: StartRawServer) -> None:
    bodies = [bare(FRAME * frames) for frames in (40, 25, 30, 35)]
    server = raw_server(*bodies)
    error = desk.refusal(server.url, retries=2)
    assert isinstance(error, Truncated)
    assert error.retryable
    assert "does not say where the body ends" in error.reason
    assert (len(server.received), desk.files()) == (4, [])


@pytest.mark.parametrize(
    "delimited",
    [answer(ENDLESS), chunked(ENDLESS), bare(ENDLESS, sha256(ENDLESS))],
    ids=["length", "chunked", "digest"],
)
def test_a_body_of_which_something_tells_the_end_comes_once(
    desk: Desk, raw_server: StartRawServer, delimited: bytes
) -> None:
    server = raw_server(delimited)
    assert desk.body(server.url).size == len(ENDLESS)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "cut",
    [
        answer(SMALL[:5000], length=9000),
        chunked(SMALL)[:-5],
        chunked(SMALL)[:-7000],
        bare(b"no chunk", "Transfer-Encoding: chunked"),
    ],
)
def test_a_body_that_was_cut_is_never_taken_for_whole(desk: Desk, raw_server: StartRawServer, cut: bytes) -> None:
    error = desk.refusal(raw_server(cut).url)
    assert isinstance(error, Truncated)
    assert error.retryable
    assert desk.files() == []


@pytest.mark.parametrize("empty", [answer(), chunked(b""), bare(b"")])
def test_an_empty_body_is_no_audio(desk: Desk, raw_server: StartRawServer, empty: bytes) -> None:
    error = desk.refusal(raw_server(empty).url, retries=3)
    assert isinstance(error, NotAudio)
    assert "an empty body" in str(error)
    assert (desk.files(), desk.waits) == ([], [])


def test_identity_is_asked_for_even_if_a_source_says_otherwise(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(SMALL))
    desk.body(server.url, headers={"accept-encoding": "gzip"})
    assert asked(server, "Accept-Encoding") == ["identity"]
    assert asked(server, "Want-Repr-Digest") == ["sha-256=10, sha-512=5"]


@pytest.mark.parametrize("name", ["Range", "if-range", "If-None-Match", "if-modified-since", "IF-MATCH"])
def test_conditions_and_ranges_of_a_source_are_not_sent(desk: Desk, raw_server: StartRawServer, name: str) -> None:
    server = raw_server(lambda head: rest(SMALL, 0) if b"range: bytes" in head.lower() else answer(SMALL))
    desk.body(server.url, headers={name: "bytes=0-"})
    assert asked(server, name) == [None]


def test_a_compressed_body_is_refused(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(b"\x1f\x8b", "Content-Encoding: gzip"))
    assert isinstance(desk.refusal(server.url), BadResponse)


@pytest.mark.parametrize("large", [answer(SMALL), answer(b"", length=9000), chunked(SMALL), bare(SMALL)])
def test_a_body_that_is_too_large_stops_at_the_limit(desk: Desk, raw_server: StartRawServer, large: bytes) -> None:
    error = desk.refusal(raw_server(large).url, max_size=8999)
    assert isinstance(error, TooLarge)
    assert "9.0 kB" in str(error)
    assert desk.files() == []


def test_a_body_as_large_as_the_limit_is_not_too_large(desk: Desk, raw_server: StartRawServer) -> None:
    assert desk.body(raw_server(answer(SMALL)).url, max_size=9000).size == 9000


def test_a_full_disk_is_told_and_given_its_bytes_back(
    desk: Desk, studio: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_full_disk(folder: Path, _: str) -> Path:
        path = folder / f"{'0' * 32}.{'1' * 32}.work"
        path.symlink_to("/dev/full")
        return path

    monkeypatch.setattr(claims, "begun_anew", on_a_full_disk)
    with pytest.raises(NoSpace):
        desk.get(f"{studio.url}/plain/t42")
    assert desk.files() == []


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        (["Content-Disposition: attachment; filename=\"o.flac\"; filename*=UTF-8''%C3%96.flac"], "Ö.flac"),
        (['Content-Disposition: attachment; filename="../Opus.flac"'], "Opus.flac"),
        ([], ""),
    ],
)
def test_a_body_has_the_name_that_the_server_gives_it(
    desk: Desk, raw_server: StartRawServer, headers: list[str], name: str
) -> None:
    assert desk.body(raw_server(answer(SMALL, *headers)).url).name == name


def test_several_threads_share_one_downloader(desk: Desk, studio: Nginx) -> None:
    downloader = desk.downloader(desk.web())

    def get(number: int) -> bytes:
        body = desk.ask(downloader, Origin(f"{studio.url}/plain/t42"), track=Track("studio", str(number)))
        assert isinstance(body, Body)
        body.partial.release()
        return body.path.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(get, range(24))) == {BYTES}


# Versions and conditions


def test_a_known_version_is_confirmed_by_one_conditional_request(desk: Desk, studio: Nginx) -> None:
    version = desk.body(f"{studio.url}/plain/t42").version
    assert version is not None
    assert desk.get(f"{studio.url}/plain/t42", [version]) == NotModified(version)
    assert [(row.method, row.status) for row in studio.requests()] == [("GET", 200), ("GET", 304)]


def test_a_changed_track_arrives_as_another_version(desk: Desk, studio: Nginx, served: Path) -> None:
    first = desk.body(f"{studio.url}/plain/t42")
    first.path.unlink()
    replace(served / "t42", SMALL)
    assert first.version is not None
    body = desk.body(f"{studio.url}/plain/t42", [first.version])
    assert body.path.read_bytes() == SMALL
    assert body.version not in {None, first.version}


def test_a_rollback_on_the_server_costs_no_download_and_is_named(desk: Desk, studio: Nginx) -> None:
    old = desk.body(f"{studio.url}/plain/t42").version
    assert old is not None
    assert desk.get(f"{studio.url}/plain/t42", [strong('"newer"'), weak('W/"w"'), old]) == NotModified(old)


def test_all_known_etags_are_sent_verbatim(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(SMALL))
    known = [strong('"a"'), weak('W/"b"'), strong("unquoted-2"), dated(NOON, 5), provided("7"), strong('"\xe9"')]
    desk.body(server.url, known)
    assert asked(server, "If-None-Match") == ['"a", W/"b", unquoted-2, "\xe9"']
    assert asked(server, "If-Modified-Since") == [None]


def test_a_date_is_asked_for_when_it_is_all_that_is_known(desk: Desk, studio: Nginx) -> None:
    version = desk.body(f"{studio.url}/modified/t42").version
    assert version is not None
    assert version.kind is VersionKind.MODIFIED
    assert version.value.endswith(f" GMT {len(BYTES)}")
    assert desk.get(f"{studio.url}/modified/t42", [version]) == NotModified(version)


def test_a_304_that_has_another_date_is_asked_for_the_bytes(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(unchanged(f"Last-Modified: {NOON}"), answer(SMALL))
    desk.body(server.url, [dated(LATER, 9)])
    assert asked(server, "If-Modified-Since") == [LATER, None]


@pytest.mark.parametrize("version", [provided("rev-7"), Version(VersionKind.DESCRIBED, "5 2026")])
def test_what_a_server_does_not_know_is_never_sent(desk: Desk, raw_server: StartRawServer, version: Version) -> None:
    server = raw_server(answer(SMALL))
    desk.body(server.url, [version])
    assert asked(server, "If-None-Match") == asked(server, "If-Modified-Since") == [None]


def test_a_server_without_validators_has_no_version(desk: Desk, studio: Nginx) -> None:
    assert desk.body(f"{studio.url}/noetag/t42").version is None


def test_the_word_of_the_provider_beats_the_etag(desk: Desk, studio: Nginx) -> None:
    assert desk.body(f"{studio.url}/plain/t42", version=provided("rev-7")).version == provided("rev-7")


def test_of_several_dates_an_older_one_that_comes_back_costs_no_download(
    desk: Desk, raw_server: StartRawServer
) -> None:
    known = [dated(LATER, 5), dated(NOON, 9000)]
    assert desk.get(raw_server(answer(SMALL, f"Last-Modified: {NOON}")).url, known) == NotModified(known[1])
    assert (desk.files(), desk.progress) == ([], [])


def test_a_version_that_is_not_the_pinned_one_is_refused_before_its_body(
    desk: Desk, raw_server: StartRawServer
) -> None:
    downloader, server = desk.downloader(desk.web()), raw_server(answer(SMALL, 'ETag: "b"'))
    with pytest.raises(NotFound, match="pinned version a"):
        desk.ask(downloader, Origin(server.url), track=Track("studio", "t42", version="a"))
    assert (desk.files(), desk.progress) == ([], [])
    body = desk.ask(downloader, Origin(server.url), track=Track("studio", "t42", version="b"))
    assert isinstance(body, Body)
    body.partial.release()


def test_not_modified_is_not_believed_unless_it_was_asked(desk: Desk, raw_server: StartRawServer) -> None:
    assert isinstance(desk.refusal(raw_server(unchanged()).url), BadResponse)


def test_a_part_is_not_believed_unless_it_was_asked(desk: Desk, raw_server: StartRawServer) -> None:
    assert isinstance(desk.refusal(raw_server(rest(SMALL, 0)).url), BadResponse)


@pytest.mark.parametrize("named", [[], ['ETag: "other"']])
def test_a_304_that_could_mean_any_version_is_asked_again_without_conditions(
    desk: Desk, raw_server: StartRawServer, named: list[str]
) -> None:
    server = raw_server(unchanged(*named), answer(SMALL))
    desk.body(server.url, [strong('"a"'), strong('"b"')])
    assert asked(server, "If-None-Match") == ['"a", "b"', None]


# The gate


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!doctype html><html><title>Sign in</title></html>", NotAudio),
        (b'{"error": "no"}', NotAudio),
        (b"#EXTM3U\nOpus.flac\n", NotAudio),
        (b"PK\3\4" + bytes(100), NotAudio),
        (bytes(1000), NotAudio),
        (b'{"subsonic-response": {"status": "failed", "error": {"code": 70}}}', NotFound),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", NotFound),
        (b"<?xml version='1.0'?><Error><Code>InvalidAccessKeyId</Code></Error>", Unauthorized),
    ],
)
def test_what_is_no_audio_is_a_failure_of_its_kind_and_leaves_nothing(
    desk: Desk, raw_server: StartRawServer, content: bytes, kind: type[TrackError]
) -> None:
    server = raw_server(answer(content, 'ETag: "a"', "Content-Type: audio/flac"))
    assert type(desk.refusal(server.url, retries=3)) is kind
    assert (desk.files(), desk.waits) == ([], [])


def test_a_container_that_is_cut_though_all_has_come_that_was_promised_is_final(
    desk: Desk, raw_server: StartRawServer
) -> None:
    error = desk.refusal(raw_server(answer(SMALL[:5000], 'ETag: "a"')).url, retries=3)
    assert isinstance(error, Truncated)
    assert (error.retryable, error.exit_code) == (False, 1)
    assert (desk.files(), desk.waits) == ([], [])


@pytest.mark.parametrize("cut", [bare(SMALL[:5000], 'ETag: "a"'), chunked(SMALL[:5000], 'ETag: "a"')])
def test_a_container_that_is_cut_where_nothing_was_promised_is_asked_for_again(
    desk: Desk, raw_server: StartRawServer, cut: bytes
) -> None:
    server = raw_server(cut, answer(SMALL))
    assert desk.body(server.url, retries=1).path.read_bytes() == SMALL
    assert asked(server, "Range") == [None, None]


def test_a_digest_that_does_not_hold_is_told_and_the_whole_asked_for_again(
    desk: Desk, raw_server: StartRawServer
) -> None:
    server = raw_server(answer(SMALL, 'ETag: "a"', sha256(SMALL[1:])), answer(SMALL, 'ETag: "a"', sha256(SMALL)))
    error = desk.refusal(server.url)
    assert isinstance(error, Corrupt)
    assert "SHA-256" in str(error)
    assert desk.files() == []
    server = raw_server(answer(SMALL, 'ETag: "a"', sha256(SMALL[1:])), answer(SMALL, 'ETag: "a"', sha256(SMALL)))
    assert desk.body(server.url, retries=1).path.read_bytes() == SMALL
    assert asked(server, "Range") == [None, None]


# Retries


@pytest.mark.parametrize("status", ["408 Request Timeout", "425 Too Early", "500 Oops", "504 Gateway Timeout"])
def test_what_may_pass_is_tried_again(desk: Desk, raw_server: StartRawServer, status: str) -> None:
    busy = answer(status=status)
    assert desk.body(raw_server(busy, b"", busy, answer(SMALL)).url, retries=3).path.read_bytes() == SMALL
    assert len(desk.waits) == 3


@pytest.mark.parametrize(
    "status", ["404 Not Found", "501 Not Implemented", "507 Insufficient Storage", "204 No Content"]
)
def test_what_cannot_pass_is_not_tried_again(desk: Desk, raw_server: StartRawServer, status: str) -> None:
    server = raw_server(bare(b"", status=status))
    assert isinstance(desk.refusal(server.url, retries=5), NotFound | BadStatus)
    assert len(server.received) == 1


def test_retry_after_is_obeyed_in_seconds_and_as_a_date(desk: Desk, raw_server: StartRawServer) -> None:
    date = format_datetime(datetime.fromtimestamp(desk.now, UTC) + timedelta(seconds=20), usegmt=True)
    busy = [answer(b"", f"Retry-After: {said}", status="503 Service Unavailable") for said in ("7", date, "nonsense")]
    desk.body(raw_server(*busy, answer(SMALL)).url, retries=3)
    assert 7 <= desk.waits[0] <= 7.5
    assert 20 <= desk.waits[1] <= 21
    assert 0 <= desk.waits[2] <= 2


def test_a_retry_after_beyond_patience_fails_at_once_as_temporary(desk: Desk, raw_server: StartRawServer) -> None:
    error = desk.refusal(raw_server(answer(b"", "Retry-After: 61", status="429 Too Many")).url, retries=5)
    assert (error.retryable, error.exit_code, error.retry_after) == (True, 75, 61)
    assert desk.waits == []


def test_a_deadline_ends_the_retries(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(b"", "Retry-After: 20", status="503 Service Unavailable"))
    error = desk.refusal(server.url, retries=100, total_timeout=50)
    assert isinstance(error, BadStatus)
    assert len(server.received) == 3
    assert sum(desk.waits) < 50


def test_a_deadline_ends_a_body_which_the_next_run_goes_on_with(desk: Desk, studio: Nginx) -> None:
    desk.drip = 1.0
    error = desk.refusal(f"{studio.url}/plain/t42", retries=5, total_timeout=5)
    assert isinstance(error, TimedOut)
    assert "total_timeout" in str(error)
    assert (desk.files(), desk.waits) == ([".json", ".part"], [])
    desk.drip = 0.0
    assert desk.body(f"{studio.url}/plain/t42").path.read_bytes() == BYTES
    assert studio.requests()[-1].status == 206


def test_a_body_that_drips_is_given_up(desk: Desk, studio: Nginx) -> None:
    desk.drip = 10_000.0
    error = desk.refusal(f"{studio.url}/plain/t42", total_timeout=10**9)
    assert isinstance(error, TimedOut)
    assert "too slowly" in str(error)


# Cancel


def test_a_cancel_ends_the_examination_and_the_bytes_stay(desk: Desk, raw_server: StartRawServer) -> None:
    desk.cancel_at = len(SMALL)
    with pytest.raises(Cancelled):
        desk.get(raw_server(answer(SMALL, 'ETag: "a"', sha256(SMALL))).url)
    assert desk.files() == [".json", ".part"]


def test_a_cancel_ends_the_wait_for_a_retry(desk: Desk, raw_server: StartRawServer) -> None:
    desk.when_waiting = desk.cancel.set
    server = raw_server(answer(status="503 Service Unavailable"))
    with pytest.raises(Cancelled):
        desk.get(server.url, retries=5)
    assert len(server.received) == 1
