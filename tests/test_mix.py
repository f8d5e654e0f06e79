"""A mix is read whole, or one sentence says what is wrong where."""

from __future__ import annotations

import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachestore.errors import MixError
from cachestore.track import Track, url_track
from exporter_plugin.mix import read_mix
from exporter_plugin.row import Mix, Row


def mix_of(folder: Path, *tracks: object, **fields: object) -> Mix:
    file = folder / "friday.json"
    file.write_text(json.dumps({"tracks": tracks, **fields}))
    return read_mix(file)


def row_of(folder: Path, **track: object) -> Row:
    [row] = mix_of(folder, track).rows
    return row


def playlist_of(folder: Path, *lines: str, name: str = "friday.m3u8") -> Mix:
    file = folder / name
    file.write_bytes("\r\n".join(lines).encode())
    return read_mix(file)


def from_stdin(content: str | bytes) -> Mix:
    return read_mix("-", stdin=io.BytesIO(content.encode() if isinstance(content, str) else content))


# JSON


def test_a_cloud_track_is_read_with_all_that_is_said_of_it(tmp_path: Path) -> None:
    cloud = {"source": "studio", "id": "t42", "version": '"v1"', "title": "Opus", "artist": "E.P.", "album": "A"}
    row = row_of(tmp_path, **cloud, duration=312.4, mood="ignored")
    assert row == Row(Track("studio", "t42", '"v1"', "Opus", "E.P.", "A"), duration=312.4)
    assert (row.label, row.address, row.identity) == ("E.P. - Opus", "studio:t42", 'studio:t42@"v1"')


def test_a_duration_of_zero_is_an_unknown_one(tmp_path: Path) -> None:
    assert row_of(tmp_path, path="a.wav", duration=0).duration is None


def test_a_track_is_read_with_its_place_on_the_timeline(tmp_path: Path) -> None:
    placed = {"start": 300, "offset": 12.5, "fade_in": 4, "fade_out": 8.25, "bpm": 124, "key": "8A"}
    row = row_of(tmp_path, source="s", id="1", **placed)
    assert row == Row(Track("s", "1"), bpm=124, musical_key="8A", start=300, offset=12.5, fade_in=4, fade_out=8.25)
    assert row_of(tmp_path, path="a.wav", start=0).start == 0
    assert row_of(tmp_path, path="a.wav", start=None, offset=None).start is None


def test_a_url_is_a_track_whose_identity_has_no_secrets(tmp_path: Path) -> None:
    row = row_of(tmp_path, url="https://me:pw@example.org/a/Song%201.flac?token=secret", title="")
    assert row.track.url == "https://me:pw@example.org/a/Song%201.flac?token=secret"
    assert row.address == "url:https://example.org/a/Song%25201.flac"
    assert (row.label, row.fallback) == (row.address, "Song 1")
    own = row_of(tmp_path, url="https://example.org/x", id="mine")
    assert (own.address, own.fallback) == ("url:example.org#mine", "mine")


def test_two_urls_that_differ_in_a_credential_only_are_refused_unless_they_have_ids(tmp_path: Path) -> None:
    """A share link may say by its token which track it is: then one of the two would be exported twice."""
    links = [{"url": f"https://example.org/dl?token={token}"} for token in ("AAA", "BBB")]
    with pytest.raises(MixError) as caught:
        mix_of(tmp_path, {"path": "a.wav"}, *links)
    assert caught.value.place == "track 3"
    assert str(caught.value).endswith(
        'but for a credential its URL is that of track 2, so that both are one track; expected an "id" for each, '
        "in a mix in JSON (the same one if they are the same track)"
    )
    assert "AAA" not in str(caught.value)
    with pytest.raises(MixError, match=r"track 2: but for a credential its URL is that of track 1"):
        playlist_of(tmp_path, "#EXTM3U", *(link["url"] for link in links))
    with pytest.raises(MixError, match=r"track 2: but for a credential"):
        from_stdin(json.dumps({"tracks": links}))
    assert (
        len({row.identity for row in mix_of(tmp_path, *({**link, "id": link["url"][-3:]} for link in links)).rows}) == 2
    )
    assert len({row.identity for row in mix_of(tmp_path, *({**link, "id": "one"} for link in links)).rows}) == 1
    assert len(mix_of(tmp_path, links[0], links[0]).rows) == 2


