from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cachestore.config import Config, SourceConfig
from cachestore.errors import BadResponse, BadStatus, Forbidden, NotFound, SourceError, TrackError, Unauthorized
from cachestore.sources.pointer import Pointer
from cachestore.sources.registry import Sources
from cachestore.sources.stream import StreamPlace
from cachestore.track import Origin, Track
from cachestore.version import Version, VersionKind
from cachestore.web import open_web
from tests.servers import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cachestore.sources.account import Account
    from cachestore.web import Web
    from tests.conftest import StartNginx
    from tests.servers import Nginx

SECRET = "s3cret-4f1d"
TRACK = Track("studio", "t1", title="Opus")
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ASKED = "https://music.example/api/tracks/t1?sort=asc"
STREAM = Pointer("sources.studio.stream_pointer", "/stream/url")
HASH = Pointer("sources.studio.version_pointer", "/stream/hash")
EXPIRED = (400, 401, 403, 410)


def origin(url: object, asked: str = ASKED) -> Origin:
    """Return the origin that a document with this `url` names."""
    return StreamPlace(STREAM, None).origin(TRACK, asked, BEARER, {"stream": {"url": url}})


def version(**stream: object) -> Version | None:
    """Return the version that a document names whose stream has these members."""
    return StreamPlace(STREAM, HASH).origin(TRACK, ASKED, {}, {"stream": {"url": "/a", **stream}}).version


@pytest.mark.parametrize(
    ("named", "url"),
    [
        ("/streams/1.flac?q=raw", "https://music.example/streams/1.flac?q=raw"),
        ("stream", "https://music.example/api/tracks/stream"),
        ("?format=raw", "https://music.example/api/tracks/t1?format=raw"),
        ("https://music.example:443/a b/é", "https://music.example:443/a b/é"),
        ("HTTPS://MUSIC.example/a", "https://MUSIC.example/a"),
    ],
)
def test_a_stream_on_the_server_of_its_document_gets_the_headers_of_the_source(named: str, url: str) -> None:
    assert origin(named) == Origin(url, BEARER)


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example/a?X-Amz-Signature=1",
        "https://music.example:8443/a",
        "https://music.example.evil.example/a",
        "https://music.example@evil.example/a",
        "https://evil.example/https://music.example/a",
    ],
)
def test_a_stream_on_another_server_gets_no_header(url: str) -> None:
    assert origin(url) == Origin(url)


def test_what_begins_with_two_slashes_is_on_another_server() -> None:
    assert origin("//cdn.example/a") == Origin("https://cdn.example/a")


def test_a_server_has_one_name_in_either_spelling() -> None:
    found = origin("https://xn--msic-0ra.example/a", "https://müsic.example/api/tracks/t1")
    assert found == Origin("https://xn--msic-0ra.example/a", BEARER)


def test_a_stream_may_be_safer_than_its_document_and_then_has_no_header_either() -> None:
    assert origin("https://music.example/a", "http://music.example/t1") == Origin("https://music.example/a")


def test_userinfo_of_the_document_goes_to_its_own_server_only() -> None:
    asked = f"https://dj:{SECRET}@music.example/api/t1"
    assert origin("https://music.example/a", asked).url == f"https://dj:{SECRET}@music.example/a"
    assert origin("/a", asked).url == f"https://dj:{SECRET}@music.example/a"
    assert origin("https://own@music.example/a", asked).url == "https://own@music.example/a"
    assert origin("//cdn.example/a", asked).url == "https://cdn.example/a"


