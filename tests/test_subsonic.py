from __future__ import annotations

import hashlib
import json
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import respx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cachestore.config import Config, SourceConfig
from cachestore.errors import (
    BadResponse,
    BadStatus,
    Cancelled,
    ConfigError,
    Forbidden,
    NotFound,
    SourceError,
    TrackError,
    Unauthorized,
)
from cachestore.media.envelopes import Envelope, envelope
from cachestore.sources.base import Describing, Description, Listing, Playlist, PlaylistTrack, Renewing, Source
from cachestore.sources.registry import Sources
from cachestore.sources.subsonic import SubsonicSource
from cachestore.track import Origin, Track
from cachestore.version import Version, VersionKind
from cachestore.web.client import open_client
from cachestore.web.retries import Retries
from cachestore.web.web import Web
from tests.downloads import played
from tests.music_servers import music_folder
from tests.servers import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tests.conftest import StartSubsonic
    from tests.library import Sample
from tests.music_servers import Subsonic

USER, PASSWORD, KEY = "dj", "sésame & s3cret", "k3y/s3cret+"
URL = "https://music.example/navi"
LOGIN = {"url": URL, "user": USER, "password": PASSWORD}
BY_KEY = {"url": URL, "api_key": KEY}
TRACK = Track("home", "t42", title="Opus")
OTHER = Track("home", "t43", title="Strobe")
SONG = {"id": "t42", "title": "Opus", "artist": "E.P.", "album": "Opus", "size": 19866778, "duration": 178}
LISTED = {"id": "p1", "name": "Friday", "songCount": 2}


def ok(**content: object) -> str:
    return json.dumps({"subsonic-response": {"status": "ok", "version": "1.16.1", **content}})


def failed(code: object) -> str:
    error = {"code": code, "message": f"Wrong {PASSWORD}"}
    return json.dumps({"subsonic-response": {"status": "failed", "version": "1.16.1", "error": error}})