def test_a_local_path_is_relative_to_the_mix(tmp_path: Path) -> None:
    row = row_of(tmp_path, path="Local/Intro.wav")
    assert row.path == tmp_path / "Local/Intro.wav"
    assert (row.address, row.identity, row.label) == ("Local/Intro.wav", "file:Local/Intro.wav", "Intro")


def test_a_local_name_is_found_in_either_normal_form(tmp_path: Path) -> None:
    there = tmp_path / unicodedata.normalize("NFD", "Rós.wav")
    there.touch()
    assert row_of(tmp_path, path="Rós.wav").path == there


def test_the_name_of_a_mix_is_its_own_or_that_of_its_file(tmp_path: Path) -> None:
    assert mix_of(tmp_path, {"path": "a.wav"}, name="Friday Warm-up").name == "Friday Warm-up"
    assert mix_of(tmp_path, {"path": "a.wav"}).name == "friday"


def test_standard_input_is_json_or_a_playlist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read = from_stdin('{"tracks": [{"path": "a.wav"}]}')
    assert (read.name, read.rows[0].path) == ("", tmp_path / "a.wav")
    assert from_stdin("#EXTM3U\na.wav\n").rows[0].path == tmp_path / "a.wav"


def test_a_byte_order_mark_and_null_fields_are_fine(tmp_path: Path) -> None:
    read = from_stdin('\ufeff{"tracks": [{"path": "a.wav", "title": null, "url": null}]}')
    assert [row.address for row in read.rows] == ["a.wav"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"tracks": [{"path": "a"}], "tracks": [{"path": "b"}]}', 'standard input: it has "tracks" more than once'),
        (
            '{"tracks": [{"path": "a"}, {"path": "b", "title": "", "path": "c"}]}',
            'standard input, track 2: it has "path" more than once; expected each field once',
        ),
        (
            '{"tracks": [{"path": "a", "bpm": 120, "bpm": 121}]}',
            'standard input, track 1: it has "bpm" more than once; expected each field once',
        ),
    ],
)
def test_a_field_that_stands_twice_throws_no_part_of_a_mix_away(content: str, sentence: str) -> None:
    with pytest.raises(MixError) as caught:
        from_stdin(content)
    assert str(caught.value).startswith(sentence)


def test_a_field_that_nobody_reads_may_stand_twice() -> None:
    mix = from_stdin('{"x": 1, "x": 2, "tracks": [{"path": "a", "cue": 1, "cue": 2, "y": {"z": 1, "z": 2}}]}')
    assert [row.address for row in mix.rows] == ["a"]


STREAM = "http://h/api/t1?token=SEKRET"


@pytest.mark.parametrize("said", [STREAM, STREAM.upper(), "t1?token=SEKRET", "http://h/api - t1?token=SEKRET"])
def test_a_title_that_is_a_url_or_has_a_secret_of_it_is_none(tmp_path: Path, said: str) -> None:
    """VLC writes the URL as the title of a stream that has none."""
    xspf = (
        f"<playlist><trackList><track><location>{STREAM}</location><title>{said}</title></track></trackList></playlist>"
    )
    mixes = [
        playlist_of(tmp_path, "#EXTM3U", f"#PLAYLIST:{STREAM}", f"#EXTINF:-1,{said}", f"#EXTALB:{said}", STREAM),
        mix_of(tmp_path, {"url": STREAM, "title": said, "artist": said, "album": said, "key": said}, name=STREAM),
        from_stdin(xspf),
        Mix(STREAM, (Row(url_track(STREAM, title=said, artist=said, album=said), musical_key=said),)),
    ]
    for mix in mixes:
        [row] = mix.rows
        assert (row.track.title, row.track.artist, row.track.album, row.musical_key) == ("", "", "", "")
        assert (row.label, row.fallback) == ("url:http://h/api/t1", "t1")
        assert "SEKRET" not in f"{mix} {row.called(said)}".replace(STREAM, "")


