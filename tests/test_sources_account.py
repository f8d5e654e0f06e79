from __future__ import annotations

import asyncio
import errno
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
import respx

from cachestore.config import Config, SourceConfig, expand
from cachestore.errors import Busy, Cancelled, ConfigError, NoSpace, SourceError, TrackError, Unauthorized
from cachestore.sources.account import Account
from cachestore.sources.base import Description, Playlist, PlaylistTrack
from cachestore.sources.registry import Sources
from cachestore.track import Origin, Track
from cachestore.version import Version, VersionKind
from tests.downloads import come_true, played

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cachestore.web.web import Web

TRACK = Track("mine", "t1", title="Opus")
URL = "https://mine.example/t1"
SECRET = "s3cret/4711"
PROVIDED = Version(VersionKind.PROVIDER, "9f8e")
# What is wrong with the types is what is tried.
AN_ORIGIN: Any = Origin
A_VERSION: Any = Version
A_DESCRIPTION: Any = Description
A_PLAYLIST: Any = Playlist
A_ROW: Any = PlaylistTrack
A_TRACK: Any = Track
STRONG = Version(VersionKind.STRONG, '"9f8e"')


class Asked:
    """A third party's source whose token goes into the query, or elsewhere as its option `to` says."""

    def __init__(self, config: SourceConfig, environ: Mapping[str, str], web: Web) -> None:
        self._token = expand(str(config.options["token"]), config.where, environ)
        self._to = str(config.options["to"])

    def resolve(self, track: Track) -> Origin:
        put = {"TOKEN": quote(self._token, safe=""), "ID": track.id, "OTHER": f"other-{track.id}"}
        return Origin(re.sub("TOKEN|ID|OTHER", lambda match: put[match[0]], self._to))


def asked(monkeypatch: pytest.MonkeyPatch, to: str) -> Account:
    points = EntryPoints([EntryPoint("asked", f"{__name__}:Asked", "cachestore.sources")])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points.select(group=group))
    table = {"token": "${TK}", "to": to}
    config = Config(root=Path("/nowhere"), sources={"mine": SourceConfig("mine", "asked", table)})
    return Sources(config, web_for(1.0), {"TK": SECRET}).account("mine")


def web_for(seconds: float) -> Web:
    """Return a web that has so many seconds for a track, and that nobody answers."""
    router = respx.Router()
    router.route().respond(500)
    return played(router, seconds)


def refuse(account: Account) -> str:
    """Return what is told of the first track when its origin was refused."""
    error = Unauthorized(TRACK.address, TRACK.label, "refused", status=401)
    account.refused(account.resolve(TRACK), error)
    return str(error)


