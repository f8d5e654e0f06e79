from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import respx
from hypothesis import given, settings
from hypothesis import strategies as st

from cachestore.config import Config, SourceConfig
from cachestore.errors import ConfigError, NotFound, SourceError
from cachestore.sources.registry import Sources
from cachestore.sources.template import Template
from cachestore.track import Origin, Track, url_track
from tests.downloads import played

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cachestore.web.web import Web

STREAM = "https://music.example/api/tracks/{id}/stream"
BEARER = {"Authorization": "Bearer ${STUDIO_TOKEN}"}
ENVIRON = {"STUDIO_TOKEN": "tok-7c1d"}


def unasked() -> Web:
    """Return a web that no request may be made with."""
    return played(respx.Router(), 1.0)


def sources(environ: Mapping[str, str] = ENVIRON, **tables: Mapping[str, object]) -> Sources:
    made = {
        name: SourceConfig(name, str(table.get("kind", "http")), {k: v for k, v in table.items() if k != "kind"})
        for name, table in tables.items()
    }
    return Sources(Config(root=Path("/nowhere"), sources=made), unasked(), environ)


def resolve(made: Sources, track: Track) -> Origin:
    return made.account_of(track).resolve(track)


def mistake(made: Sources, track: Track) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(made, track)
    return str(caught.value)


def test_an_http_source_puts_the_id_into_its_template_and_sends_its_headers() -> None:
    origin = resolve(sources(studio={"url": STREAM, "headers": BEARER}), Track("studio", "t42"))
    assert origin == Origin("https://music.example/api/tracks/t42/stream", {"Authorization": "Bearer tok-7c1d"})


def test_an_id_is_encoded_to_the_last_slash_so_that_it_cannot_leave_its_place() -> None:
    origin = resolve(sources(studio={"url": STREAM}), Track("studio", "a/b ?c#d%2F@é{id}"))
    assert origin.url == "https://music.example/api/tracks/a%2Fb%20%3Fc%23d%252F%40%C3%A9%7Bid%7D/stream"


@pytest.mark.parametrize(
    ("template", "url", "asked"),
    [
        ("https://dj:pw@nas/{id}", "https://nas/a.flac", "https://dj:pw@nas/a.flac"),
        ("https://nas/{id}?token=tok&v=1", "https://nas/a?id=2", "https://nas/a?id=2&token=tok"),
        ("https://nas/{id}?token=${STUDIO_TOKEN}", "https://nas/a", "https://nas/a?token=tok-7c1d"),
        ("https://nas/{id}?token=tok", "https://nas/a?token=its", "https://nas/a?token=its"),
        ("https://dj:pw@nas/{id}?token=tok", "https://me:its@nas/a", "https://me:its@nas/a"),
        ("https://nas/a?v=1&sig={id}", "https://nas/a", "https://nas/a"),
        ("https://dj:pw@nas/music/{id}", "https://nas/other/a", "https://nas/other/a"),
        ("https://dj:pw@nas/{id}?token=tok", "https://nas:8443/a", "https://nas:8443/a"),
    ],
)
def test_a_url_below_a_source_is_asked_with_the_credentials_of_its_url_unless_it_has_its_own(
    template: str, url: str, asked: str
) -> None:
    track = url_track(url)
    assert resolve(sources(nas={"url": template}), track).url == asked
    assert track == url_track(url)


@pytest.mark.parametrize("track_id", ["..", ".", "../../admin", "x/../../admin", "..\\admin", "..;/admin"])
def test_an_id_that_steps_back_is_refused(track_id: str) -> None:
    with pytest.raises(SourceError, match="step of a path"):
        resolve(sources(studio={"url": STREAM}), Track("studio", track_id))


def test_an_id_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(SourceError, match="no valid Unicode"):
        resolve(sources(studio={"url": STREAM}), Track("studio", "\ud800"))


def test_variables_are_expanded_in_the_url_too() -> None:
    made = sources({"HOST": "music.example"}, studio={"url": "https://${HOST}/{id}"})
    assert resolve(made, Track("studio", "t1")).url == "https://music.example/t1"