def failed_xml(code: object) -> str:
    error = f'<error code="{code}" message="Wrong {PASSWORD.replace("&", "&amp;")}"/>'
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<subsonic-response xmlns="http://subsonic.org/restapi"'
    return f'{head} status="failed" version="1.16.1">{error}</subsonic-response>'


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that the server got."""

    url: str
    method: str
    query: dict[str, str]

    @property
    def proof(self) -> str:
        """Return how it says who asks, after checking that it says so rightly and in one way only."""
        names = {"u", "t", "s", "p", "apiKey"} & set(self.query)
        if names == {"u", "t", "s"}:
            token = hashlib.md5(f"{PASSWORD}{self.query['s']}".encode()).hexdigest()
            return "token" if (self.query["u"], self.query["t"]) == (USER, token) else "wrong"
        if names == {"u", "p"}:
            right = (USER, f"enc:{PASSWORD.encode().hex()}")
            return "password" if (self.query["u"], self.query["p"]) == right else "wrong"
        return "key" if names == {"apiKey"} and self.query["apiKey"] == KEY else "wrong"


Answer = str | bytes | int  # a body, or a status without one


@dataclass
class Server:
    """A Subsonic server that takes some kinds of proof, and answers the methods that it is given."""

    takes: Iterable[str] = ("token",)
    otherwise: str = field(default_factory=lambda: failed(40))
    answers: Mapping[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    first: Callable[[], None] = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        parts = urlsplit(str(request.url))
        asked = Asked(str(request.url), parts.path.rpartition("/")[2], dict(parse_qsl(parts.query)))
        self.asked.append(asked)
        if len(self.asked) == 1:
            self.first()
        answer = self.answers.get(asked.method, ok()) if asked.proof in self.takes else self.otherwise
        if isinstance(answer, int):
            return httpx.Response(answer)
        return httpx.Response(200, content=answer)

    def methods(self) -> list[str]:
        return [asked.method for asked in self.asked]

    def proofs(self) -> list[str]:
        return [asked.proof for asked in self.asked]


def web_of(server: Callable[[httpx.Request], httpx.Response] | None, cancel: threading.Event | None = None) -> Web:
    if server is not None:
        router = respx.Router()
        router.route().mock(side_effect=server)
        return played(router, cancel=cancel)
    return Web(open_client(connect_timeout=5, stall_timeout=5, jobs=1), Retries(0, 60.0), cancel or threading.Event())


def source(
    server: Callable[[httpx.Request], httpx.Response] | None = None, options: Mapping[str, object] = LOGIN
) -> SubsonicSource:
    return SubsonicSource(SourceConfig("home", "subsonic", options), {}, web_of(server))


def refusal(made: SubsonicSource, track: Track = TRACK) -> TrackError:
    with pytest.raises(TrackError) as caught:
        made.resolve(track)
    return caught.value


def query(origin: Origin) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(origin.url).query))


def told(question: Callable[[], object]) -> object:
    """Return the answer to a question, or the error of its track."""
    try:
        return question()
    except TrackError as error:
        return error


def at_once(made: SubsonicSource, tracks: Iterable[Track]) -> list[object]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda track: told(lambda: made.resolve(track)), tracks))


# --- options


def test_the_kind_is_known_by_name_and_can_all_that_a_source_may() -> None:
    made: Source = source(Server())
    assert isinstance(made, Renewing)
    assert isinstance(made, Describing)
    assert isinstance(made, Listing)
    config = Config(root=Path("/nowhere"), sources={"home": SourceConfig("home", "subsonic", LOGIN)})
    origin = Sources(config, web_of(Server()), {}).account_of(TRACK).resolve(TRACK)
    assert origin.url.startswith("https://music.example/navi/rest/download.view?")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "sources.home.url: the option is missing"),
        (LOGIN | {"passwort": "s3cret"}, "sources.home.passwort: there is no such option; did you mean password?"),
        ({"url": URL}, "sources.home: expected the options user and password, or api_key alone"),
        ({"url": URL, "user": USER}, "sources.home: expected the options user and password, or api_key alone"),
        ({"url": URL, "password": "s3cret"}, "sources.home: expected the options user and password, or api_key alone"),
        (LOGIN | BY_KEY, "sources.home: expected the options user and password, or api_key alone"),
        (BY_KEY | {"user": USER}, "sources.home: expected the options user and password, or api_key alone"),
        (LOGIN | {"password": ""}, "sources.home.password: the value is empty"),
        (LOGIN | {"password": 1234}, "sources.home.password: expected a text"),
        (LOGIN | {"plain_password": "yes"}, "sources.home.plain_password: expected true or false"),
        (LOGIN | {"password": "${NOT_SET}"}, "sources.home.password: the environment variable NOT_SET is not set"),
        (LOGIN | {"url": "music.example"}, "sources.home.url: expected the http(s) URL of the server"),
        (LOGIN | {"url": "ftp://music.example"}, "sources.home.url: expected the http(s) URL of the server"),
        (LOGIN | {"url": "https://"}, "sources.home.url: expected the http(s) URL of the server"),
        (LOGIN | {"url": "https://music.example:port"}, "sources.home.url: expected the http(s) URL of the server"),
        (LOGIN | {"url": "https://[::1"}, "sources.home.url: expected the http(s) URL of the server"),
        (LOGIN | {"url": "https://music.example/#s3cret"}, "sources.home.url: expected the http(s) URL of the server"),
        (LOGIN | {"url": "https://x?p=s3cret"}, "sources.home.url: expected the http(s) URL of the server"),
    ],
)
def test_a_mistake_in_the_options_is_named_with_what_was_expected(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        source(options=options)
    assert str(caught.value).startswith(said)
    assert "s3cret" not in str(caught.value)


def test_variables_are_expanded_in_every_text() -> None:
    environ = {"HOST": "music.example", "WHO": USER, "PASS": PASSWORD}
    options = {"url": "https://${HOST}/navi/", "user": "${WHO}", "password": "${PASS}"}
    server = Server()
    made = SubsonicSource(SourceConfig("home", "subsonic", options), environ, web_of(server))
    assert made.resolve(TRACK).url.startswith("https://music.example/navi/rest/download.view?")
    assert server.proofs() == ["token"]


def test_a_password_from_an_environment_that_is_no_utf8_keeps_its_bytes() -> None:
    environ = {"PASS": b"s\xe9same".decode("utf-8", "surrogateescape")}
    options = LOGIN | {"password": "${PASS}"}
    asked: list[dict[str, str]] = []

    def remember(request: httpx.Request) -> httpx.Response:
        asked.append(dict(parse_qsl(urlsplit(str(request.url)).query)))
        return httpx.Response(200, content=ok())

    SubsonicSource(SourceConfig("home", "subsonic", options), environ, web_of(remember)).resolve(TRACK)
    assert asked[0]["t"] == hashlib.md5(b"s\xe9same" + asked[0]["s"].encode()).hexdigest()


# --- who asks


def test_a_token_goes_first_and_the_password_nowhere() -> None:
    server = Server()
    origins = [source(server).resolve(track) for track in (TRACK, OTHER)]
    assert server.methods() == ["ping.view", "ping.view"]
    assert server.proofs() == ["token", "token"]
    assert Asked(origins[0].url, "", query(origins[0])).proof == "token"
    salts = {query(origin)["s"] for origin in origins} | {asked.query["s"] for asked in server.asked}
    assert len(salts) == 4
    assert all(len(salt) >= 6 for salt in salts)
    assert {(asked.query["v"], asked.query["c"], asked.query["f"]) for asked in server.asked} == {
        ("1.16.1", "cachestore", "json")
    }


def test_however_many_threads_resolve_the_server_is_asked_once() -> None:
    server = Server(takes=["password"], otherwise=failed(41))
    origins = at_once(source(server), [Track("home", f"t{number}") for number in range(40)])
    assert all(isinstance(origin, Origin) for origin in origins)
    assert server.proofs() == ["token", "password"]


@pytest.mark.parametrize("code", [10, 41, 42, "41"])
@pytest.mark.parametrize("answer", [failed, failed_xml])
@pytest.mark.parametrize(
    "url",
    [URL, "http://127.0.0.1:4533", "http://localhost:4533", "http://[::1]/navi", "http://127.8.9.1"],
)
def test_a_server_without_tokens_gets_the_password_where_nobody_else_can_read_it(
    code: object, answer: Callable[[object], str], url: str
) -> None:
    server = Server(takes=["password"], otherwise=answer(code))
    origin = source(server, LOGIN | {"url": url}).resolve(TRACK)
    assert server.proofs() == ["token", "password"]
    assert query(origin)["p"] == f"enc:{PASSWORD.encode().hex()}"
    assert "t" not in query(origin)


@pytest.mark.parametrize(
    "url", ["http://music.example", "http://10.0.0.7:4533", "http://127.0.0.1.evil.example", "http://0.0.0.0"]
)
def test_a_password_does_not_go_unencrypted_through_a_network_unless_that_is_asked_for(url: str) -> None:
    server = Server(takes=["password"], otherwise=failed(10))
    error = refusal(source(server, LOGIN | {"url": url}))
    assert type(error) is Unauthorized
    assert str(error) == (
        "Opus: the server wants the password itself, which is not sent unencrypted; use an https url in "
        "[sources.home], or plain_password = true to send it for anyone on the way to read (Subsonic error 10)"
    )
    assert server.proofs() == ["token"]

    source(server, LOGIN | {"url": url, "plain_password": True}).resolve(TRACK)
    assert server.proofs() == ["token", "token", "password"]


def test_a_wrong_password_is_tried_once_in_a_run_and_not_in_another_way() -> None:
    server = Server(takes=[])
    made = source(server)
    first, second = refusal(made), refusal(made, OTHER)
    assert type(first) is Unauthorized
    assert str(first) == "Opus: the server refused the credentials (Subsonic error 40: wrong user or password)"
    assert (first.track, first.provider_code) == ("home:t42", "40")
    assert (second.track, second.label, second.reason) == ("home:t43", "Strobe", first.reason)
    assert len(server.asked) == 1


def test_a_refusal_by_status_is_not_repeated_either() -> None:
    server = Server(answers={"ping.view": 401})
    made = source(server)
    assert [refusal(made).status, refusal(made, OTHER).status] == [401, 401]
    assert len(server.asked) == 1


def test_a_server_that_takes_neither_asks_for_a_key() -> None:
    error = refusal(source(Server(takes=[], otherwise=failed(42))))
    assert type(error) is Unauthorized
    assert "takes neither token nor password; set api_key alone in [sources.home]" in str(error)


def test_an_api_key_goes_alone() -> None:
    server = Server(takes=["key"])
    origin = source(server, BY_KEY).resolve(TRACK)
    assert server.proofs() == ["key"]
    assert query(origin) == {"apiKey": KEY, "v": "1.16.1", "c": "cachestore", "id": "t42", "format": "raw"}


def test_a_wrong_api_key_is_told_from_a_server_that_knows_none() -> None:
    wrong = refusal(source(Server(takes=[], otherwise=failed(44)), BY_KEY))
    assert (type(wrong), wrong.provider_code) == (Unauthorized, "44")
    assert str(wrong) == "Opus: the server refused the credentials (Subsonic error 44: the API key is not valid)"
    unknown = refusal(source(Server(takes=[], otherwise=failed(10)), BY_KEY))
    assert (type(unknown), unknown.provider_code) == (Unauthorized, "10")
    assert "knows no API keys; set user and password in [sources.home] instead" in str(unknown)


def test_a_failure_that_may_pass_is_shared_by_those_who_waited_and_tried_again_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = threading.Semaphore(0)

    class Watched:
        """The lock of the login, which says how many came to it."""

        def __init__(self) -> None:
            self._lock = threading.Lock()

        def __enter__(self) -> None:
            waiting.release()
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    def wait_for_all() -> None:
        for _ in range(8):
            assert waiting.acquire(timeout=20)

    server = Server(answers={"ping.view": 503}, first=wait_for_all)
    made = source(server)
    monkeypatch.setattr(made._server, "_lock", Watched())
    outcomes = at_once(made, [Track("home", f"t{number}") for number in range(8)])
    assert {type(outcome) for outcome in outcomes} == {BadStatus}
    assert {outcome.track for outcome in outcomes if isinstance(outcome, TrackError)} == {
        f"home:t{n}" for n in range(8)
    }
    assert len(server.asked) == 1

    server.answers = {}
    assert isinstance(made.resolve(TRACK), Origin)
    assert len(server.asked) == 2


def test_a_cancelled_login_is_no_failure_of_the_server() -> None:
    cancel = threading.Event()
    web = web_of(Server(answers={"ping.view": 503}), cancel)
    made = SubsonicSource(SourceConfig("home", "subsonic", LOGIN), {}, web)
    web.abort()
    for _ in range(2):
        with pytest.raises(Cancelled):
            made.resolve(TRACK)


@pytest.mark.parametrize("status", [404, 410])
def test_a_url_without_a_subsonic_api_is_told_as_such(status: int) -> None:
    error = refusal(source(Server(answers={"ping.view": status})))
    assert (type(error), error.status) == (SourceError, status)
    assert (
        str(error) == "Opus: the server has no Subsonic API there; check the url of the source, which ends before /rest"
    )


@pytest.mark.parametrize(
    "page",
    ["<!doctype html><html><body>Sign in</body></html>", "", "null", "[]", "{}", '{"subsonic-response": null}',
     '{"subsonic-response": {}}', '{"subsonic-response": {"status": ["ok"]}}', "[" * 100_000, b"\xff\xfe{"],
)  # fmt: skip
def test_an_answer_that_is_no_subsonic_response_accepts_nobody(page: str | bytes) -> None:
    error = refusal(source(Server(answers={"ping.view": page})))
    assert type(error) is BadResponse
    assert str(error).startswith("Opus: the server answered with something that is no Subsonic response")


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        (0, BadResponse, "answered with an error; check the id (Subsonic error 0)"),
        (20, BadResponse, "answered with an error (Subsonic error 20: the server wants a newer client)"),
        (30, BadResponse, "answered with an error (Subsonic error 30: the server is too old)"),
        (40, Unauthorized, "refused the credentials (Subsonic error 40: wrong user or password)"),
        (43, Unauthorized, "refused the credentials (Subsonic error 43: two ways to authenticate were used at once)"),
        (44, Unauthorized, "refused the credentials (Subsonic error 44: the API key is not valid)"),
        (50, Forbidden, "does not allow it (Subsonic error 50: this user may not do this)"),
        (60, Forbidden, "does not allow it (Subsonic error 60: the server's trial period is over)"),
        (70, NotFound, "has nothing of that id (Subsonic error 70: it was not found)"),
        (999, BadResponse, "answered with an error; check the id (Subsonic error 999)"),
    ],
)
@pytest.mark.parametrize("answer", [failed, failed_xml])
def test_every_code_has_a_sentence_of_our_own(
    code: int, kind: type[TrackError], sentence: str, answer: Callable[[object], str]
) -> None:
    made = source(Server(answers={"getSong.view": answer(code)}))
    with pytest.raises(TrackError) as caught:
        made.describe(TRACK)
    assert type(caught.value) is kind
    assert caught.value.provider_code == str(code)
    assert str(caught.value) == f"Opus: the server {sentence}"


def test_an_error_is_no_success_whatever_the_status_says() -> None:
    contradiction = json.dumps({"subsonic-response": {"status": "ok", "error": {"code": 40, "message": "no"}}})
    assert type(refusal(source(Server(answers={"ping.view": contradiction})))) is BadResponse


# --- tracks


def test_a_track_is_downloaded_as_it_is() -> None:
    origin = source(Server()).resolve(TRACK)
    assert origin.url.startswith("https://music.example/navi/rest/download.view?")
    assert {name: query(origin)[name] for name in ("id", "format", "v", "c")} == {
        "id": "t42", "format": "raw", "v": "1.16.1", "c": "cachestore",
    }  # fmt: skip
    assert origin.headers == {}
    assert origin.version is None


@settings(deadline=None)
@given(track_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_id_arrives_as_it_is_and_changes_nothing_else(track_id: str) -> None:
    parts = urlsplit(source(Server()).resolve(Track("home", track_id)).url)
    asked = parse_qsl(parts.query, strict_parsing=True)
    assert sorted(name for name, _ in asked) == ["c", "format", "id", "s", "t", "u", "v"]
    assert dict(asked)["id"] == track_id
    assert (parts.path, parts.fragment) == ("/navi/rest/download.view", "")


def test_an_id_that_is_no_unicode_fails_its_track_only() -> None:
    made = source(Server())
    with pytest.raises(SourceError, match="its id is no valid Unicode"):
        made.resolve(Track("home", "\ud800"))
    assert isinstance(made.resolve(TRACK), Origin)


def test_where_downloads_are_forbidden_the_rest_of_the_run_streams() -> None:
    made = source(Server())
    download = made.resolve(TRACK)
    forbidden = Forbidden(TRACK.address, TRACK.label, "the server does not allow it", provider_code="50")
    assert made.renew(TRACK, download, forbidden)
    assert made.renew(OTHER, download, forbidden), "another thread had the same refusal"
    stream = made.resolve(OTHER)
    assert stream.url.startswith("https://music.example/navi/rest/stream.view?")
    assert (query(stream)["id"], query(stream)["format"]) == ("t43", "raw")
    assert not made.renew(OTHER, stream, forbidden), "streams are forbidden, too"


@pytest.mark.parametrize("code", ["", "40", "70"])
def test_no_other_refusal_is_renewed(code: str) -> None:
    made = source(Server())
    download = made.resolve(TRACK)
    assert not made.renew(TRACK, download, Unauthorized(TRACK.address, TRACK.label, "refused", provider_code=code))
    assert "download.view" in made.resolve(TRACK).url


def described(**changes: object) -> Description:
    song = {**SONG, "bitRate": 880, "created": "2023-03-14T17:51:22Z", **changes}
    return source(Server(answers={"getSong.view": ok(song=song)})).describe(TRACK)


def test_a_song_is_described_by_its_tags_and_what_they_say_of_the_bytes() -> None:
    version = Version(VersionKind.DESCRIBED, "size=19866778 duration=178 bitRate=880 created=2023-03-14T17:51:22Z")
    assert described() == Description("Opus", "E.P.", "Opus", version)


def test_what_is_not_there_is_left_out_and_without_a_size_there_is_no_version() -> None:
    assert described(duration=None, created=None).version == Version(VersionKind.DESCRIBED, "size=19866778 bitRate=880")
    for size in (None, 0, "", -1):
        assert described(size=size).version is None


@pytest.mark.parametrize("title", [True, ["Opus"], {}])
def test_a_title_that_is_no_text_is_no_title(title: object) -> None:
    with pytest.raises(BadResponse, match='"title" is missing or wrong'):
        described(title=title)


def test_the_same_song_is_asked_for_with_the_proof_that_was_found() -> None:
    server = Server(takes=["password"], otherwise=failed(41), answers={"getSong.view": ok(song=SONG)})
    source(server).describe(TRACK)
    assert [(asked.method, asked.proof) for asked in server.asked] == [
        ("ping.view", "token"), ("ping.view", "password"), ("getSong.view", "password"),
    ]  # fmt: skip
    assert server.asked[-1].query["id"] == "t42"


# --- playlists


def listing(*rows: object) -> SubsonicSource:
    return source(Server(answers={"getPlaylist.view": ok(playlist={**LISTED, "entry": list(rows)})}))


def test_playlists_come_in_order_with_how_many_tracks_they_have() -> None:
    lists = {"playlist": [LISTED, {"id": 7, "name": "Late\r\n\x1b[31mNight"}]}
    made = source(Server(answers={"getPlaylists.view": ok(playlists=lists)}))
    assert made.playlists() == [Playlist("p1", "Friday", 2), Playlist("7", "Late [31mNight", None)]


@pytest.mark.parametrize("rows", [{}, {"playlist": []}, {"playlist": None}])
def test_a_server_without_playlists_has_none(rows: object) -> None:
    assert source(Server(answers={"getPlaylists.view": ok(playlists=rows)})).playlists() == []


def test_the_rows_of_a_playlist_are_tracks_of_this_source_in_order() -> None:
    rows = listing(SONG, {"id": 43, "title": 1979, "duration": 12.5}, SONG).playlist("p1")
    assert [(row.track, row.duration) for row in rows] == [
        (Track("home", "t42", title="Opus", artist="E.P.", album="Opus"), 178),
        (Track("home", "43", title="1979"), 12.5),
        (Track("home", "t42", title="Opus", artist="E.P.", album="Opus"), 178),
    ]


def test_an_empty_playlist_has_no_rows() -> None:
    assert source(Server(answers={"getPlaylist.view": ok(playlist=LISTED)})).playlist("p1") == []


def test_folders_and_videos_are_left_out_unless_they_have_a_sound() -> None:
    folder = {"id": "d1", "title": "Folder", "isDir": True}
    video = {"id": "v1", "title": "Film", "isVideo": True, "contentType": "video/mp4"}
    concert = {"id": "v2", "title": "Concert", "isVideo": True, "contentType": "audio/mp4"}
    song = {**SONG, "isDir": False, "isVideo": False}
    assert [row.track.id for row in listing(folder, video, concert, song).playlist("p1")] == ["v2", "t42"]


@pytest.mark.parametrize("duration", [None, -1, "long", True, float("nan"), float("inf"), [1]])
def test_a_duration_that_cannot_be_is_unknown(duration: object) -> None:
    assert listing({**SONG, "duration": duration}).playlist("p1")[0].duration is None


@pytest.mark.parametrize("row_id", [None, "", True, 1.5, ["t1"], {}, "a\nb", "\ud800", "x" * 1001])
def test_a_row_without_a_usable_id_fails_the_playlist_rather_than_being_left_out(row_id: object) -> None:
    with pytest.raises(BadResponse) as caught:
        listing(SONG, {**SONG, "id": row_id}).playlist("p1")
    expected = 'the playlist p1 of home: the server\'s answer does not fit the Subsonic API ("id" is missing or wrong)'
    assert str(caught.value) == expected


@pytest.mark.parametrize("title", ["\ud83d", "O\x00p\x7fus", "a\u2028b", "endless " * 100_000])
def test_what_the_server_says_is_fit_to_be_shown(title: str) -> None:
    (row,) = listing({**SONG, "title": title}).playlist("p1")
    row.track.title.encode()
    assert row.track.title.isprintable()
    assert len(row.track.title) <= 1000


def test_failures_of_playlists_name_the_playlist() -> None:
    answers = {"getPlaylist.view": failed(70), "getPlaylists.view": failed(50)}
    made = source(Server(answers=answers))
    with pytest.raises(NotFound) as gone:
        made.playlist("Fri\nday")
    assert (
        str(gone.value)
        == "the playlist Fri day of home: the server has nothing of that id (Subsonic error 70: it was not found)"
    )
    assert gone.value.track == "home:playlist/Fri\nday"
    with pytest.raises(Forbidden) as closed:
        made.playlists()
    assert str(closed.value).startswith("the playlists of home: the server does not allow it")
    assert closed.value.track == "home:playlists"
    with pytest.raises(Unauthorized, match=r"^the playlists of home: the server refused the credentials"):
        source(Server(takes=[])).playlists()


# --- anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WHOLE = {
    "status": "ok",
    "song": {**SONG, "bitRate": 880, "created": "2023", "contentType": "audio/flac"},
    "playlists": {"playlist": [LISTED, LISTED]},
    "playlist": {**LISTED, "entry": [SONG, {**SONG, "isDir": True}]},
}


def places(value: object, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the way to everything inside `value`."""
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    return [way, *(place for key, below in inner for place in places(below, (*way, key)))]