@pytest.mark.parametrize("to", [f"{URL}?a=b&token=TOKEN", "https://dj:TOKEN@cdn.example/ID", "https://TOKEN:@a/ID"])
def test_a_third_partys_refused_token_in_a_url_is_not_used_on(monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    account = asked(monkeypatch, to)
    assert refuse(account) == "Opus: refused; check the credentials of [sources.mine]"
    with pytest.raises(Unauthorized, match="the source mine is not asked again in this run") as caught:
        account.resolve(Track("mine", "t2"))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "to", [URL, f"{URL}?id=ID", f"{URL}?sig=OTHER", "https://ID:OTHER@cdn.example/ID", "http://[a"]
)
def test_a_refused_url_without_a_secret_of_the_options_concerns_one_track(
    monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    account = asked(monkeypatch, to)
    assert refuse(account) == "Opus: refused"
    assert account.resolve(Track("mine", "t2")).url


@dataclass
class Returning:
    """A third party's source that returns the same from all methods."""

    value: object

    def resolve(self, track: Track) -> object:
        return self.value

    def describe(self, track: Track) -> object:
        return self.value

    def renew(self, track: Track, refused: Origin, error: TrackError) -> bool:
        return True

    def playlists(self) -> object:
        return self.value

    def playlist(self, playlist_id: str) -> object:
        return self.value


def returning(value: object) -> Account:
    source: Any = Returning(value)
    return Account("mine", source)


def told(error: pytest.ExceptionInfo[SourceError]) -> str:
    words = str(error.value)
    start, end = "Opus: the source mine returned ", "; update or mend its package"
    assert words.startswith(start)
    assert words.endswith(end)
    return words.removeprefix(start).removesuffix(end)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "None; expected Origin"),
        (URL, "str; expected Origin"),
        (AN_ORIGIN(None), "None as Origin.url; expected str"),
        (AN_ORIGIN(URL + "/" * 65_536), "too long a text as Origin.url; expected one of up to 65,536 characters"),
        (AN_ORIGIN(URL, None), "None as Origin.headers; expected Mapping"),
        (AN_ORIGIN(URL, {"X": 5}), "int as a part of Origin.headers; expected str"),
        (AN_ORIGIN(URL, {5: "X"}), "int as a part of Origin.headers; expected str"),
        (AN_ORIGIN(URL, version="v1"), "str as Origin.version; expected Version or None"),
        (
            AN_ORIGIN(URL, version=A_VERSION("provider", "v1")),
            "str as Origin.version.kind; expected VersionKind",
        ),
        (
            AN_ORIGIN(URL, version=A_VERSION(VersionKind.PROVIDER, 1)),
            "int as Origin.version.value; expected str",
        ),
        (AN_ORIGIN(URL, version=STRONG), "STRONG as Origin.version.kind; expected PROVIDER"),
        *(
            (
                AN_ORIGIN(URL, version=A_VERSION(VersionKind.PROVIDER, value)),
                "an empty or broken text as Origin.version.value; expected one without control characters",
            )
            for value in ("", "a\nb", "\ud800")
        ),
        (
            AN_ORIGIN(URL, version=A_VERSION(VersionKind.PROVIDER, "x", 5)),
            "int as Origin.version.digest; expected str",
        ),
        (
            AN_ORIGIN(URL, version=A_VERSION(VersionKind.PROVIDER, "x", "f00")),
            "a text as Origin.version.digest; expected an empty one",
        ),
    ],
)
def test_what_is_no_origin_fails_its_track_with_a_sentence_that_shows_no_value(value: object, sentence: str) -> None:
    with pytest.raises(SourceError) as caught:
        returning(value).resolve(TRACK)
    assert told(caught) == sentence
    with pytest.raises(SourceError) as caught:
        returning(value).renew(TRACK, Origin(URL), Unauthorized(TRACK.address, TRACK.label, "refused", status=401))
    assert told(caught) == sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"title": "x"}, "dict; expected Description"),
        (None, "None; expected Description"),
        (A_DESCRIPTION(title=None), "None as Description.title; expected str"),
        (A_DESCRIPTION(version=PROVIDED), "PROVIDER as Description.version.kind; expected DESCRIBED"),
    ],
)
def test_what_is_no_description_is_told(value: object, sentence: str) -> None:
    with pytest.raises(SourceError) as caught:
        returning(value).describe(TRACK)
    assert told(caught) == sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "None; expected a list of Playlist"),
        (iter(()), "tuple_iterator; expected a list of Playlist"),
        ({"id": "1"}, "dict; expected a list of Playlist"),
        (["p1"], "str; expected Playlist"),
        ([A_PLAYLIST(1, "Friday")], "int as Playlist.id; expected str"),
        ([A_PLAYLIST("1", "Friday", "9")], "str as Playlist.tracks; expected int or None"),
        (
            [A_PLAYLIST("1", "Friday", 10**5000)],
            "too large a number as Playlist.tracks; expected one of up to 15 digits",
        ),
    ],
)
def test_what_are_no_playlists_is_told(value: object, sentence: str) -> None:
    with pytest.raises(SourceError) as caught:
        returning(value).playlists(TRACK)
    assert told(caught) == sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "None; expected a list of PlaylistTrack"),
        ([TRACK], "Track; expected PlaylistTrack"),
        ([A_ROW("t1")], "str as PlaylistTrack.track; expected Track"),
        ([A_ROW(A_TRACK("mine", 1))], "int as PlaylistTrack.track.id; expected str"),
        ([A_ROW(TRACK, 10**400)], "too large a number as PlaylistTrack.duration; expected one of up to 15 digits"),
        *(
            (
                [A_ROW(TRACK), A_ROW(A_TRACK(name, "1"))],
                "another name as PlaylistTrack.track.source; expected mine or url",
            )
            for name in ("", "file", "Bad Source!", "other")
        ),
    ],
)
def test_what_are_no_rows_is_told(value: object, sentence: str) -> None:
    with pytest.raises(SourceError) as caught:
        returning(value).playlist(TRACK, "1")
    assert told(caught) == sentence