def test_variables_are_expanded_only_when_the_source_is_used() -> None:
    made = sources({}, studio={"url": STREAM, "headers": BEARER}, open={"url": STREAM})
    assert resolve(made, Track("open", "t1")).headers == {}
    said = mistake(made, Track("studio", "t1"))
    assert said.startswith("sources.studio.headers.Authorization: ")
    assert "STUDIO_TOKEN" in said


@pytest.mark.parametrize("token", ["", "tok\nX-Evil: 1", "tok\r", "tok\0", "tok\u20ac", "tok "])
def test_a_header_that_http_cannot_carry_is_refused_without_showing_it(token: str) -> None:
    made = sources({"STUDIO_TOKEN": token}, studio={"url": STREAM, "headers": BEARER})
    assert mistake(made, Track("studio", "t1")).startswith("sources.studio.headers.Authorization: the value is empty")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"url": STREAM, "haeders": {}}, "sources.studio.haeders: there is no such option; did you mean headers?"),
        ({"url": STREAM, "reslove_url": STREAM}, "sources.studio.reslove_url: there is no such option; did you mean"),
        ({}, "sources.studio.url: the option is missing; expected it, or resolve_url"),
        ({"url": 7}, "sources.studio.url: expected a text"),
        ({"url": "ftp://music.example/{id}"}, "sources.studio.url: expected an http(s) URL"),
        ({"url": "music.example/{id}"}, "sources.studio.url: expected an http(s) URL"),
        ({"url": "https:///{id}"}, "sources.studio.url: expected an http(s) URL"),
        ({"url": "https://music.example:port/{id}"}, "sources.studio.url: expected an http(s) URL"),
        ({"url": "https://music.example/tracks"}, "sources.studio.url: expected {id}"),
        ({"url": "https://{id}.music.example/"}, "sources.studio.url: expected {id}"),
        ({"url": "https://music.example/{id}/{format}"}, "sources.studio.url: expected {id}"),
        ({"url": STREAM, "headers": "Bearer x"}, "sources.studio.headers: expected a table"),
        ({"url": STREAM, "headers": {"X-Level": 3}}, "sources.studio.headers.X-Level: expected a text"),
        ({"url": STREAM, "headers": {"X Y": "z"}}, "sources.studio.headers.X Y: this cannot be the name of a header"),
        ({"kind": "htpp", "url": STREAM}, "sources.studio.kind: there is no kind htpp; did you mean http?"),
        ({"url": STREAM, "resolve_url": STREAM}, "sources.studio: expected url, the stream's own, or resolve_url, "),
        ({"url": STREAM, "stream_pointer": "/a"}, "sources.studio.stream_pointer: there is no document to point into"),
        ({"url": STREAM, "version_pointer": ""}, "sources.studio.version_pointer: there is no document to point into"),
        ({"resolve_url": STREAM}, "sources.studio.stream_pointer: the option is missing; expected where"),
        ({"resolve_url": "x/{id}", "stream_pointer": "/a"}, "sources.studio.resolve_url: expected an http(s) URL"),
        ({"resolve_url": STREAM, "stream_pointer": "stream"}, "sources.studio.stream_pointer: expected a JSON pointer"),
        ({"resolve_url": STREAM, "stream_pointer": "#/a"}, "sources.studio.stream_pointer: expected a JSON pointer"),
        ({"resolve_url": STREAM, "stream_pointer": "/a~2"}, "sources.studio.stream_pointer: expected a JSON pointer"),
        (
            {"resolve_url": STREAM, "stream_pointer": "/a", "version_pointer": 7},
            "sources.studio.version_pointer: expected a text",
        ),
        ({"url": STREAM, "credential_command": "pass show"}, "sources.studio.credential_command: expected a program"),
        ({"url": STREAM, "credential_command": []}, "sources.studio.credential_command: expected a program"),
        ({"url": STREAM, "credential_command": [""]}, "sources.studio.credential_command: expected a program"),
        ({"url": STREAM, "credential_command": ["pass", 1]}, "sources.studio.credential_command: expected a program"),
    ],
)
def test_a_mistake_in_a_source_names_its_place_and_what_was_expected(table: dict[str, object], said: str) -> None:
    assert mistake(sources(studio=table), Track("studio", "t1")).startswith(said)