def test_a_url_within_a_title_is_told_without_its_secrets(tmp_path: Path) -> None:
    row = row_of(tmp_path, path="a.wav", title="from https://me:pw@h/a?token=SEKRET")
    assert row.label == "from https://…@h/a?…"
    assert row_of(tmp_path, path="a.wav", title="https://h/b").label == "a"
    assert row_of(tmp_path, path="a.wav", title="AC/DC: Live? 50 % @ home").label == "AC/DC: Live? 50 % @ home"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"start": float("nan")}, '"start" is nan; expected seconds, from 0 and less than 1000000'),
        ({"start": -5.0}, '"start" is -5; expected seconds'),
        ({"offset": float("inf")}, '"offset" is inf; expected seconds'),
        ({"bpm": 1e-9}, '"bpm" is 1e-09; expected beats per minute, from 1 and less than 1000'),
        ({"file_length": float("nan")}, '"file_length" is nan; expected seconds'),
    ],
)
def test_a_mix_of_any_maker_has_no_number_that_is_out_of_bounds(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(MixError) as caught:
        Mix("Friday", (Row(Track("s", "1")), Row(Track("s", "2"), **said)))
    assert str(caught.value).startswith(f"the mix 'Friday', track 2: {problem}")


def test_a_mix_of_no_track_is_none() -> None:
    with pytest.raises(MixError, match="the mix '': it has no track; expected at least one"):
        Mix("", ())


def test_titles_are_on_one_line_and_steer_no_terminal(tmp_path: Path) -> None:
    row = row_of(tmp_path, path="a.wav", title="A\nB\x1b[2J\0 \ud83d")
    assert row.track.title == "A B[2J \N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("track", "problem"),
    [
        ("x", "it is text; expected an object with one of source and id, url, path"),
        ({}, "it has neither source and id nor url nor path; expected one of"),
        ({"id": "t42"}, "it has neither source and id nor url nor path"),
        ({"source": "s"}, "it has a source without an id"),
        ({"source": "s", "id": 42}, '"id" is a number; expected text'),
        ({"source": "s", "id": ""}, '"id" is empty'),
        ({"source": "s", "id": "a\nb"}, '"id" holds control or broken characters'),
        ({"source": "s", "id": "a\0b"}, '"id" holds control or broken characters'),
        ({"source": "s", "id": "a\ud800"}, '"id" holds control or broken characters'),
        ({"source": "s", "id": "a", "version": "\0"}, '"version" holds control or broken characters'),
        ({"source": "s", "id": "a" * 8193}, '"id" has 8193 characters, more than 8192; expected text'),
        ({"path": "a\0.wav"}, '"path" holds control or broken characters'),
        ({"path": "\ud800.wav"}, '"path" holds control or broken characters'),
        ({"url": "http://h/\ud800"}, '"url" holds control or broken characters'),
        ({"source": "file", "id": "x"}, "\"source\" 'file' is reserved"),
        ({"source": "My Music", "id": "x"}, "\"source\" 'My Music' is no name of a source"),
        ({"source": "s", "id": "x", "url": "http://h/"}, "both source and url"),
        ({"source": "s", "id": "x", "path": "a"}, "both a path and a cloud track"),
        ({"url": "http://h/", "path": "a"}, "both a path and a cloud track"),
        ({"path": "https://dj:pw@h/a?token=x"}, '"path" \'https://…@h/a?…\' is a URL; expected a path, or "url"'),
        ({"path": "file:///a.wav"}, "\"path\" 'file:///a.wav' is a URL"),
        ({"path": "ftp:/dj:pw@h/a"}, "\"path\" 'ftp:/…@h/a' is a URL"),
        ({"source": "https://dj:pw@h", "id": "1"}, "\"source\" 'https://…@h' is no name of a source"),
        ({"url": "https:/dj:pw@h/a"}, "\"url\" 'https:/…@h/a' is wrong"),
        ({"url": "ftp://h/a?token=x"}, "\"url\" 'ftp://h/a?…' is wrong"),
        ({"url": "http://h:port/"}, '"url"'),
        ({"path": ["a"]}, '"path" is a list'),
        ({"path": "a", "title": 1}, '"title" is a number; expected text'),
        ({"path": "a", "duration": -1}, '"duration" is -1; expected seconds, from 0 and less than 1000000'),
        ({"path": "a", "duration": float("nan")}, '"duration" is nan'),
        ({"path": "a", "duration": float("inf")}, '"duration" is inf'),
        ({"path": "a", "duration": 10**400}, '"duration" is inf'),
        ({"path": "a", "duration": True}, '"duration" is true or false; expected a number'),
        ({"path": "a", "duration": "8"}, '"duration" is text; expected a number'),
        ({"path": "a", "start": 1e6}, '"start" is 1e+06; expected seconds, from 0 and less than 1000000'),
        ({"path": "a", "offset": -0.1}, '"offset" is -0.1; expected seconds'),
        ({"path": "a", "fade_in": []}, '"fade_in" is a list; expected a number'),
        ({"path": "a", "fade_out": "8 s"}, '"fade_out" is text; expected a number'),
        ({"path": "a", "bpm": 0}, '"bpm" is 0; expected beats per minute, from 1 and less than 1000'),
        ({"path": "a", "bpm": float("nan")}, '"bpm" is nan'),
        ({"path": "a", "bpm": 1e-9}, '"bpm" is 1e-09; expected beats per minute, from 1'),
        ({"path": "a", "key": 8}, '"key" is a number; expected text'),
        ({"path": "a", "album": 8}, '"album" is a number; expected text'),
    ],
)
def test_a_wrong_track_is_named_by_its_number_and_field(tmp_path: Path, track: object, problem: str) -> None:
    with pytest.raises(MixError) as caught:
        mix_of(tmp_path, {"path": "fine.wav"}, track)
    assert (caught.value.file, caught.value.place) == (str(tmp_path / "friday.json"), "track 2")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"tracks": [\n  {"path": }]}', "standard input, line 2, column 12: this is no JSON"),
        (b"", "standard input, line 1, column 1: this is no JSON"),
        (b'{"name": "\xff"}', "standard input, line 1: this is no UTF-8"),
        (b"[]", 'standard input: the top level is a list; expected an object with "tracks"'),
        (b"{}", 'standard input: "tracks" is missing'),
        (b'{"tracks": {}}', 'standard input: "tracks" is an object; expected a list'),
        (b'{"tracks": []}', 'standard input: "tracks" is empty'),
        (b'{"tracks": [{"path": "a"}], "name": 1}', 'standard input: "name" is a number'),
        (b"[" * 200_000, "standard input: its lists are nested too deeply"),
        (b'{"tracks": ' + b"1" * 5000 + b"}", 'standard input: "tracks" is a number; expected a list of tracks'),
    ],
)
def test_a_mix_that_is_none_is_one_sentence_with_the_place(content: bytes, sentence: str) -> None:
    with pytest.raises(MixError) as caught:
        from_stdin(content)
    assert str(caught.value).startswith(sentence)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MixError, match=r"none\.json: there is no such file"):
        read_mix(tmp_path / "none.json")
    with pytest.raises(MixError, match="this is a folder"):
        read_mix(tmp_path)
    with pytest.raises(MixError, match="this is no path"):
        read_mix("a\0b")
    with pytest.raises(MixError, match="is larger than"):
        read_mix("/dev/zero")


