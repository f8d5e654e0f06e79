from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from cachestore.config import Config, SourceConfig, expand
from cachestore.errors import SourceError, TrackError, Unauthorized
from cachestore.sources import registry
from cachestore.sources.account import Account
from cachestore.sources.base import Description, Playlist, PlaylistTrack
from cachestore.sources.registry import Sources
from cachestore.track import Origin, Track
from cachestore.version import Version, VersionKind
from cachestore.web.retries import Retries
from cachestore.web.web import Web

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    table = {"token": "${TK}", "to": to}
    config = Config(root=Path("/nowhere"), sources={"mine": SourceConfig("mine", "asked", table)})
    web = Web(
        httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(500))), Retries(0, 1.0), threading.Event()
    )
    return Sources(config, web, {"TK": SECRET}).account("mine")


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
    assert returning(described).describe(TRACK) is described
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
