"""Playlists of a source: listing them, and exporting one by its name."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from importlib.metadata import EntryPoint, EntryPoints
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachestore.cache import Cache
from cachestore.config import Config, SourceConfig, load_config
from cachestore.errors import Cancelled, ConfigError, MixError, SourceError
from cachestore.playlists import PlaylistAddress, addresses, choose, list_playlists, parse_playlist, read_playlist
from cachestore.sources import registry
from cachestore.sources.base import Playlist, PlaylistTrack
from cachestore.track import Track
from exporter_plugin.export import export_mix
from exporter_plugin.mix import read_mix
from tests.raw_servers import Stall
from tests.stranger import manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cachestore.track import Origin
    from cachestore.web import Web
    from tests.conftest import StartRawServer, StartSubsonic
    from tests.library import Sample
    from tests.music_servers import Subsonic
    from tests.raw_servers import Answer
    from tests.stranger import Stranger

    Asked = Callable[[bytes], Answer]

FRIDAY = PlaylistAddress("home", "Friday")
PLAYLISTS = [Playlist("7", "Friday", 2), Playlist("8", "Saturday"), Playlist("9", "Twice"), Playlist("10", "Twice")]


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("home:playlist/Friday", FRIDAY),
        ("home:playlist/100% @ 7/8: Live", PlaylistAddress("home", "100% @ 7/8: Live")),
        ("home:playlist/playlist/x", PlaylistAddress("home", "playlist/x")),
        ("home:playlist/", None),
        ("home:playlists/Friday", None),
        ("home:t1", None),
        ("Friday.json", None),
        ("file:playlist/Friday", None),
        ("Home:playlist/Friday", None),
        ("https://home/playlist/Friday", None),
        (":playlist/Friday", None),
    ],
)
def test_an_address_has_the_name_as_it_is(text: str, address: PlaylistAddress | None) -> None:
    assert parse_playlist(text) == address
    assert address is None or str(address) == text


@settings(deadline=None)
@given(st.lists(st.builds(Playlist, st.text(min_size=1, max_size=2), st.text(max_size=2)), unique_by=lambda p: p.id))
def test_the_address_of_a_playlist_finds_it(playlists: list[Playlist]) -> None:
    found = addresses("home", playlists)
    for playlist in playlists:
        address = parse_playlist(str(found[playlist.id]))
        assert address is not None
        assert choose(address, playlists) is playlist


def test_an_address_has_the_name_where_that_is_enough_and_can_be_pasted() -> None:
    awkward = [Playlist("1", "8"), Playlist("2", "A\nB"), Playlist("3", ""), Playlist("4", "friday")]
    found = addresses("home", [*PLAYLISTS, *awkward])
    assert [address.wanted for address in found.values()] == [
        *("Friday", "Saturday", "9", "10"),
        *("1", "2", "3", "friday"),
    ]


@pytest.mark.parametrize(("wanted", "found"), [("7", "7"), ("Friday", "7"), ("fRIDAY", "7"), ("SATURDAY", "8")])
def test_a_playlist_is_wanted_by_id_or_by_name_in_any_case(wanted: str, found: str) -> None:
    assert choose(PlaylistAddress("home", wanted), PLAYLISTS).id == found


def test_the_exact_one_wins() -> None:
    like = [Playlist("1", "friday"), Playlist("2", "FRIDAY"), Playlist("Friday", "1")]
    for wanted, found in (("friday", "1"), ("FRIDAY", "2"), ("Friday", "Friday"), ("1", "1")):
        assert choose(PlaylistAddress("home", wanted), like).id == found


def test_a_name_is_found_however_its_accents_are_composed() -> None:
    playlist = Playlist("1", unicodedata.normalize("NFD", "Café"))
    assert choose(PlaylistAddress("home", unicodedata.normalize("NFC", "café")), [playlist]) is playlist


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("twice", "2 playlists have that name; name one by its id: home:playlist/9, home:playlist/10"),
        ("Firday", "there is no such playlist; did you mean home:playlist/Friday? (cachestore playlists home)"),
        ("Techno", "there is no such playlist (cachestore playlists home)"),
    ],
)
def test_a_name_that_names_none_or_several_is_one_sentence(wanted: str, sentence: str) -> None:
    with pytest.raises(MixError) as caught:
        choose(PlaylistAddress("home", wanted), PLAYLISTS)
    assert str(caught.value) == f"home:playlist/{wanted}: {sentence}"


# A real server


@pytest.fixture
def home(subsonic: StartSubsonic, stranger: Stranger, library: Mapping[str, Sample]) -> Subsonic:
    """A Subsonic server with three playlists, which the stranger has configured as ``home``."""
    server = subsonic()
    server.create_playlist("Friday", [library["mp3"].title, library["flac"].title])
    server.create_playlist("Twice", [library["mp3"].title])
    configure(stranger, server.url, server.user, server.password)
    return server


def configure(stranger: Stranger, url: str, user: str = "me", password: str = "pw-4e1f", **settings: float) -> Config:
    credentials = f"user = {json.dumps(user)}\npassword = {json.dumps(password)}\n"
    source = f'[sources.home]\nkind = "subsonic"\nurl = "{url}"\n{credentials}'
    stranger.configure(url, sources=source, **settings)
    return load_config(stranger.home / "config.toml", environ={})


def test_the_playlists_of_a_server_are_listed_with_what_to_paste(home: Subsonic, stranger: Stranger) -> None:
    listed = stranger.run("playlists", "home")
    assert listed.out.splitlines() == [
        "PLAYLIST  TRACKS  ADDRESS",
        "Friday         2  home:playlist/Friday",
        "Twice          1  home:playlist/Twice",
    ]
    assert listed.err == "2 playlists\n"
    assert stranger.run("playlists", "home", "--quiet").err == ""


def test_as_json_they_have_the_documented_keys(
    home: Subsonic, stranger: Stranger, library: Mapping[str, Sample]
) -> None:
    again = home.create_playlist("100% Fri & day", [library["ogg"].title])
    facts = {playlist["name"]: playlist for playlist in stranger.run("playlists", "home", "--json").facts}
    address = "home:playlist/100% Fri & day"
    assert facts["100% Fri & day"] == {"id": again, "name": "100% Fri & day", "tracks": 1, "address": address}
    assert f"'{address}'" in stranger.run("playlists", "home").out


def test_a_playlist_is_exported_by_its_name(home: Subsonic, stranger: Stranger, library: Mapping[str, Sample]) -> None:
    assert stranger.run("export", "home:playlist/friday", "DEST").out.startswith("tracks      2\ndownloaded  2\n")
    found = manifest(stranger.home / "DEST")
    mp3, flac = library["mp3"], library["flac"]
    assert found["name"] == "Friday"
    assert [track["label"] for track in found["tracks"]] == [f"{s.artist} - {s.title}" for s in (mp3, flac)]
    assert [path.read_bytes() for path in stranger.media()] == [mp3.data, flac.data]
    assert (stranger.home / "DEST" / "Friday.m3u8").is_file()


def test_a_playlist_is_exported_by_its_id_and_brought_up_to_date(home: Subsonic, stranger: Stranger) -> None:
    listed = {playlist["name"]: playlist["id"] for playlist in stranger.run("playlists", "home", "--json").facts}
    stranger.run("export", "home:playlist/Friday", "DEST")
    again = stranger.run("export", f"home:playlist/{listed['Friday']}", "DEST", "--json").facts
    assert (again["name"], again["cached"], again["downloaded"]) == ("Friday", 2, 0)


def test_python_exports_a_playlist_with_the_configuration_of_the_cache(home: Subsonic, stranger: Stranger) -> None:
    with Cache.open(load_config(stranger.home / "config.toml", environ={})) as cache:
        report = export_mix("home:playlist/Twice", stranger.home / "DEST", cache=cache)
    assert (report.name, report.total) == ("Twice", 1)


def test_a_file_of_the_very_name_goes_before_the_address(home: Subsonic, stranger: Stranger) -> None:
    (stranger.home / "home:playlist").mkdir()
    mix = {"name": "A File", "tracks": [{"path": "none.wav"}]}
    (stranger.home / "home:playlist" / "Friday").write_text(json.dumps(mix))
    assert "none.wav" in stranger.run("export", "home:playlist/Friday", "DEST", code=1).err
    assert home.requests("/rest/") == []


def test_a_wrong_password_is_77_and_never_shown(home: Subsonic, stranger: Stranger) -> None:
    configure(stranger, home.url, home.user, "wr0ng-pw")
    for arguments in (["playlists", "home"], ["export", "home:playlist/Friday", "DEST"]):
        ran = stranger.run(*arguments, code=77)
        assert ran.sentence.startswith("cachestore: the playlists of home: the server refused the credentials")
        assert "wr0ng" not in ran.err
    assert stranger.has_no_bundle()


# Servers that fail


def played(**answers: Answer | dict[str, Any]) -> Asked:
    """Return how a Subsonic server answers each method: JSON for a table, else the bytes; ``ping`` is always fine."""

    def answer(head: bytes) -> Answer:
        method = head.split(b"/rest/")[1].split(b".view")[0].decode()
        found = answers.get(method, {})
        return as_json(found) if isinstance(found, dict) else found

    return answer


def as_json(fields: dict[str, Any]) -> bytes:
    body = json.dumps({"subsonic-response": {"status": "ok", "version": "1.16.1", **fields}}).encode()
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def status(line: str, *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {line}", *fields, "Content-Length: 0", "Connection: close", "", ""]).encode()


LISTED = {"playlists": {"playlist": [{"id": "7", "name": "Friday", "songCount": 2}]}}


@pytest.mark.parametrize(
    ("answers", "code", "sentence"),
    [
        ({"getPlaylists": status("503 x")}, 75, "the playlists of home: the server answered 503 Service Unavailable"),
        ({"getPlaylists": status("401 x")}, 77, "the playlists of home: the server refused the credentials"),
        ({"getPlaylists": status("418 x")}, 1, "the playlists of home: the server answered 418"),
        ({"getPlaylists": LISTED, "getPlaylist": status("500 x")}, 75, "7 of home: the server answered 500"),
        ({"getPlaylists": {"playlists": {}}}, 2, "home:playlist/Friday: there is no such playlist"),
        (
            {"getPlaylists": LISTED, "getPlaylist": {"playlist": {"id": "7"}}},
            2,
            "home:playlist/Friday: the playlist is empty; expected at least one track",
        ),
    ],
)
def test_a_playlist_that_cannot_be_had_is_one_sentence(
    stranger: Stranger, raw_server: StartRawServer, answers: dict[str, Any], code: int, sentence: str
) -> None:
    configure(stranger, raw_server(played(**answers)).url)
    told = stranger.run("export", "home:playlist/Friday", "DEST", code=code).sentence
    assert sentence in told
    assert stranger.has_no_bundle()


def test_without_a_server_it_is_temporary(stranger: Stranger, closed_port: int) -> None:
    configure(stranger, f"http://127.0.0.1:{closed_port}")
    stranger.run("playlists", "home", code=75)


def test_the_events_of_an_export_that_has_no_playlist_end(stranger: Stranger, raw_server: StartRawServer) -> None:
    configure(stranger, raw_server(played(getPlaylists=status("401 x"))).url)
    ran = stranger.run("export", "home:playlist/Friday", "DEST", "--events", "ndjson", code=77)
    [end] = map(json.loads, ran.out.splitlines())
    assert (end["type"], end["result"], end["exit_code"]) == ("end", "failed", 77)


def test_a_source_without_playlists_and_one_that_is_not_there_say_so(stranger: Stranger) -> None:
    stranger.configure("http://127.0.0.1:9")
    assert stranger.run("playlists", "open", code=1).sentence.endswith("the source open has no playlists")
    sentence = stranger.run("playlists", "opne", code=2).sentence
    assert "there is no table [sources.opne]; did you mean open?" in sentence
    assert stranger.run("export", "opne:playlist/x", "DEST", code=2).sentence == sentence


def test_offline_asks_nobody_for_a_playlist(stranger: Stranger, raw_server: StartRawServer) -> None:
    server = raw_server(played(getPlaylists=LISTED))
    configure(stranger, server.url)
    told = stranger.run("export", "home:playlist/Friday", "DEST", "--offline", code=2).sentence
    assert told.startswith("cachestore: home:playlist/Friday: offline, no server is asked what is in it; export it ")
    assert server.received == []
    assert not stranger.root.exists()


def test_offline_builds_no_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cachestore.sources.crew.open_web", lambda *_, **__: pytest.fail("a client was built"))
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(MixError):
        read_mix("home:playlist/Friday", config=load_config(tmp_path / "config.toml"), offline=True)


@pytest.mark.parametrize(
    ("entry", "row"),
    [
        ({"id": "1", "title": "A\n\x1b[2JB", "artist": "\ud83d"}, ("A [2JB", "\N{REPLACEMENT CHARACTER}", None)),
        ({"id": "1", "duration": 61.5}, ("", "", 61.5)),
        ({"id": "1", "duration": 0}, ("", "", None)),
        ({"id": "1", "duration": 1e30}, ("", "", None)),
    ],
)
def test_what_a_server_says_of_a_row_can_be_shown(
    stranger: Stranger, raw_server: StartRawServer, entry: dict[str, object], row: tuple[str, str, float | None]
) -> None:
    answers = played(getPlaylists=LISTED, getPlaylist={"playlist": {"id": "7", "entry": [entry]}})
    mix = read_mix("home:playlist/7", config=configure(stranger, raw_server(answers).url))
    [read] = mix.rows
    assert (read.track.title, read.track.artist, read.file_length) == row
    assert (mix.name, read.address) == ("Friday", "home:1")


# Cancelling


def waiting_for(answers: Asked) -> tuple[Asked, threading.Event]:
    """Return the server's answers, and what is set once it was asked for playlists."""
    asked = threading.Event()

    def answer(head: bytes) -> Answer:
        if b"getPlaylist" in head:
            asked.set()
        return answers(head)

    return answer, asked