# M3U


def test_a_playlist_has_paths_urls_and_what_extinf_says(tmp_path: Path) -> None:
    read = playlist_of(
        tmp_path,
        "\ufeff#EXTM3U",
        "#PLAYLIST:Friday Warm-up",
        "# a comment",
        '#EXTINF:215.4 tvg-id="a,b",E.P. - Opus - Live',
        "#EXTALB:An Album",
        "Local/Intro.wav",
        "#EXTINF",
        "https://example.org/a.flac?sig=x",
        "",
        "#EXTINF:-1,Just a title",
        "file:///music/A%20B.wav",
    )
    first, second, third = read.rows
    assert read.name == "Friday Warm-up"
    intro = Track("file", "Local/Intro.wav", artist="E.P.", title="Opus - Live", album="An Album")
    assert first == Row(intro, tmp_path / "Local/Intro.wav", file_length=215.4)
    assert (second.address, second.track.title, second.file_length) == (
        "url:https://example.org/a.flac",
        "",
        None,
    )
    assert (third.path, third.address, third.track.artist, third.track.title) == (
        Path("/music/A B.wav"),
        "/music/A B.wav",
        "",
        "Just a title",
    )


def test_a_playlist_is_known_by_its_name_too(tmp_path: Path) -> None:
    assert [row.address for row in playlist_of(tmp_path, "a.wav", name="x.M3U").rows] == ["a.wav"]