@settings(deadline=None)
@given(
    st.text(alphabet="https:/\\@.#?%;[]&=1aé\t\n \0\u017f\u3002", max_size=16)
    .map(lambda text: f"{text}music.example{text}")
    .flatmap(lambda text: st.sampled_from([text, f"//{text}", f"https://{text}", f"https:{text}"]))
)
@example("https://evil.example\\@music.example/")
@example("https:\\\\evil.example")
def test_headers_go_to_no_other_server_whatever_the_url_looks_like_to_another_parser(named: str) -> None:
    try:
        found = origin(named)
        url = httpx.URL(found.url)
    except (SourceError, httpx.InvalidURL):
        return
    if found.headers:
        assert (url.scheme, url.host, url.port) == ("https", "music.example", None)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (None, "null"),
        (True, "true"),
        (7, "a number"),
        ({"href": SECRET}, "an object"),
        ([SECRET], "a list"),
        ("", "an empty text"),
        (f"ftp://music.example/{SECRET}", "another text"),
        (f"spotify:track:{SECRET}", "another text"),
        (f"https://{SECRET}:port/", "another text"),
        ("https://[", "another text"),
        ("/a\nb", "another text"),
        ("\ud800", "another text"),
        (f"https://music.example/{SECRET}{'/' * 65_536}", "another text"),
        ("https://evil.example\\@music.example/a", "another text"),
    ],
)
def test_what_is_no_url_of_a_stream_is_named_by_its_kind_and_never_shown(url: object, found: str) -> None:
    with pytest.raises(SourceError) as caught:
        origin(url)
    assert str(caught.value) == (
        f"Opus: sources.studio.stream_pointer: the document of this track has {found} at /stream/url; "
        "expected the http(s) URL of a stream, of up to 65,536 characters"
    )


def test_a_stream_that_https_names_is_not_asked_for_over_http() -> None:
    with pytest.raises(SourceError, match="expected an https URL, since resolve_url is one"):
        origin("http://music.example/a")


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/stream/uri", "nothing at /stream/uri"),
        ("/streams/0/url", "nothing at /streams/0/url"),
        ("/stream/url/0", "nothing at /stream/url/0"),
        ("/list/-", "nothing at /list/-"),
        ("/list/9", "nothing at /list/9"),
        ("/list/01", "nothing at /list/01"),
        ("/list", "a list at /list"),
        ("", "an object at its top"),
    ],
)
def test_a_pointer_that_leads_nowhere_is_named(pointer: str, found: str) -> None:
    place = StreamPlace(Pointer("sources.studio.stream_pointer", pointer), None)
    with pytest.raises(SourceError, match=f"the document of this track has {found}; expected"):
        place.origin(TRACK, ASKED, {}, {"stream": {"url": "/a"}, "list": ["/a"]})


@pytest.mark.parametrize(
    ("pointer", "content"),
    [("", "/a"), ("/0", ["/a"]), ("/a~1b/m~0n", {"a/b": {"m~n": "/a"}}), ("/", {"": "/a"}), ("/%61", {"%61": "/a"})],
)
def test_a_pointer_is_read_as_rfc_6901_says(pointer: str, content: object) -> None:
    place = StreamPlace(Pointer.parse("", pointer), None)
    assert place.origin(TRACK, ASKED, {}, content).url == "https://music.example/a"


def test_the_version_is_a_text_or_a_number_of_the_provider() -> None:
    assert version(hash="9f8e") == Version(VersionKind.PROVIDER, "9f8e")
    assert version(hash=17) == Version(VersionKind.PROVIDER, "17")
    assert version(hash=1.5) == Version(VersionKind.PROVIDER, "1.5")
    assert version(hash=10**255) == Version(VersionKind.PROVIDER, str(10**255))


def test_a_null_says_that_a_track_has_no_version() -> None:
    assert version(hash=None) is None


@pytest.mark.parametrize(
    "value", [True, [], {}, "", "a\nb", "\ud800", "v" * 257, 10**256, 10**400, float("nan"), float("inf")]
)
def test_what_is_no_version_is_refused(value: object) -> None:
    with pytest.raises(SourceError, match=r"^Opus: sources.studio.version_pointer: .* expected a number or a text"):
        version(hash=value)


def test_a_version_that_is_missing_is_a_mistake_and_not_taken_for_none() -> None:
    with pytest.raises(SourceError, match="has nothing at /stream/hash; expected"):
        version(md5="9f8e")