PROMISE = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
STALLS: dict[str, dict[str, Answer | dict[str, Any]]] = {
    "before the headers": {"getPlaylists": Stall()},
    "in the body": {"getPlaylists": Stall(PROMISE)},
    "at the rows": {"getPlaylists": LISTED, "getPlaylist": Stall(PROMISE)},
    "before a retry": {"getPlaylists": status("503 x", "Retry-After: 50")},
}


@pytest.mark.parametrize("where", STALLS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_asking_within_three_seconds(
    stranger: Stranger, raw_server: StartRawServer, where: str, number: signal.Signals
) -> None:
    answers, asked = waiting_for(played(**STALLS[where]))
    configure(stranger, raw_server(answers).url, retries=3)
    with stranger.start("export", "home:playlist/Friday", "DEST", "--events", "ndjson") as process:
        assert asked.wait(20)
        out, took = cancelled(process, number)
    assert took < 3
    assert process.returncode == 128 + number
    assert json.loads(out.splitlines()[-1])["result"] == "cancelled"
    assert stranger.has_no_bundle()


def cancelled(process: subprocess.Popen[str], number: signal.Signals) -> tuple[str, float]:
    """Send a signal; return stdout, and how many seconds the process went on."""
    process.send_signal(number)
    sent = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert "Traceback" not in err
    return out, time.monotonic() - sent


def test_a_signal_ends_the_listing(stranger: Stranger, raw_server: StartRawServer) -> None:
    answers, asked = waiting_for(played(getPlaylists=Stall()))
    configure(stranger, raw_server(answers).url)
    with stranger.start("playlists", "home") as process:
        assert asked.wait(20)
        _, took = cancelled(process, signal.SIGINT)
    assert took < 3
    assert process.returncode == 130


def test_the_end_of_standard_input_ends_the_listing_where_that_is_asked_for(
    stranger: Stranger, raw_server: StartRawServer
) -> None:
    answers, asked = waiting_for(played(getPlaylists=Stall()))
    configure(stranger, raw_server(answers).url)
    command = [sys.executable, "-m", "cachestore", "playlists", "home", "--cancel-on-stdin-eof"]
    environment = os.environ | stranger.environment
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stderr
        assert asked.wait(20)
        process.stdin.close()
        ended = time.monotonic()
        assert process.stderr.read().startswith("cachestore: cancelled")
        assert process.wait(20) == 130
    assert time.monotonic() - ended < 3


HANGING = """
import threading
class Hanging:
    def __init__(self, config, environ, web):
        pass
    def resolve(self, track):
        raise NotImplementedError
    def playlists(self):
        print("asked", flush=True)
        threading.Event().wait()
    def playlist(self, playlist_id):
        raise NotImplementedError
"""


def test_a_signal_ends_a_plugin_that_hangs_on_its_own(stranger: Stranger, tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    package = tmp_path / "hanging-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: hanging\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[cachestore.sources]\nhanging = hanging:Hanging\n")
    stranger.environment["PYTHONPATH"] = str(tmp_path)
    stranger.configure("http://127.0.0.1:9", sources='[sources.home]\nkind = "hanging"\n')
    with stranger.start("playlists", "home") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        _, took = cancelled(process, signal.SIGTERM)
    assert took < 3
    assert process.returncode == 143


def test_python_is_cancelled_by_an_event(stranger: Stranger, raw_server: StartRawServer) -> None:
    answers, asked = waiting_for(played(getPlaylists=Stall()))
    config = configure(stranger, raw_server(answers).url)
    cancel = threading.Event()

    def cancel_when_asked() -> None:
        asked.wait(20)
        cancel.set()

    threading.Thread(target=cancel_when_asked).start()
    with pytest.raises(Cancelled):
        list_playlists(config, "home", cancel=cancel)
    assert not [thread for thread in threading.enumerate() if thread.name == "crew"]


# A source of a third party


class Crate:
    """A third party's source with one playlist."""

    def __init__(self, config: SourceConfig, environ: Mapping[str, str], web: Web) -> None:
        self._name = config.name

    def resolve(self, track: Track) -> Origin:
        raise NotImplementedError

    def playlists(self) -> list[Playlist]:
        return [Playlist("7", "Friday\n")]

    def playlist(self, playlist_id: str) -> list[PlaylistTrack]:
        assert playlist_id == "7"
        return [PlaylistTrack(Track(self._name, "1", title="Opus"), 9.0), PlaylistTrack(Track(self._name, "a\nb"))]


class Broken(Crate):
    """One that fails with a secret in its words."""

    def playlists(self) -> list[Playlist]:
        raise RuntimeError("token=s3cret")


class Halting(Crate):
    """One that lists a playlist and has no rows."""

    def playlist(self, playlist_id: str) -> list[PlaylistTrack]:
        raise RuntimeError("token=s3cret")


class Undone(Crate):
    """One that is cancelled by itself when it is made."""

    def __init__(self, config: SourceConfig, environ: Mapping[str, str], web: Web) -> None:
        raise asyncio.CancelledError("s3cret")


class Cancelling(Crate):
    """One that is cancelled by itself when it is asked."""

    def playlists(self) -> list[Playlist]:
        raise asyncio.CancelledError("s3cret")


class Straying(Crate):
    """One whose playlist has a row of nobody."""

    def playlist(self, playlist_id: str) -> list[PlaylistTrack]:
        return [PlaylistTrack(Track("nobody", "1"))]


@pytest.fixture
def crates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
    """A configuration with the sources ``crate``, ``broken`` and so on, by the names of the classes above."""
    names = ("crate", "broken", "halting", "undone", "cancelling", "straying")
    points = EntryPoints(EntryPoint(name, f"{__name__}:{name.title()}", registry._GROUP) for name in names)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points.select(group=group))
    return Config(root=tmp_path, sources={name: SourceConfig(name, name, {}) for name in names})