def test_what_a_source_has_to_return_is_returned() -> None:
    origin = Origin(URL, httpx.Headers({"X": "5"}), PROVIDED)
    assert returning(origin).resolve(TRACK) is origin
    described = Description("Opus", version=Version(VersionKind.DESCRIBED, "size=9"))
    assert returning(described).describe(TRACK) == described
    playlists = (Playlist("1", "Friday"), Playlist("2", "", 0))
    assert returning(playlists).playlists(TRACK) == [*playlists]
    rows = [PlaylistTrack(TRACK, 9), PlaylistTrack(TRACK, 9.5), PlaylistTrack(TRACK)]
    assert returning(rows).playlist(TRACK, "1") == rows


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError])
def test_a_source_that_ends_more_than_itself_fails_its_track_only(error: type[BaseException]) -> None:
    class Ending:
        def resolve(self, track: Track) -> Origin:
            raise error(SECRET)

    with pytest.raises(SourceError) as caught:
        Account("mine", Ending()).resolve(TRACK)
    assert str(caught.value) == f"Opus: the source mine failed ({error.__name__})"


# --- a plugin that does what no source should


@dataclass
class Doing:
    """A third party's source that does as it is told, and then knows all tracks."""

    does: Callable[[], object]

    def resolve(self, track: Track) -> Origin:
        self.does()
        return Origin(URL)

    def describe(self, track: Track) -> Description:
        self.does()
        return Description()


def raising(error: BaseException) -> Callable[[], object]:
    def act() -> None:
        raise error

    return act


def error_of(account: Account) -> BaseException | None:
    """Return what comes of a track on a thread of the run, as in life."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(account.resolve, TRACK).exception()


A_TRACK_ERROR: Any = TrackError


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(SECRET), "SystemExit"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration(SECRET), "StopIteration"),
        (TimeoutError(SECRET), "TimeoutError"),
        (Cancelled(), "Cancelled"),
        (Busy(SECRET), "Busy"),
        (NoSpace.of(OSError(errno.ENOSPC, SECRET), Path(SECRET)), "NoSpace"),
        (A_TRACK_ERROR(TRACK.address, TRACK.label, None), "TrackError"),
        (A_TRACK_ERROR(TRACK.address, TRACK.label, SECRET, status="401"), "TrackError"),
        (A_TRACK_ERROR(TRACK.address, TRACK.label, SECRET, retry_after=1e18), "TrackError"),
        (A_TRACK_ERROR.__new__(A_TRACK_ERROR), "TrackError"),
    ],
)
def test_whatever_a_plugin_raises_fails_its_track_only(error: BaseException, name: str) -> None:
    told = error_of(Account("mine", Doing(raising(error)), web=web_for(60)))
    assert type(told) is SourceError
    assert str(told) == f"Opus: the source mine failed ({name})"


@pytest.mark.parametrize(
    "error",
    [TrackError(TRACK.address, TRACK.label, "no such number"), ConfigError("sources.mine.token", "it is not set")],
)
def test_what_a_plugin_may_raise_is_told_as_it_is(error: BaseException) -> None:
    assert error_of(Account("mine", Doing(raising(error)), web=web_for(60))) is error


def test_a_plugin_is_not_waited_for_once_the_run_is_cancelled() -> None:
    web, goes_on = web_for(60), threading.Event()

    def hang() -> None:
        web.cancel.set()
        goes_on.wait(30)

    assert type(error_of(Account("mine", Doing(hang), web=web))) is Cancelled
    assert not goes_on.is_set()
    goes_on.set()


def test_a_plugin_that_does_not_return_fails_its_track_in_time_and_is_soon_not_asked_any_more() -> None:
    goes_on, calls = threading.Event(), list[int]()

    def hang() -> None:
        calls.append(1)
        goes_on.wait(30)

    account = Account("mine", Doing(hang), web=web_for(0.05))
    told = [str(error_of(account)) for _ in range(9)]
    assert told[:8] == ["Opus: the source mine did not return within total_timeout"] * 8
    assert told[8] == "Opus: the source mine did not return from 8 calls, and is not asked until it does"
    come_true(lambda: len(calls) == 8)
    goes_on.set()
    come_true(lambda: error_of(account) is None)


def test_a_plugin_has_the_deadline_of_the_thread_that_asks_it() -> None:
    web, found = web_for(60), list[float]()
    account = Account("mine", Doing(lambda: found.append(web.deadline)), web=web)
    with web.one_deadline():
        account.resolve(TRACK)
        account.describe(TRACK)
        assert found == [web.deadline] * 2


@dataclass
class Telling:
    """A third party's source that says its own token back as what it knows of a track."""

    said: Description

    def resolve(self, track: Track) -> Origin:
        return Origin(URL, {"Authorization": f"Bearer {SECRET}"})

    def describe(self, track: Track) -> Description:
        return self.said