@pytest.fixture
def web() -> Iterator[Web]:
    with closing(open_web(Config(root=Path("/nowhere"), retries=0), jobs=8, cancel=threading.Event())) as opened:
        yield opened


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "audio").write_bytes(b"fLaC")
    return folder


@pytest.fixture
def api(nginx: StartNginx, served: Path) -> Nginx:
    """Documents and streams for who has the token, signed streams for who has none, and streams that expire."""
    guard = f'if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }}'
    body = f"""
        location /api/ {{ {guard} alias "{served}/"; }}
        location /403/ {{ return 403; }}
        location /signed {{ if ($http_authorization) {{ return 400; }} alias "{served}/audio"; }}"""
    for code in EXPIRED:
        body += f'location /expiring/{code} {{ if ($arg_sig != "new") {{ return {code}; }} alias "{served}/audio"; }}'
    return nginx(served, body=body)


def account(web: Web, url: str, environ: Mapping[str, str] | None = None, **options: object) -> Account:
    table = {"resolve_url": url, "stream_pointer": STREAM.text, "version_pointer": HASH.text, **options}
    config = Config(root=Path("/nowhere"), sources={"studio": SourceConfig("studio", "http", table)})
    return Sources(config, web, environ or {}).account("studio")


def publish(served: Path, **stream: object) -> None:
    (served / TRACK.id).write_text(json.dumps({"stream": stream}))


def refusal(web: Web, found: Origin) -> TrackError:
    with pytest.raises(TrackError) as caught:
        web.document(TRACK, found.url, found.headers)
    return caught.value


def test_a_document_is_asked_for_with_the_headers_and_leads_to_the_bytes_and_the_version(
    web: Web, api: Nginx, served: Path
) -> None:
    publish(served, url="audio", hash="9f8e")
    found = account(web, f"{api.url}/api/{{id}}", headers=BEARER).resolve(TRACK)
    assert found.version == Version(VersionKind.PROVIDER, "9f8e")
    assert web.document(TRACK, found.url, found.headers).content == b"fLaC"
    assert [request.path for request in api.requests()] == ["/api/t1", "/api/audio"]


def test_a_signed_url_of_another_server_is_asked_for_without_the_headers(
    web: Web, api: Nginx, nginx: StartNginx, served: Path
) -> None:
    publish(served, url=f"{api.url}/signed?sig={SECRET}", hash=1)
    documents = nginx(served, body=f'location / {{ alias "{served}/"; }}')
    found = account(web, f"{documents.url}/{{id}}", headers=BEARER).resolve(TRACK)
    assert web.document(TRACK, found.url, found.headers).content == b"fLaC"


@pytest.mark.parametrize("status", EXPIRED)
def test_an_expired_url_is_replaced_by_the_one_that_the_document_then_names(
    status: int, web: Web, api: Nginx, served: Path
) -> None:
    studio = account(web, f"{api.url}/api/{{id}}", headers=BEARER)
    publish(served, url=f"/expiring/{status}?sig=old", hash=1)
    old = studio.resolve(TRACK)
    publish(served, url=f"/expiring/{status}?sig=new", hash=1)
    fresh = studio.renew(TRACK, old, refusal(web, old))
    assert fresh is not None
    assert web.document(TRACK, fresh.url, fresh.headers).content == b"fLaC"


def test_a_body_that_says_unauthorized_counts_as_an_expired_url(web: Web, api: Nginx, served: Path) -> None:
    studio = account(web, f"{api.url}/api/{{id}}", headers=BEARER)
    publish(served, url="/signed", hash=1)
    assert studio.renew(TRACK, Origin("https://cdn.example/"), Forbidden("studio:t1", "Opus", "expired")) is not None


@pytest.mark.parametrize(
    "error",
    [
        NotFound("studio:t1", "Opus", "gone", status=404),
        NotFound("studio:t1", "Opus", "the pinned version is gone"),
        BadStatus("studio:t1", "Opus", "broken", status=500),
    ],
)
def test_no_other_failure_asks_for_the_document_again(error: TrackError, web: Web, api: Nginx) -> None:
    studio = account(web, f"{api.url}/api/{{id}}", headers=BEARER)
    assert studio.renew(TRACK, Origin("https://cdn.example/"), error) is None
    assert not api.requests()