def changed(value: Any, way: tuple[str | int, ...], to: object) -> Any:  # noqa: ANN401 - JSON
    if not way:
        return to
    copy = value.copy()
    copy[way[0]] = changed(copy[way[0]], way[1:], to)
    return copy


def is_clean(text: str) -> bool:
    return text == " ".join(text.split()) and not any(unicodedata.category(c) in {"Cc", "Cs"} for c in text)


def texts(outcome: object) -> list[str]:
    """Return what a person may get to see of what a source said."""
    match outcome:
        case Description():
            return [outcome.title, outcome.artist, outcome.album]
        case Playlist():
            return [outcome.name]
        case PlaylistTrack():
            assert outcome.track.id
            return [outcome.track.title, outcome.track.artist, outcome.track.album]
        case TrackError():
            return [outcome.reason]
    assert isinstance(outcome, list)
    return [text for row in outcome for text in texts(row)]


@settings(deadline=None)
@given(way=st.sampled_from(places(WHOLE)), odd=JSON)
@example(way=("song", "title"), odd="a\x00\u2028\ud800")
def test_json_of_any_shape_gives_what_was_asked_for_or_an_error_of_the_track(
    way: tuple[str | int, ...], odd: object
) -> None:
    answer = json.dumps({"subsonic-response": changed(WHOLE, way, odd)})
    answers: dict[str, Answer] = dict.fromkeys(("getSong.view", "getPlaylists.view", "getPlaylist.view"), answer)
    made = source(Server(answers=answers))
    for outcome in (told(lambda: made.describe(TRACK)), told(made.playlists), told(lambda: made.playlist("p1"))):
        assert all(is_clean(text) for text in texts(outcome))