def test_a_mistake_in_one_source_stops_no_other() -> None:
    made = sources(broken={"kind": "htpp"}, home={"kind": "subsonic"}, open={"url": 7}, studio={"url": STREAM})
    assert resolve(made, Track("studio", "t1")).url.startswith("https://music.example/")
    assert resolve(made, url_track("https://other.example/a.mp3")).headers == {}


def test_an_unknown_source_is_named_with_the_nearest_or_the_known_ones() -> None:
    said = mistake(sources(studio={"url": STREAM}, home={"url": STREAM}), Track("studoi", "t1"))
    assert said == "the configuration: there is no table [sources.studoi]; did you mean studio?"
    unlike = mistake(sources(studio={"url": STREAM}, home={"url": STREAM}), Track("xyz", "t1"))
    assert unlike == "the configuration: there is no table [sources.xyz] (known: studio, home)"
    assert "(known: none)" in mistake(sources(), Track("studio", "t1"))


def test_a_bare_url_is_its_own_origin() -> None:
    url = "https://cdn.example/a.flac?X-Amz-Signature=s3cret"
    assert resolve(sources(), url_track(url)) == Origin(url)


def test_a_url_track_whose_url_was_not_kept_asks_for_the_whole_url() -> None:
    with pytest.raises(SourceError, match="give the URL itself again"):
        resolve(sources(), Track("url", "https://cdn.example/a.flac#89abcdef01234567"))


@pytest.mark.parametrize(
    "url",
    [
        "https://music.example/api/tracks/t42/stream",
        "https://music.example:443/api/tracks/t42/stream?quality=raw",
        "HTTPS://MUSIC.example/api/%74racks/t42",
        "https://music.example/api/tracks/",
    ],
)
def test_a_url_below_a_source_gets_the_headers_of_that_source(url: str) -> None:
    made = sources(studio={"url": STREAM, "headers": BEARER})
    assert resolve(made, url_track(url)) == Origin(url, {"Authorization": "Bearer tok-7c1d"})


@pytest.mark.parametrize(
    "url",
    [
        "http://music.example/api/tracks/t42",
        "https://music.example:8443/api/tracks/t42",
        "https://music.example.evil.example/api/tracks/t42",
        "https://music.example@evil.example/api/tracks/t42",
        "https://evil.example/api/tracks/t42?https://music.example/api/tracks/",
        "https://music.example/api/other",
        "https://music.example/api/tracks",
        "https://music.example/api/tracks/../../admin",
        "https://music.example/api/tracks/%2e%2e/%2E%2e/admin",
        "https://music.example/api/tracks/%252e%252e/admin",
        "https://music.example/api/tracks/..%2f..%2fadmin",
        "https://music.example/api/tracks/..;/admin",
        "https://music.example/api/tracks/..%5cadmin",
    ],
)
def test_credentials_never_go_to_another_origin_or_path(url: str) -> None:
    made = sources(studio={"url": STREAM, "headers": BEARER})
    assert resolve(made, url_track(url)).headers == {}


def test_where_the_id_stands_in_the_query_the_path_must_be_the_same() -> None:
    made = sources(studio={"url": "https://music.example/stream?id={id}", "headers": BEARER})
    assert resolve(made, url_track("https://music.example/stream?id=t1")).headers
    assert not resolve(made, url_track("https://music.example/stream2?id=t1")).headers


def test_a_source_with_documents_covers_no_url_since_below_it_are_documents() -> None:
    table = {"resolve_url": "https://music.example/api/{id}", "stream_pointer": "/stream", "headers": BEARER}
    assert not resolve(sources(studio=table), url_track("https://music.example/api/t1")).headers