@pytest.fixture
def renewing(tmp_path: Path) -> tuple[list[str], Path]:
    """A credential command whose second run brings the right token, and the file that has a line for each run."""
    runs = tmp_path / "runs"
    script = f"""
        echo run >> {runs}
        if [ "$(wc -l < {runs})" -eq 2 ]; then token={TOKEN}; else token=old; fi
        printf '{{"Authorization": "Bearer %s"}}' "$token"
    """
    return ["/bin/sh", "-c", script], runs


def test_many_threads_whose_documents_are_refused_run_the_command_once_more(
    web: Web, api: Nginx, served: Path, renewing: tuple[list[str], Path]
) -> None:
    command, runs = renewing
    publish(served, url="audio", hash="9f8e")
    studio = account(web, f"{api.url}/api/{{id}}", {"PATH": "/usr/bin:/bin"}, credential_command=command)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(studio.resolve, [TRACK] * 8))
    assert {one.headers["Authorization"] for one in found} == {f"Bearer {TOKEN}"}
    assert len(runs.read_text().splitlines()) == 2


def test_a_refused_stream_on_the_server_of_its_document_renews_the_credentials(
    web: Web, api: Nginx, served: Path, renewing: tuple[list[str], Path]
) -> None:
    command, runs = renewing
    publish(served, url=f"{api.url}/api/audio", hash="9f8e")
    studio = account(web, f"{api.url}/api/{{id}}", {"PATH": "/usr/bin:/bin"}, credential_command=command)
    refused = Origin(f"{api.url}/api/audio", {"Authorization": "Bearer old"})
    found = studio.renew(TRACK, refused, refusal(web, refused))
    assert found is not None
    assert web.document(TRACK, found.url, found.headers).content == b"fLaC"
    assert len(runs.read_text().splitlines()) == 2


def test_a_document_that_is_refused_twice_is_not_asked_for_a_third_time(web: Web, api: Nginx, tmp_path: Path) -> None:
    script = f"""echo run >> {tmp_path}/runs; printf '{{"X-Run": "%s"}}' "$(wc -l < {tmp_path}/runs | tr -d ' ')" """
    studio = account(web, f"{api.url}/api/{{id}}", {"PATH": "/usr/bin:/bin"}, credential_command=["sh", "-c", script])
    with pytest.raises(Unauthorized):
        studio.resolve(TRACK)
    assert len(api.requests()) == 2
    assert len((tmp_path / "runs").read_text().splitlines()) == 2


def test_a_document_that_is_refused_without_a_command_is_asked_for_once(web: Web, api: Nginx) -> None:
    with pytest.raises(Unauthorized):
        account(web, f"{api.url}/api/{{id}}").resolve(TRACK)
    assert len(api.requests()) == 1


def test_a_forbidden_document_renews_nothing(web: Web, api: Nginx, renewing: tuple[list[str], Path]) -> None:
    command, runs = renewing
    studio = account(web, f"{api.url}/403/{{id}}", {"PATH": "/usr/bin:/bin"}, credential_command=command)
    with pytest.raises(Forbidden):
        studio.resolve(TRACK)
    assert len(runs.read_text().splitlines()) == len(api.requests()) == 1


def test_what_is_wrong_with_a_document_is_an_error_of_its_track(web: Web, api: Nginx) -> None:
    studio = account(web, f"{api.url}/api/{{id}}", headers=BEARER)
    with pytest.raises(BadResponse, match="something that is no JSON"):
        studio.resolve(Track("studio", "audio"))
    with pytest.raises(NotFound):
        studio.resolve(Track("studio", "gone"))
    with pytest.raises(SourceError, match="step of a path"):
        studio.resolve(Track("studio", "../audio"))
