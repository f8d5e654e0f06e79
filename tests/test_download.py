from __future__ import annotations

import json
import logging
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, TypedDict, Unpack

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachestore import partials
from cachestore.blobs import hash_file
from cachestore.download import Body, Downloader, NotModified, fields, open_client
from cachestore.errors import (
    BadResponse,
    BadStatus,
    Cancelled,
    ConfigError,
    NoSpace,
    NotFound,
    SourceError,
    TimedOut,
    TlsError,
    TooLarge,
    TrackError,
    Truncated,
    Unauthorized,
    Unreachable,
)
from cachestore.track import Origin, Track
from cachestore.version import Version, VersionKind
from tests.servers import TOKEN, Stall, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.conftest import StartNginx, StartRawServer
    from tests.servers import Nginx, RawServer

TRACK = Track("studio", "t42", title="Opus")
BYTES = random.Random(42).randbytes(1_000_000)
SECRET = "s3cret"
OPENED_BY = {"Authorization": f"Bearer {TOKEN}"}


def strong(value: str) -> Version:
    return Version(VersionKind.STRONG, value)


def weak(value: str) -> Version:
    return Version(VersionKind.WEAK, value)


def answer(body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return a raw HTTP answer that promises `length` bytes (the body's by default) and closes the connection."""
    promised = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {promised}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def bare(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a raw HTTP answer without a length of its own."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers]).encode("latin-1") + b"\r\n\r\n" + body


def rest(body: bytes, start: int, *headers: str, total: int | None = None) -> bytes:
    """Return a 206 with the bytes of `body` from `start` on."""
    total = len(body) if total is None else total
    span = f"Content-Range: bytes {start}-{len(body) - 1}/{total}"
    return answer(body[start:], span, *headers, status="206 Partial Content")


def asked(server: RawServer, name: str) -> list[str | None]:
    """Return what each request said in the field `name`, None where it did not."""
    heads = [head.decode("latin-1").split("\r\n")[1:] for head in server.received]
    rows = [{key.lower(): value for key, _, value in (line.partition(": ") for line in head)} for head in heads]
    return [row.get(name.lower()) for row in rows]


class Options(TypedDict, total=False):
    """What a test may set of a download."""

    headers: Mapping[str, str]
    version: Version
    max_size: int
    retries: int


@dataclass
class Desk:
    """A downloader with everything it needs, and what it was seen doing."""

    client: httpx.Client
    folder: Path
    waits: list[float] = field(default_factory=list)
    progress: list[tuple[int, int | None]] = field(default_factory=list)
    cancel: threading.Event = field(default_factory=threading.Event)
    now: float = 1_700_000_000.0
    cancel_at: int | None = None

    def downloader(self, *, max_size: int = 10**9, retries: int = 0) -> Downloader:
        limits = {"max_size": max_size, "retries": retries}
        return Downloader(self.client, self.folder, **limits, now=lambda: self.now, wait=self._wait)

    def get(self, url: str, known: Sequence[Version] = (), **options: Unpack[Options]) -> Body | NotModified:
        origin = Origin(url, options.get("headers", {}), options.get("version"))
        downloader = self.downloader(max_size=options.get("max_size", 10**9), retries=options.get("retries", 0))
        return downloader.get(TRACK, origin, known, on_progress=self._note, cancel=self.cancel)

    def body(self, url: str, known: Sequence[Version] = (), **options: Unpack[Options]) -> Body:
        body = self.get(url, known, **options)
        assert isinstance(body, Body)
        assert body.path.parent == self.folder
        assert body.size == body.path.stat().st_size
        assert body.digest == hash_file(body.path)
        assert [path for path in self.folder.iterdir() if path.stem == body.path.stem] == [body.path]
        return body

    def files(self) -> list[str]:
        return sorted(path.suffix for path in self.folder.iterdir())

    def _wait(self, cancel: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        return cancel.is_set()

    def _note(self, received: int, total: int | None) -> None:
        self.progress.append((received, total))
        if self.cancel_at is not None and received >= self.cancel_at:
            self.cancel.set()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    folder = tmp_path / "partials"
    folder.mkdir()
    with open_client(connect_timeout=5, stall_timeout=5, jobs=4) as client:
        yield Desk(client, folder)


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


def refusal(desk: Desk, url: str, known: Sequence[Version] = (), **options: Unpack[Options]) -> TrackError:
    """Return the failure of a download, which never tells what the URL hides."""
    hidden = url.replace("://", f"://dj:{SECRET}@", 1) + f"?token={SECRET}"
    with pytest.raises(TrackError) as caught:
        desk.get(hidden, known, **options)
    assert SECRET not in f"{caught.value} {caught.value!r}"
    assert str(caught.value).startswith("Opus: ")
    return caught.value


# Whole bodies


def test_a_track_arrives_whole_with_its_digest_version_and_type(desk: Desk, studio: Nginx) -> None:
    body = desk.body(f"{studio.url}/plain/t42")
    assert body.path.read_bytes() == BYTES
    assert body.version is not None
    assert body.version.kind is VersionKind.STRONG


def test_progress_starts_at_nothing_and_ends_at_the_total(desk: Desk, studio: Nginx) -> None:
    desk.body(f"{studio.url}/plain/t42")
    assert desk.progress[0] == (0, len(BYTES))
    assert desk.progress[-1] == (len(BYTES), len(BYTES))
    assert desk.progress == sorted(desk.progress)


def test_the_headers_of_the_origin_open_its_door(desk: Desk, studio: Nginx) -> None:
    assert desk.body(f"{studio.url}/auth/t42", headers=OPENED_BY).size == len(BYTES)


def test_a_chunked_body_without_length_is_whole_when_its_last_chunk_came(
    desk: Desk, raw_server: StartRawServer
) -> None:
    server = raw_server(bare(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "Transfer-Encoding: chunked", "Connection: close"))
    assert desk.body(server.url).path.read_bytes() == b"abcde"
    assert desk.progress[-1] == (5, None)


@pytest.mark.parametrize(
    "cut",
    [
        answer(BYTES[:5000], length=9000),
        bare(b"5\r\nabcde\r\n5\r\nfg", "Transfer-Encoding: chunked"),
        bare(b"5\r\nabcde\r\n", "Transfer-Encoding: chunked"),
        bare(b"no chunk", "Transfer-Encoding: chunked"),
    ],
)
def test_a_body_that_was_cut_is_never_taken_for_whole(desk: Desk, raw_server: StartRawServer, cut: bytes) -> None:
    assert isinstance(refusal(desk, raw_server(cut).url), Truncated)
    assert desk.files() == []


@pytest.mark.parametrize("empty", [answer(), bare(b"0\r\n\r\n", "Transfer-Encoding: chunked"), bare(b"")])
def test_an_empty_body_is_no_audio(desk: Desk, raw_server: StartRawServer, empty: bytes) -> None:
    assert "an empty body" in str(refusal(desk, raw_server(empty).url))
    assert desk.files() == []


def test_identity_is_asked_for_even_if_a_source_says_otherwise(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(b"x"))
    desk.body(server.url, headers={"accept-encoding": "gzip"})
    assert asked(server, "Accept-Encoding") == ["identity"]
    assert str(asked(server, "User-Agent")[0]).startswith("cachestore/")


def test_a_compressed_body_is_refused(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(b"\x1f\x8b", "Content-Encoding: gzip"))
    assert isinstance(refusal(desk, server.url), BadResponse)


@pytest.mark.parametrize(
    "large",
    [answer(BYTES[:2000]), bare(b"7d0\r\n" + BYTES[:2000] + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked")],
)
def test_a_body_that_is_too_large_stops_at_the_limit(desk: Desk, raw_server: StartRawServer, large: bytes) -> None:
    error = refusal(desk, raw_server(large).url, max_size=1000)
    assert isinstance(error, TooLarge)
    assert "1.0 kB" in str(error)
    assert desk.files() == []


def test_a_full_disk_is_told_and_given_its_bytes_back(
    desk: Desk, studio: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Name:
        hex = "full"

    monkeypatch.setattr(partials, "uuid4", Name)
    path = partials.claim(desk.folder, TRACK.address).path
    path.symlink_to("/dev/full")
    with pytest.raises(NoSpace):
        desk.get(f"{studio.url}/plain/t42")
    assert desk.files() == []


# Versions and conditions


def test_a_known_version_is_confirmed_by_one_conditional_request(desk: Desk, studio: Nginx) -> None:
    version = desk.body(f"{studio.url}/plain/t42").version
    assert version is not None
    assert desk.get(f"{studio.url}/plain/t42", [version]) == NotModified(version)
    assert [(row.method, row.status) for row in studio.requests()] == [("GET", 200), ("GET", 304)]


def test_a_changed_track_arrives_as_another_version(desk: Desk, studio: Nginx, served: Path) -> None:
    old = desk.body(f"{studio.url}/plain/t42").version
    replace(served / "t42", b"remastered")
    assert old is not None
    body = desk.body(f"{studio.url}/plain/t42", [old])
    assert body.path.read_bytes() == b"remastered"
    assert body.version not in {None, old}


def test_a_rollback_on_the_server_costs_no_download_and_is_named(desk: Desk, studio: Nginx) -> None:
    old = desk.body(f"{studio.url}/plain/t42").version
    assert old is not None
    assert desk.get(f"{studio.url}/plain/t42", [strong('"newer"'), weak('W/"w"'), old]) == NotModified(old)


def test_all_known_etags_are_sent_verbatim(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(b"x"))
    known = [
        strong('"a"'),
        weak('W/"b"'),
        strong("unquoted-2"),
        Version(VersionKind.MODIFIED, "then 5"),
        strong('"\xe9"'),
    ]
    desk.body(server.url, known)
    assert asked(server, "If-None-Match") == ['"a", W/"b", unquoted-2, "\xe9"']
    assert asked(server, "If-Modified-Since") == [None]


def test_a_date_is_asked_for_when_it_is_all_that_is_known(desk: Desk, studio: Nginx) -> None:
    version = desk.body(f"{studio.url}/modified/t42").version
    assert version is not None
    assert version.kind is VersionKind.MODIFIED
    assert version.value.endswith(f" GMT {len(BYTES)}")
    assert desk.get(f"{studio.url}/modified/t42", [version]) == NotModified(version)


def test_a_server_without_validators_has_no_version(desk: Desk, studio: Nginx) -> None:
    assert desk.body(f"{studio.url}/noetag/t42").version is None


def test_the_word_of_the_provider_beats_the_etag(desk: Desk, studio: Nginx) -> None:
    version = Version(VersionKind.PROVIDER, "rev-7")
    assert desk.body(f"{studio.url}/plain/t42", version=version).version == version


def test_not_modified_is_not_believed_unless_it_was_asked(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(bare(b"", "Connection: close", status="304 Not Modified"))
    assert isinstance(refusal(desk, server.url), BadResponse)


@pytest.mark.parametrize("named", [[], ['ETag: "other"']])
def test_a_304_that_could_mean_any_version_is_asked_again_without_conditions(
    desk: Desk, raw_server: StartRawServer, named: list[str]
) -> None:
    server = raw_server(bare(b"", "Connection: close", *named, status="304 Not Modified"), answer(b"x"))
    desk.body(server.url, [strong('"a"'), strong('"b"')])
    assert asked(server, "If-None-Match") == ['"a", "b"', None]


# Failures and their names


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (401, Unauthorized, False),
        (403, Unauthorized, False),
        (404, NotFound, False),
        (410, NotFound, False),
        (416, BadStatus, False),
        (429, BadStatus, True),
        (500, BadStatus, True),
        (503, BadStatus, True),
    ],
)
def test_a_status_becomes_a_failure_of_its_kind(
    desk: Desk, studio: Nginx, status: int, kind: type[TrackError], retryable: bool
) -> None:
    error = refusal(desk, f"{studio.url}/status/{status}/t42")
    assert type(error) is kind
    assert error.retryable is retryable
    assert str(status) in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("204 No Content", BadStatus),
        ("206 Partial Content", BadResponse),
        ("302 Found", BadStatus),
        ("299 Odd", BadStatus),
    ],
)
def test_a_success_that_brings_no_whole_body_is_none(
    desk: Desk, raw_server: StartRawServer, status: str, kind: type[TrackError]
) -> None:
    assert type(refusal(desk, raw_server(answer(status=status)).url)) is kind


def test_a_refused_connection_names_the_place(desk: Desk, closed_port: int) -> None:
    error = refusal(desk, f"http://127.0.0.1:{closed_port}/t42")
    assert isinstance(error, Unreachable)
    assert str(error) == f"Opus: no connection to 127.0.0.1:{closed_port}: connection refused"


def test_a_name_that_does_not_resolve_is_told(desk: Desk) -> None:
    error = refusal(desk, "http://music.invalid/t42")
    assert isinstance(error, Unreachable)
    assert str(error) == "Opus: the name music.invalid does not resolve"


def test_a_certificate_that_nobody_trusts_is_not_retried(desk: Desk, nginx: StartNginx, served: Path) -> None:
    error = refusal(desk, f"{nginx(served, tls=True).url}/plain/t42", retries=3)
    assert isinstance(error, TlsError)
    assert "self-signed certificate" in str(error)
    assert desk.waits == []


def test_a_server_that_speaks_no_tls_is_told(desk: Desk, studio: Nginx) -> None:
    assert isinstance(refusal(desk, studio.url.replace("http", "https")), TlsError)


@pytest.mark.parametrize("answered", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"])
def test_an_answer_that_is_no_http_is_a_bad_response(desk: Desk, raw_server: StartRawServer, answered: bytes) -> None:
    assert isinstance(refusal(desk, raw_server(answered).url), BadResponse)


def test_a_connection_closed_without_an_answer_is_retried(desk: Desk, raw_server: StartRawServer) -> None:
    assert isinstance(refusal(desk, raw_server(b"").url), Unreachable)
    assert desk.body(raw_server(b"", answer(b"x")).url, retries=1).size == 1


@pytest.mark.parametrize("stall", [Stall(), Stall(answer(b"half", length=8))])
def test_a_server_that_stalls_times_out(tmp_path: Path, raw_server: StartRawServer, stall: Stall) -> None:
    with open_client(connect_timeout=0.2, stall_timeout=0.2, jobs=1) as client:
        assert isinstance(refusal(Desk(client, tmp_path), raw_server(stall).url), TimedOut)


@pytest.mark.parametrize("url", ["http://a..b/", "http://xn--/", "ftp://127.0.0.1/a", "no url", "http://[::1/"])
def test_a_url_that_cannot_be_asked_is_the_fault_of_the_source(desk: Desk, url: str) -> None:
    with pytest.raises(SourceError, match="check the source"):
        desk.get(url)


@pytest.mark.parametrize("value", ["Bearer tok\r\nX: y", "Bearer \u20ac"])
def test_headers_that_cannot_be_sent_are_the_fault_of_the_source_and_not_shown(
    desk: Desk, studio: Nginx, value: str
) -> None:
    error = refusal(desk, f"{studio.url}/plain/t42", headers={"Authorization": value})
    assert isinstance(error, SourceError)
    assert "Bearer" not in str(error)


# Redirects


def test_a_redirect_is_followed(desk: Desk, studio: Nginx) -> None:
    assert desk.body(f"{studio.url}/redir/t42").path.read_bytes() == BYTES


def test_a_redirect_within_the_origin_keeps_the_headers(desk: Desk, nginx: StartNginx, served: Path) -> None:
    guard = f'if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }} alias {served}/;'
    server = nginx(served, body=f"location /api/ {{ return 307 ../auth/t42; }} location /auth/ {{ {guard} }}")
    assert desk.body(f"{server.url}/api/t42", headers=OPENED_BY).size == len(BYTES)


def test_another_origin_gets_only_headers_that_are_for_anyone(desk: Desk, raw_server: StartRawServer) -> None:
    cdn = raw_server(answer(b"x"))
    api = raw_server(answer(b"", f"Location: {cdn.url}/x", status="302 Found"))
    keys = {"Authorization": "Bearer t", "X-Api-Key": "k", "Cookie": "c=1", "Accept": "audio/*"}
    desk.body(api.url, [strong('"a"')], headers=keys)
    assert [asked(api, name)[0] for name in keys] == list(keys.values())
    assert [asked(cdn, name)[0] for name in keys] == [None, None, None, "audio/*"]
    assert asked(cdn, "If-None-Match") == ['"a"']


def test_headers_that_were_taken_away_do_not_come_back(desk: Desk, raw_server: StartRawServer) -> None:
    api = raw_server()
    cdn = raw_server(answer(b"", f"Location: {api.url}/back", status="302 Found"))
    api._answers += [answer(b"", f"Location: {cdn.url}/x", status="302 Found"), answer(b"x")]
    desk.body(api.url, headers=OPENED_BY)
    assert asked(api, "Authorization") == [OPENED_BY["Authorization"], None]


def test_userinfo_of_a_url_becomes_basic_authorization_for_its_origin_only(
    desk: Desk, raw_server: StartRawServer
) -> None:
    cdn = raw_server(answer(b"x"))
    api = raw_server(answer(b"", f"Location: {cdn.url}/x", status="302 Found"))
    desk.body(api.url.replace("://", "://dj:p%40ss@"))
    assert asked(api, "Authorization") == ["Basic ZGo6cEBzcw=="]
    assert asked(cdn, "Authorization") == [None]


def test_a_cookie_of_one_answer_goes_nowhere(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(b"", "Set-Cookie: session=1; Path=/", "Location: /x", status="302 Found"), answer(b"x"))
    desk.body(server.url)
    assert asked(server, "Cookie") == [None, None]


@pytest.mark.parametrize(
    "location", ["/again", "ftp://music.example/a", "mailto:dj@music.example", "http://h:port/", "http:///a"]
)
def test_redirects_that_lead_nowhere_are_refused(desk: Desk, raw_server: StartRawServer, location: str) -> None:
    server = raw_server(answer(b"", f"Location: {location}", status="301 Moved Permanently"))
    assert isinstance(refusal(desk, server.url), BadResponse)
    assert len(server.received) <= 6


def test_https_never_falls_to_http(
    tmp_path: Path, nginx: StartNginx, studio: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = nginx(tmp_path, body=f"location / {{ return 302 {studio.url}/plain/t42; }}", tls=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(server._scratch / "tls.crt"))
    with open_client(connect_timeout=5, stall_timeout=5, jobs=1) as client:
        error = refusal(Desk(client, tmp_path), server.url)
    assert isinstance(error, BadResponse)
    assert "from https to http" in str(error)
    assert studio.requests() == []


# Retries


def test_what_may_pass_is_tried_again_after_waits_that_grow(desk: Desk, raw_server: StartRawServer) -> None:
    busy = answer(status="500 Internal Server Error")
    server = raw_server(busy, b"", busy, answer(b"x"))
    desk.body(server.url, retries=3)
    assert len(desk.waits) == 3
    assert all(0 <= waited <= 0.5 * 2**tried for tried, waited in enumerate(desk.waits))


def test_retries_end(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(status="502 Bad Gateway"))
    assert isinstance(refusal(desk, server.url, retries=2), BadStatus)
    assert len(server.received) == 3


def test_what_cannot_pass_is_not_tried_again(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(status="404 Not Found"))
    assert isinstance(refusal(desk, server.url, retries=5), NotFound)
    assert len(server.received) == 1


def test_retry_after_is_obeyed_in_seconds_and_as_a_date(desk: Desk, raw_server: StartRawServer) -> None:
    date = format_datetime(datetime.fromtimestamp(desk.now, UTC) + timedelta(seconds=20), usegmt=True)
    busy = [answer(b"", f"Retry-After: {said}", status="503 Service Unavailable") for said in ("7", date, "nonsense")]
    desk.body(raw_server(*busy, answer(b"x")).url, retries=3)
    assert 7 <= desk.waits[0] <= 7.5
    assert 20 <= desk.waits[1] <= 21
    assert 0 <= desk.waits[2] <= 2


def test_a_retry_after_beyond_patience_fails_at_once_as_temporary(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(b"", "Retry-After: 7200", status="429 Too Many Requests"))
    error = refusal(desk, server.url, retries=5)
    assert error.retryable
    assert "wants to be asked again in 2 h" in str(error)
    assert desk.waits == []


def test_new_bytes_renew_the_retries(desk: Desk, raw_server: StartRawServer) -> None:
    cuts = [answer(BYTES[:1000], 'ETag: "a"', length=6000)]
    cuts += [rest(BYTES[:6000], n, 'ETag: "a"')[: -(5000 - n)] for n in range(1000, 5000, 1000)]
    body = desk.body(raw_server(*cuts, rest(BYTES[:6000], 5000, 'ETag: "a"')).url, retries=1)
    assert body.path.read_bytes() == BYTES[:6000]
    assert max(desk.waits) <= 0.5


# Resume


def test_a_cut_download_goes_on_where_it_ended(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(BYTES[:5000], 'ETag: "a"', length=9000), rest(BYTES[:9000], 5000, 'ETag: "a"'))
    body = desk.body(server.url, [strong('"old"')], retries=1)
    assert body.path.read_bytes() == BYTES[:9000]
    assert body.version == strong('"a"')
    assert asked(server, "Range") == [None, "bytes=5000-"]
    assert asked(server, "If-Range") == [None, '"a"']
    assert asked(server, "If-None-Match") == ['"old"', '"old"']
    assert [received for received, _ in desk.progress] == sorted(received for received, _ in desk.progress)


def test_a_cancelled_download_goes_on_in_the_next_run(desk: Desk, studio: Nginx) -> None:
    desk.cancel_at = 100_000
    with pytest.raises(Cancelled):
        desk.get(f"{studio.url}/plain/t42")
    assert desk.files() == [".json", ".part"]
    later = Desk(desk.client, desk.folder)
    assert later.body(f"{studio.url}/plain/t42").path.read_bytes() == BYTES
    start = later.progress[0][0]
    assert start >= 100_000
    assert studio.requests()[-1].range == f"bytes={start}-"
    assert studio.requests()[-1].status == 206


def test_a_track_that_changed_in_between_starts_anew(desk: Desk, studio: Nginx, served: Path) -> None:
    desk.cancel_at = 100_000
    with pytest.raises(Cancelled):
        desk.get(f"{studio.url}/plain/t42")
    replace(served / "t42", BYTES[::-1])
    assert Desk(desk.client, desk.folder).body(f"{studio.url}/plain/t42").path.read_bytes() == BYTES[::-1]


def test_a_refused_token_does_not_cost_the_partial(desk: Desk, studio: Nginx) -> None:
    desk.cancel_at = 100_000
    with pytest.raises(Cancelled):
        desk.get(f"{studio.url}/auth/t42", headers=OPENED_BY)
    later = Desk(desk.client, desk.folder)
    with pytest.raises(Unauthorized):
        later.get(f"{studio.url}/auth/t42")
    later.body(f"{studio.url}/auth/t42", headers=OPENED_BY)
    assert later.progress[0][0] >= 100_000


@pytest.mark.parametrize(
    "lie",
    [
        rest(BYTES[:9000], 4999, 'ETag: "a"'),
        rest(BYTES[:9000], 5001, 'ETag: "a"'),
        rest(BYTES[:9000], 5000, 'ETag: "a"', total=9001),
        rest(BYTES[:9000], 5000, 'ETag: "b"'),
        rest(BYTES[:9000], 5000, 'ETag: W/"a"'),
        rest(BYTES[:9000], 5000),
        rest(BYTES[:9000], 5000, 'ETag: "a"', "Content-Encoding: gzip"),
        rest(BYTES[:9000], 5000, 'ETag: "a"').replace(b"Content-Length: 4000", b"Content-Length: 3999"),
        answer(BYTES[5000:9000], 'ETag: "a"', status="206 Partial Content"),
        answer(BYTES[5000:9000], 'ETag: "a"', "Content-Range: bytes */9000", status="206 Partial Content"),
        answer(b"", "Content-Range: bytes */9000", status="416 Range Not Satisfiable"),
    ],
)
def test_a_rest_that_does_not_fit_is_dropped_and_the_whole_asked_for(
    desk: Desk, raw_server: StartRawServer, lie: bytes
) -> None:
    server = raw_server(answer(BYTES[:5000], 'ETag: "a"', length=9000), lie, answer(BYTES[:9000], 'ETag: "b"'))
    body = desk.body(server.url, retries=1)
    assert body.path.read_bytes() == BYTES[:9000]
    assert body.version == strong('"b"')
    assert asked(server, "Range") == [None, "bytes=5000-", None]


def test_a_rest_that_is_longer_than_announced_is_refused(desk: Desk, raw_server: StartRawServer) -> None:
    chunked = bare(
        b"fa1\r\n" + BYTES[:4001] + b"\r\n0\r\n\r\n",
        'ETag: "a"',
        "Content-Range: bytes 5000-8999/9000",
        "Transfer-Encoding: chunked",
        status="206 Partial Content",
    )
    server = raw_server(answer(BYTES[:5000], 'ETag: "a"', length=9000), chunked)
    assert isinstance(refusal(desk, server.url, retries=1), BadResponse)
    assert desk.files() == []


@pytest.mark.parametrize("validator", [[], ['ETag: W/"a"'], ["Last-Modified: Sun, 22 Nov 2026 10:00:00 GMT"]])
def test_without_a_strong_validator_nothing_is_resumed_or_kept(
    desk: Desk, raw_server: StartRawServer, validator: list[str]
) -> None:
    server = raw_server(answer(BYTES[:5000], *validator, length=9000))
    assert isinstance(refusal(desk, server.url, retries=1), Truncated)
    assert asked(server, "Range") == [None, None]
    assert desk.files() == []


def test_an_equal_version_of_the_provider_resumes_without_an_etag(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(BYTES[:5000], length=9000), rest(BYTES[:9000], 5000))
    body = desk.body(server.url, version=Version(VersionKind.PROVIDER, "rev-7"), retries=1)
    assert body.path.read_bytes() == BYTES[:9000]
    assert asked(server, "Range") == [None, "bytes=5000-"]
    assert asked(server, "If-Range") == [None, None]


def test_another_version_of_the_provider_starts_anew(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(answer(BYTES[:5000], 'ETag: "a"', length=9000), answer(BYTES[:9000], 'ETag: "a"'))
    refusal(desk, server.url, version=Version(VersionKind.PROVIDER, "rev-7"))
    desk.body(server.url, version=Version(VersionKind.PROVIDER, "rev-8"))
    assert asked(server, "Range") == [None, None]


def test_a_sidecar_tells_nothing_but_validator_and_total(desk: Desk, raw_server: StartRawServer) -> None:
    refusal(desk, raw_server(answer(BYTES[:5000], 'ETag: "a"', length=9000)).url, headers=OPENED_BY)
    [sidecar] = desk.folder.glob("*.json")
    assert json.loads(sidecar.read_text()) == {"kind": "etag", "value": '"a"', "total": 9000}


# Cancel


@pytest.mark.parametrize(
    ("stall", "chunks", "kept"),
    [
        (Stall(), 0, []),
        (Stall(b"HTTP/1.1 200 OK\r\nX: "), 0, []),
        (Stall(bare(b"half")), 2, []),
        (Stall(answer(b"half", 'ETag: "a"', length=8)), 2, [".json", ".part"]),
    ],
)
def test_abort_ends_a_request_at_once_wherever_the_server_stalls(
    desk: Desk, raw_server: StartRawServer, stall: Stall, chunks: int, kept: list[str]
) -> None:
    server = raw_server(stall)
    assert aborted_after(desk, server.url, lambda: bool(server.received) and len(desk.progress) >= chunks) < 3
    assert desk.files() == kept


def test_abort_ends_a_tls_handshake(tmp_path: Path, raw_server: StartRawServer) -> None:
    server = raw_server(Stall())
    with open_client(connect_timeout=2, stall_timeout=5, jobs=1) as client:
        url = server.url.replace("http", "https")
        assert aborted_after(Desk(client, tmp_path), url, lambda: len(server._threads) > 1) < 1.5


def test_abort_ends_a_connection_that_is_not_made(desk: Desk) -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for one in (first, second):  # the queue is full: the next SYN stays without an answer
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        assert aborted_after(desk, f"http://127.0.0.1:{listener.getsockname()[1]}", lambda: True) < 3


def test_abort_ends_a_tls_body_and_keeps_only_what_was_decrypted(
    tmp_path: Path, nginx: StartNginx, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = nginx(served, tls=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(server._scratch / "tls.crt"))
    with open_client(connect_timeout=5, stall_timeout=5, jobs=1) as client:
        desk = Desk(client, tmp_path)
        assert aborted_after(desk, f"{server.url}/slow/t42", lambda: len(desk.progress) > 1) < 3
        [kept] = tmp_path.glob("*.part")
        assert BYTES.startswith(kept.read_bytes())


def aborted_after(desk: Desk, url: str, reached: Callable[[], bool]) -> float:
    """Abort a download once it has come far enough; return how many seconds it took to end, as Cancelled."""
    downloader = desk.downloader(retries=3)
    origin = Origin(url)
    with ThreadPoolExecutor() as pool:
        future = pool.submit(downloader.get, TRACK, origin, (), on_progress=desk._note, cancel=desk.cancel)
        deadline = time.monotonic() + 5
        while not reached() and time.monotonic() < deadline:
            pass
        started = time.monotonic()
        desk.cancel.set()
        downloader.abort()
        with pytest.raises(Cancelled):
            future.result(5)
        return time.monotonic() - started


def test_a_body_that_is_whole_when_the_cancel_comes_is_kept(desk: Desk, studio: Nginx) -> None:
    desk.cancel_at = len(BYTES)
    assert desk.body(f"{studio.url}/plain/t42").path.read_bytes() == BYTES


def test_nothing_is_asked_after_an_abort(desk: Desk, studio: Nginx) -> None:
    downloader = desk.downloader()
    downloader.abort()
    with pytest.raises(Cancelled):
        downloader.get(TRACK, Origin(f"{studio.url}/plain/t42"), (), on_progress=desk._note, cancel=desk.cancel)
    assert studio.requests() == []


def test_a_cancel_ends_the_wait_for_a_retry(desk: Desk, raw_server: StartRawServer) -> None:
    desk.cancel.set()
    server = raw_server(answer(status="503 Service Unavailable"))
    with pytest.raises(Cancelled):
        desk.get(server.url, retries=5)
    assert len(server.received) == 1


def test_several_threads_share_one_downloader(desk: Desk, studio: Nginx) -> None:
    downloader = desk.downloader()

    def get(number: int) -> bytes:
        track = Track("studio", str(number))
        origin = Origin(f"{studio.url}/plain/t42")
        body = downloader.get(track, origin, (), on_progress=lambda *_: None, cancel=desk.cancel)
        assert isinstance(body, Body)
        return body.path.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(get, range(24))) == {BYTES}


def test_a_connection_is_used_again_after_a_body_a_304_and_a_redirect(desk: Desk, studio: Nginx) -> None:
    version = desk.body(f"{studio.url}/redir/t42").version
    assert version is not None
    desk.get(f"{studio.url}/plain/t42", [version])
    desk.body(f"{studio.url}/plain/t42")
    assert len(desk.client._transport._pool.connections) == 1  # type: ignore[attr-defined]


# The client


def test_no_url_reaches_a_log(desk: Desk, studio: Nginx, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    desk.body(f"{studio.url}/plain/t42?token={SECRET}", headers=OPENED_BY)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", f"gopher://dj:{SECRET}@proxy"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("ALL_PROXY", f"socks5://dj:{SECRET}@127.0.0.1:9"),
    ],
)
def test_an_environment_that_cannot_be_used_is_a_mistake_to_correct(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        open_client(connect_timeout=1, stall_timeout=1, jobs=1)
    assert name in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_proxy_of_the_environment_is_used(
    tmp_path: Path, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = raw_server(answer(b"x"))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    with open_client(connect_timeout=5, stall_timeout=5, jobs=1) as client:
        Desk(client, tmp_path).body("http://music.invalid/t42")
    assert proxy.received[0].startswith(b"GET http://music.invalid/t42 ")


# Header fields


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"ETag": '"a"'}, strong('"a"')),
        ({"ETag": "a"}, strong("a")),
        ({"ETag": '"a-gzip"'}, strong('"a-gzip"')),
        ({"ETag": '"d41d8cd98f00b204e9800998ecf8427e-2"'}, strong('"d41d8cd98f00b204e9800998ecf8427e-2"')),
        ({"ETag": 'W/"a"'}, weak('W/"a"')),
        ({"ETag": 'w/"a"'}, weak('w/"a"')),
        ({"ETag": '""'}, None),
        ({"ETag": "", "Last-Modified": "then", "Content-Length": "5"}, Version(VersionKind.MODIFIED, "then 5")),
        ({"Last-Modified": "then"}, None),
        ({"Last-Modified": "then", "Content-Length": "5", "Transfer-Encoding": "chunked"}, None),
        ({"Content-Length": "5"}, None),
    ],
)
def test_the_strongest_word_of_the_headers_is_the_version(headers: dict[str, str], version: Version | None) -> None:
    assert fields.version_of(httpx.Headers(headers)) == version


@settings(deadline=None)
@given(start=st.integers(0, 10**12), length=st.integers(1, 10**12), more=st.integers(0, 10**12))
def test_a_content_range_is_read_back(start: int, length: int, more: int) -> None:
    end, total = start + length - 1, start + length + more
    assert fields.content_range(f"bytes {start}-{end}/{total}") == (start, end, total)
    assert fields.content_range(f"bytes {end + 1}-{start}/{total}") is None
    assert fields.content_range(f"bytes {start}-{total}/{total}") is None


@settings(deadline=None)
@given(text=st.text(max_size=40), now=st.floats(0, 4e9))
def test_fields_that_say_nothing_harm_nobody(text: str, now: float) -> None:
    fields.content_range(text)
    fields.content_length({"content-length": text})
    assert (fields.retry_after(text, now) or 0) >= 0


@settings(deadline=None)
@given(now=st.integers(0, 4 * 10**9), ahead=st.integers(-1000, 10**6))
def test_a_date_to_retry_after_is_seen_from_now(now: int, ahead: int) -> None:
    date = format_datetime(datetime.fromtimestamp(now + ahead, UTC), usegmt=True)
    assert fields.retry_after(date, now) == max(0, ahead)


@settings(deadline=None)
@given(values=st.lists(st.text(alphabet="abW/", min_size=1, max_size=4), min_size=1, max_size=4, unique=True))
def test_a_304_confirms_a_version_only_if_it_names_one_of_those_asked_for(values: list[str]) -> None:
    known = [strong(f'"{value}"') for value in values]
    for version in known:
        assert fields.confirmed(known, {"etag": version.value}) == version
        assert fields.confirmed(known, {"etag": f"W/{version.value}"}) == version
    assert fields.confirmed(known, {"etag": '"c"'}) is None
    assert (fields.confirmed(known, {}) is None) == (len(known) > 1)