def test_of_two_sources_above_a_url_the_deeper_one_counts() -> None:
    made = sources(
        outer={"url": "https://music.example/{id}", "headers": {"X-From": "outer"}},
        inner={"url": STREAM, "headers": {"X-From": "inner"}},
    )
    assert resolve(made, url_track("https://music.example/api/tracks/t1")).headers == {"X-From": "inner"}
    assert resolve(made, url_track("https://music.example/other")).headers == {"X-From": "outer"}


def test_a_url_is_below_a_source_in_either_spelling_of_an_international_name() -> None:
    made = sources(studio={"url": "https://müsic.example/{id}", "headers": BEARER})
    assert resolve(made, url_track("https://xn--msic-0ra.example/t1")).headers
    assert resolve(made, url_track("https://MÜSIC.example/t1")).headers


class Counted(dict[str, str]):
    """An environment that counts how often a variable is read."""

    reads = 0

    def __getitem__(self, name: str) -> str:
        self.reads += 1
        return super().__getitem__(name)


def test_however_many_urls_there_are_each_source_is_read_once() -> None:
    environ = Counted(HOST="music.example")
    made = sources(environ, studio={"url": "https://${HOST}/{id}"})
    for number in range(9):
        resolve(made, url_track(f"https://other.example/{number}"))
    assert environ.reads == 1


def test_a_url_below_a_source_with_a_mistake_tells_the_mistake() -> None:
    made = sources({}, studio={"url": STREAM, "headers": BEARER})
    assert "STUDIO_TOKEN" in mistake(made, url_track("https://music.example/api/tracks/t1"))


@settings(deadline=None)
@given(path=st.text(alphabet="a./%25eEfFc\\;tracks", max_size=30))
def test_no_spelling_of_a_path_leads_out_of_the_template(path: str) -> None:
    template = Template.parse("", "https://music.example/tracks/{id}", {})
    if template.covers(f"https://music.example/tracks/{path}"):
        assert ".." not in path.replace("%2e", ".").replace("%2E", ".").split("/")


class Shelf:
    """A third party's source."""

    def __init__(self, config: SourceConfig, environ: Mapping[str, str], web: Web) -> None:
        self.base = config.options["base"]

    def resolve(self, track: Track) -> Origin:
        if track.id == "gone":
            raise NotFound(track.address, track.label, "not on the shelf")
        if track.id == "crash":
            raise RuntimeError("token=s3cret")
        return Origin(f"{self.base}/{track.id}")


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Sources:
    points = EntryPoints([EntryPoint("shelf", f"{__name__}:Shelf", "cachestore.sources")])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points.select(group=group))
    return sources(
        books={"kind": "shelf", "base": "https://shelf.example"}, empty={"kind": "shelf"}, other={"kind": "shelves"}
    )


def test_a_kind_of_a_third_party_is_found_by_its_entry_point(shelf: Sources) -> None:
    assert resolve(shelf, Track("books", "t1")) == Origin("https://shelf.example/t1")
    assert shelf.account_of(Track("books", "t1")) is shelf.account_of(Track("books", "t2"))


def test_a_third_party_fails_its_track_only_and_its_words_are_not_shown(shelf: Sources) -> None:
    with pytest.raises(NotFound):
        resolve(shelf, Track("books", "gone"))
    with pytest.raises(SourceError) as caught:
        resolve(shelf, Track("books", "crash"))
    assert str(caught.value) == "books:crash: the source books failed (RuntimeError)"


def test_a_third_party_that_cannot_start_is_a_mistake_of_the_configuration(shelf: Sources) -> None:
    said = mistake(shelf, Track("empty", "t1"))
    assert said == "sources.empty: the plugin of kind shelf failed (KeyError); update or remove it"


def test_a_url_starts_no_source_of_a_third_party(shelf: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: pytest.fail(f"{group} was looked up"))
    assert resolve(shelf, url_track("https://shelf.example/t1")).headers == {}


def test_the_kinds_of_third_parties_are_named_among_the_known(shelf: Sources) -> None:
    assert "did you mean shelf?" in mistake(shelf, Track("other", "t1"))
