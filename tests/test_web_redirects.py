"""Redirects, followed by hand: no other origin is told a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import respx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachestore.errors import BadResponse, SourceError, TrackError, Unreachable
from tests.downloads import OPENED_BY, SECRET, TRACK, Desk, answer, asked, hiding, open_desk, played, told
from tests.servers import TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartNginx, StartRawServer
    from tests.raw_servers import Answer
    from tests.servers import Nginx


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "t42").write_bytes(b"a document")
    return folder


@pytest.fixture
def studio(nginx: StartNginx, served: Path) -> Nginx:
    return nginx(served)


def refusal(desk: Desk, url: str, *, retries: int = 0) -> TrackError:
    """Return the failure of a document, which never tells what the URL hides."""
    with pytest.raises(TrackError) as caught:
        desk.web(retries=retries).document(TRACK, hiding(url))
    return told(caught.value)


def redirect(to: str, *headers: str, status: str = "302 Found") -> bytes:
    return answer(b"", f"Location: {to}", *headers, status=status)


def test_a_redirect_is_followed(desk: Desk, studio: Nginx) -> None:
    assert desk.web().document(TRACK, f"{studio.url}/redir/t42").content == b"a document"


def test_a_redirect_within_the_origin_keeps_the_headers(desk: Desk, nginx: StartNginx, served: Path) -> None:
    guard = f'if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }} alias {served}/;'
    server = nginx(served, body=f"location /api/ {{ return 307 ../auth/t42; }} location /auth/ {{ {guard} }}")
    assert desk.web().document(TRACK, f"{server.url}/api/t42", OPENED_BY).content == b"a document"


def test_another_origin_gets_only_headers_that_are_for_anyone(desk: Desk, raw_server: StartRawServer) -> None:
    cdn = raw_server(answer(b"x"))
    api = raw_server(redirect(f"{cdn.url}/x"))
    keys = {"Authorization": "Bearer t", "X-Api-Key": "k", "Cookie": "c=1", "Accept": "audio/*", "If-None-Match": '"a"'}
    desk.web().document(TRACK, api.url, keys)
    assert [asked(api, name)[0] for name in keys] == list(keys.values())
    assert [asked(cdn, name)[0] for name in keys] == [None, None, None, "audio/*", '"a"']


def test_headers_that_were_taken_away_do_not_come_back(desk: Desk, raw_server: StartRawServer) -> None:
    def api_answer(head: bytes) -> Answer:
        return answer(b"x") if b"/back" in head else redirect(f"{cdn.url}/x")

    api = raw_server(api_answer)
    cdn = raw_server(redirect(f"{api.url}/back"))
    desk.web().document(TRACK, api.url, OPENED_BY)
    assert asked(api, "Authorization") == [OPENED_BY["Authorization"], None]
    assert asked(cdn, "Authorization") == [None]


def test_userinfo_of_a_url_becomes_basic_authorization_for_its_origin_only(
    desk: Desk, raw_server: StartRawServer
) -> None:
    cdn = raw_server(answer(b"x"))
    api = raw_server(redirect(f"{cdn.url.replace('://', '://eve:her@')}/x"))
    desk.web().document(TRACK, api.url.replace("://", "://dj:p%40ss@"))
    assert asked(api, "Authorization") == ["Basic ZGo6cEBzcw=="]
    assert asked(cdn, "Authorization") == [None]


def test_a_cookie_of_one_answer_goes_nowhere(desk: Desk, raw_server: StartRawServer) -> None:
    server = raw_server(redirect("/x", "Set-Cookie: session=1; Path=/"), answer(b"x"))
    desk.web().document(TRACK, server.url)
    assert asked(server, "Cookie") == [None, None]


@pytest.mark.parametrize(
    "location",
    ["/again", "ftp://music.example/a", "mailto:dj@music.example", "http://h:port/", "http:///a"],
)
def test_redirects_that_lead_nowhere_are_refused(desk: Desk, raw_server: StartRawServer, location: str) -> None:
    server = raw_server(redirect(location, status="301 Moved Permanently"))
    assert isinstance(refusal(desk, server.url), BadResponse)
    assert len(server.received) <= 6


@pytest.mark.parametrize(
    "location",
    ["http://xn--a/", "//xn--a.example/", "http://[::1", "http://[zz]/", "http://h:0/", "http://h:99999/", "x:"],
)
def test_a_redirect_to_what_is_no_url_is_said_so_and_not_tried_again(
    desk: Desk, raw_server: StartRawServer, location: str
) -> None:
    server = raw_server(redirect(location))
    error = refusal(desk, server.url, retries=2)
    what = "the server redirects to something that is no http(s) URL; check the source, or tell who runs the server"
    assert (type(error), error.reason, len(server.received)) == (BadResponse, what, 1)


def test_an_address_of_ipv6_is_told_as_it_is_written(desk: Desk, raw_server: StartRawServer) -> None:
    assert " and no connection to [::1]:1: " in refusal(desk, raw_server(redirect("http://[::1]:1/")).url).reason


def test_a_host_that_cannot_be_reached_is_named_with_the_redirect_to_it(
    desk: Desk, raw_server: StartRawServer, closed_port: int
) -> None:
    server = raw_server(redirect(f"http://music.invalid/t?token={SECRET}"))
    error = refusal(desk, server.url)
    place = server.url.removeprefix("http://")
    assert isinstance(error, Unreachable)
    assert error.reason == f"{place} redirects to another server, and the name music.invalid does not resolve"
    error = refusal(desk, raw_server(redirect(f"http://127.0.0.1:{closed_port}/")).url)
    assert f"and no connection to 127.0.0.1:{closed_port}: connection refused" in error.reason


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
def test_a_host_that_cannot_be_is_not_blamed_on_the_source(desk: Desk, raw_server: StartRawServer, host: str) -> None:
    error = refusal(desk, raw_server(redirect(f"http://{host}/")).url)
    assert isinstance(error, BadResponse)
    assert f" redirects to {host}, where no request can be made" in error.reason


def test_a_host_of_the_source_that_cannot_be_is_blamed_on_the_source(desk: Desk) -> None:
    assert isinstance(refusal(desk, f"http://{'a' * 70}/"), SourceError)


def test_https_never_falls_to_http(
    tmp_path: Path, nginx: StartNginx, studio: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = nginx(tmp_path, body=f"location / {{ return 302 {studio.url}/plain/t42; }}", tls=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
    desk = open_desk(tmp_path / "partials")
    with desk.client:
        error = refusal(desk, server.url)
    assert isinstance(error, BadResponse)
    assert "from https to http" in str(error)
    assert studio.requests() == []


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    location=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
    | st.lists(st.sampled_from(["http:", "https:", "//", "/", "..", "@", ":", "api", "[", "]", "%", "?", "#"])).map(
        "".join
    )
)
def test_wherever_a_redirect_leads_no_other_origin_is_told_the_token(location: str) -> None:
    told_to = set()

    def respond(request: httpx.Request) -> httpx.Response:
        if "authorization" in request.headers:
            told_to.add((request.url.scheme, request.url.host, request.url.port))
        return httpx.Response(302, headers=[(b"Location", location.encode("latin-1"))], request=request)

    router = respx.Router()
    router.route().mock(side_effect=respond)
    with pytest.raises(TrackError) as caught:
        played(router).document(TRACK, f"http://dj:{SECRET}@api/t42")
    told(caught.value)
    assert told_to == {("http", "api", None)}