@settings(deadline=None)
@given(odd=JSON)
def test_no_ping_of_any_shape_shows_a_traceback(odd: object) -> None:
    made = source(Server(answers={"ping.view": json.dumps(odd)}))
    assert isinstance(told(lambda: made.resolve(TRACK)), TrackError)


# --- secrets


REFUSALS = [make(code) for make in (failed, failed_xml) for code in (0, 10, 40, 41, 44, 50, 70)]


@pytest.mark.parametrize("answer", [ok(song=SONG), ok(song=[PASSWORD]), *REFUSALS, 401, 500, "{", PASSWORD])
@pytest.mark.parametrize("takes", ["token", "password", "key", ""])
def test_nothing_that_is_shown_holds_a_secret(answer: str | int, takes: str) -> None:
    otherwise = answer if takes == "" and isinstance(answer, str) else failed(41)
    server = Server(takes=[takes], otherwise=otherwise, answers={"getSong.view": answer, "getPlaylists.view": answer})
    made = source(server, BY_KEY if takes == "key" else LOGIN)
    outcomes = [told(lambda: made.resolve(TRACK)), told(lambda: made.describe(TRACK)), told(made.playlists)]
    errors = [outcome for outcome in outcomes if isinstance(outcome, TrackError)]
    inside = [made, made._server, made._server._settings, *(error.__cause__ or error.__context__ for error in errors)]
    shown = "\n".join([*map(str, errors), *map(repr, [*outcomes, *inside])])
    secrets = {"s3cret", PASSWORD.encode().hex()}
    secrets |= {value for asked in server.asked for name, value in asked.query.items() if name in {"t", "s", "p"}}
    assert not [secret for secret in secrets if secret in shown]