def test_a_third_party_can_have_playlists(crates: Config) -> None:
    playlist, rows = read_playlist(crates, PlaylistAddress("crate", "7"))
    assert (playlist.name, [row.track.id for row in rows]) == ("Friday\n", ["1", "a\nb"])


def test_an_id_that_could_break_a_line_is_refused_with_its_place(crates: Config) -> None:
    with pytest.raises(MixError, match=r"^crate:playlist/7, track 2: its id is empty or holds control"):
        read_mix("crate:playlist/7", config=crates)


def test_the_words_of_a_third_party_are_not_shown(crates: Config) -> None:
    with pytest.raises(SourceError) as caught:
        list_playlists(crates, "broken")
    assert str(caught.value) == "the playlists of broken: the source broken failed (RuntimeError)"
    with pytest.raises(SourceError) as caught:
        read_playlist(crates, PlaylistAddress("halting", "7"))
    assert str(caught.value) == "the playlist 7 of halting: the source halting failed (RuntimeError)"


def test_a_third_party_that_is_cancelled_by_itself_has_failed(crates: Config) -> None:
    with pytest.raises(ConfigError, match=r"the plugin of kind undone failed \(CancelledError\); update") as unmade:
        list_playlists(crates, "undone")
    with pytest.raises(SourceError, match=r": the source cancelling failed \(CancelledError\)$") as unasked:
        list_playlists(crates, "cancelling")
    assert "s3cret" not in f"{unmade.value}{unasked.value}"


def test_a_row_of_another_source_is_an_error_of_its_playlist(crates: Config) -> None:
    with pytest.raises(SourceError, match=r"^the playlist 7 of straying: .* as PlaylistTrack\.track\.source"):
        read_playlist(crates, PlaylistAddress("straying", "7"))