def test_what_a_third_party_says_of_the_header_that_it_sends_is_left_out() -> None:
    account = Account(
        "mine", Telling(Description(f"of {SECRET}", "E.P.", SECRET, Version(VersionKind.DESCRIBED, SECRET)))
    )
    account.resolve(TRACK)
    assert account.describe(TRACK) == Description("", "E.P.", "", None)


class Foul(TrackError):
    """An error of a third party, whose sentence is its own."""

    def __str__(self) -> str:
        return SECRET


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (f"no {SECRET}, no music", "no (hidden), no music"),
        (f"no\n{SECRET}\n\x1b[2J\u009b music", "no (hidden) [2J music"),
        (f"GET https://mine.example/a?b={quote(SECRET, safe='')} failed", "GET https://mine.example/a?… failed"),
        ("GET https://mine.example/s3cret%2f4711/a failed", "GET (hidden) failed"),
        ("GET https://mine.example/a?session=f00 failed", "GET https://mine.example/a?… failed"),
        ("a header Bearer c00kie/0815 was sent", "a header (hidden) was sent"),
        ("refused " + repr({"token": SECRET}), "refused {'token': '(hidden)'}"),
        ("x" * 5000, "x" * 1000),
    ],
)
@pytest.mark.parametrize("kind", [TrackError, SourceError, Unauthorized, Foul])
def test_no_secret_of_a_source_is_in_what_a_plugin_says_of_a_failure(
    reason: str, told: str, kind: type[TrackError]
) -> None:
    error = kind(SECRET, f"Opus {SECRET}", reason)
    web = web_for(60)
    web.hide({SECRET, quote(SECRET, safe="")})
    account = Account("mine", Once(error), web=web)
    account.resolve(TRACK)
    failed = error_of(account)
    assert str(failed).removesuffix("; check the credentials of [sources.mine]") == f"Opus: {told}"
    assert isinstance(failed, kind if kind is not Foul else TrackError)


@dataclass
class Once:
    """A third party's source that knows one origin, and then fails."""

    error: TrackError
    asked: int = 0

    def resolve(self, track: Track) -> Origin:
        self.asked += 1
        if self.asked > 1:
            raise self.error
        return Origin(URL, {"Authorization": "Bearer c00kie/0815"})


def test_no_secret_of_a_source_is_in_what_a_plugin_says_of_its_options() -> None:
    web = web_for(60)
    web.hide({SECRET, "4711"})
    failed = error_of(
        Account("mine", Doing(raising(ConfigError("sources.mine", f"{SECRET} is no 4711 nor 47110"))), web=web)
    )
    assert str(failed) == "sources.mine: (hidden) is no (hidden) nor 47110"


class Unmakeable(Asked):
    def __init__(self, config: SourceConfig, environ: Mapping[str, str], web: Web) -> None:
        super().__init__(config, environ, web)
        raise ConfigError(config.where, f"the token {self._token}\nis expired")


def test_no_secret_is_in_what_a_plugin_says_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.Asked", Unmakeable)
    with pytest.raises(ConfigError) as caught:
        asked(monkeypatch, URL)
    assert str(caught.value) == "sources.mine: the token (hidden) is expired"