# --- a real server: supysonic, which has no token auth


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web(open_client(connect_timeout=10, stall_timeout=10, jobs=1), Retries(0, 60.0), threading.Event())
    yield made
    made.close()


def real(server: Subsonic, web: Web, **changes: object) -> SubsonicSource:
    options = {"url": server.url, "user": server.user, "password": server.password, **changes}
    return SubsonicSource(SourceConfig("home", "subsonic", options), {}, web)


def test_a_real_server_gives_the_very_bytes_of_its_files(
    subsonic: StartSubsonic, web: Web, library: Mapping[str, Sample]
) -> None:
    server = subsonic()
    made, sample = real(server, web), library["flac"]
    track = Track("home", server.ids()[sample.title])
    origin = made.resolve(track)
    assert web.document(track, origin.url).content == sample.data
    assert made.renew(track, origin, Forbidden(track.address, track.label, "", provider_code="50"))
    assert web.document(track, made.resolve(track).url).content == sample.data
    assert [request.path for request in server.requests()] == [
        "/rest/ping.view", "/rest/ping.view", "/rest/download.view", "/rest/stream.view",
    ]  # fmt: skip
    assert "s3cret" not in "".join(request.query for request in server.requests())


def test_a_real_server_describes_its_songs_and_says_so_when_they_change(
    subsonic: StartSubsonic, web: Web, library: Mapping[str, Sample], tmp_path: Path
) -> None:
    folder = music_folder(library, tmp_path / "music")
    server = subsonic(folder)
    made, sample = real(server, web), library["ogg"]
    track = Track("home", server.ids()[sample.title])
    before = made.describe(track)
    assert (before.title, before.artist, before.album) == (sample.title, sample.artist, "[non-album tracks]")
    assert before.version is not None
    assert before.version.kind is VersionKind.DESCRIBED
    assert before.version.value.startswith(f"size={len(sample.data)} duration=1 bitRate=")
    assert made.describe(track) == before

    (file,) = (folder / sample.artist).iterdir()
    replace(file, sample.data + bytes(4096))
    server.rescan()
    after = made.describe(track).version
    assert after is not None
    assert after.value.startswith(f"size={len(sample.data) + 4096} ")
    assert after.value.rpartition("created=")[2] == before.version.value.rpartition("created=")[2]