def test_a_path_is_found_as_it_is_before_it_is_decoded(tmp_path: Path) -> None:
    for name in ("100%25.wav", "A B.wav", "sub.wav"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/c.wav").touch()
    read = playlist_of(tmp_path, "100%25.wav", "A%20B.wav", "sub\\c.wav", "none%20.wav")
    found = [row.path for row in read.rows]
    assert found == [tmp_path / name for name in ("100%25.wav", "A B.wav", "sub/c.wav", "none%20.wav")]


def test_what_is_encoded_in_a_path_or_an_address_is_a_letter_of_it(tmp_path: Path) -> None:
    """Somebody's mix may name any file of theirs: a slash is one however it is written, and a name stays within."""
    places = ["../../etc/passwd", "..%2Fa.wav", "file:///a%2Fb.wav", "file://localhost/a%23b%3Fc.wav", "100%00.wav"]
    found = [row.path for row in playlist_of(tmp_path, *places).rows]
    assert found == [
        tmp_path / "../../etc/passwd",
        tmp_path / "..%2Fa.wav",
        Path("/a/b.wav"),
        Path("/a#b?c.wav"),
        tmp_path / "100%00.wav",
    ]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["#EXTM3U"], "the playlist names no track"),
        (["#EXTM3U", "ftp:/dj:pw@h/a.wav"], "track 1, line 2: ftp:// is not supported"),
        (["#EXTM3U", "//dj:pw@h/a.wav"], "track 1, line 2: it looks like a URL without a scheme"),
        (["#EXTM3U", "https:/dj:pw@h/a"], "\"url\" 'https:/…@h/a' is wrong"),
        (["#EXTM3U", "a.wav", "spotify://x"], "track 2, line 3: spotify:// is not supported"),
        (["#EXTM3U", "http://h:x/"], 'track 1, line 2: "url"'),
        (["#EXTM3U", "file://elsewhere/a.wav"], "track 1, line 2: the file:// address is wrong"),
        (
            ["#EXTM3U", "file://dj:pw@elsewhere/a.wav"],
            "line 2: the file:// address is wrong; expected file:///absolute",
        ),
        (
            ["#EXTM3U", "file:///%00"],
            "track 1, line 2: the file:// address is wrong; expected file:///absolute",
        ),
        (["#EXTM3U", "file:///a%0Ab.wav"], "track 1, line 2: the file:// address is wrong"),
        (["#EXTM3U", "file:"], "track 1, line 2: the file:// address is wrong"),
        (["#EXTM3U", "file://[x/a.wav"], "track 1, line 2: the file:// address is wrong"),
        (["#EXTM3U", "a\0.wav"], "track 1, line 2: it holds control or broken characters"),
        (["#EXTM3U", "a" * 1_000_000], "track 1, line 2: it has 1000000 characters, more than 8192; expected a path"),
        (["#EXTM3U", "#EXT-X-TARGETDURATION:8", "seg1.ts"], "this is an HLS stream"),
    ],
)
def test_a_wrong_playlist_is_one_sentence_with_the_place(tmp_path: Path, lines: list[str], sentence: str) -> None:
    with pytest.raises(MixError) as caught:
        playlist_of(tmp_path, *lines)
    assert sentence in str(caught.value)


# Garbage

FIELDS = st.sampled_from(
    ["source", "id", "url", "path", "version", "title", "duration", "start", "bpm", "key", "offset", "name", "tracks"]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | FIELDS, inner, max_size=6),
    max_leaves=20,
)
VALUES = JSON | st.sampled_from(["s", "http://h/a", "file:///x", "a.wav", "file", "\ud800", "http://[", "a\0"])
TRACKS = st.dictionaries(FIELDS, VALUES, max_size=5)
DOCUMENTS = JSON | st.fixed_dictionaries({"tracks": st.lists(TRACKS, max_size=3)}, optional={"name": JSON})
LINES = st.text() | st.sampled_from(["#EXTM3U", "#EXTINF:1,A - B", "#EXTINF:", "file://", "http://[", "//x", "a.wav"])


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_mix_or_a_mix_error(content: bytes) -> None:
    assert_mix_or_error(content)


@given(DOCUMENTS)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_a_mix_or_a_mix_error(document: object) -> None:
    assert_mix_or_error(json.dumps(document).encode())


@given(st.lists(LINES))
def test_any_playlist_is_a_mix_or_a_mix_error(lines: list[str]) -> None:
    assert_mix_or_error("\n".join(["#EXTM3U", *lines]).encode("utf-8", "replace"))


def assert_mix_or_error(content: bytes) -> None:
    try:
        read = from_stdin(content)
    except MixError as wrong:
        problem = str(wrong)
    else:
        assert read.rows
        assert all((row.track.source == "file") == (row.path is not None) for row in read.rows)
        assert all(row.label and row.identity for row in read.rows)
        return
    assert problem.startswith("standard input")
    assert problem.isprintable()