def test_a_real_server_lists_its_playlists_and_their_rows(
    subsonic: StartSubsonic, web: Web, library: Mapping[str, Sample]
) -> None:
    server = subsonic()
    made = real(server, web)
    assert made.playlists() == []
    titles = [library[ext].title for ext in ("ogg", "flac", "m4a", "flac")]
    playlist_id, empty_id = server.create_playlist("Friday: Café ♫", titles), server.create_playlist("Nothing", [])
    assert made.playlists() == [Playlist(playlist_id, "Friday: Café ♫", 4), Playlist(empty_id, "Nothing", 0)]
    rows = made.playlist(playlist_id)
    assert [row.track.title for row in rows] == titles
    assert [row.track.id for row in rows] == [server.ids()[title] for title in titles]
    assert [row.track.artist for row in rows] == [library[ext].artist for ext in ("ogg", "flac", "m4a", "flac")]
    assert {row.duration for row in rows} == {1}
    assert made.playlist(empty_id) == []


def test_a_real_server_refuses_in_its_own_way(subsonic: StartSubsonic, web: Web) -> None:
    server = subsonic()
    made = real(server, web)
    gone = Track("home", "00000000-0000-0000-0000-000000000000", title="Gone")
    with pytest.raises(NotFound, match="Gone: the server has nothing of that id"):
        made.describe(gone)
    found = envelope(web.document(gone, made.resolve(gone).url).content)
    assert found == Envelope("subsonic", "70")
    with pytest.raises(BadResponse, match="Subsonic error 0"):
        made.describe(Track("home", "no uuid"))
    with pytest.raises(NotFound, match=r"^the playlist 00000000-"):
        made.playlist(gone.id)
    assert refusal(real(server, web, password="wrong")).provider_code == "40"
    keyed = SubsonicSource(SourceConfig("home", "subsonic", {"url": server.url, "api_key": KEY}), {}, web)
    assert "knows no API keys" in str(refusal(keyed))


def test_what_the_server_says_of_the_password_itself_is_not_kept() -> None:
    song = {"id": "t1", "title": f"of {PASSWORD}", "artist": "E.P.", "size": 9, "created": PASSWORD}
    lists = {"playlist": [{"id": "p", "name": PASSWORD}]}
    made = source(Server(answers={"getSong.view": ok(song=song), "getPlaylists.view": ok(playlists=lists)}))
    assert made.describe(TRACK) == Description("", "E.P.", "", Version(VersionKind.DESCRIBED, "size=9"))
    assert made.playlists() == [Playlist("p", "")]
