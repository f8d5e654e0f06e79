"""XSPF as a mix: read whole and safely, or one sentence says what is wrong where."""

from __future__ import annotations

import io
import time
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachestore.errors import MixError
from cachestore.track import Track
from exporter_plugin.mix import read_mix
from exporter_plugin.row import Mix, Row

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<playlist version="1" xmlns="http://xspf.org/ns/0/">\n'
BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>
<playlist><trackList><track><location>&c;</location></track></trackList></playlist>"""
THIEF = """<!DOCTYPE playlist [<!ENTITY secret SYSTEM "file:///etc/passwd">]>
<playlist><trackList><track><location>&secret;</location></track></trackList></playlist>"""


def xspf(*tracks: str, title: str = "") -> str:
    inner = "\n".join(f"<track>{track}</track>" for track in tracks)
    return f"{HEAD}<title>{title}</title>\n<trackList>\n{inner}\n</trackList></playlist>\n"


def from_stdin(content: str | bytes) -> Mix:
    return read_mix("-", stdin=io.BytesIO(content.encode() if isinstance(content, str) else content))


def test_a_playlist_has_locations_and_what_is_said_of_them(tmp_path: Path) -> None:
    (tmp_path / "Local").mkdir()
    (tmp_path / "Local/In tro.wav").touch()
    file = tmp_path / "friday.xspf"
    file.write_text(
        xspf(
            "<location>https://example.org/a.flac?sig=x&amp;q=1</location><location>b.wav</location>"
            "<title>Opus &amp; <!-- no --> more</title><creator>E.P.</creator><album>An Album</album>"
            "<duration>215400</duration><extension application='x'><title>Not this</title></extension>",
            "<location>Local/In%20tro.wav</location><duration>0</duration>",
            "<location>file:///music/A%20B.wav</location><duration>long</duration>",
            title="Friday\n Warm-up",
        )
    )
    read = read_mix(file)
    cloud = Track(
        "url", "https://example.org/a.flac#1f4c8a3c4ed40f6f", title="Opus & more", artist="E.P.", album="An Album"
    )
    first, second, third = read.rows
    assert read.name == "Friday Warm-up"
    assert (first.track.title, first.track.artist, first.track.album) == (cloud.title, cloud.artist, cloud.album)
    assert (first.track.url, first.file_length) == ("https://example.org/a.flac?sig=x&q=1", 215.4)
    assert (second.path, second.track.title, second.file_length) == (tmp_path / "Local/In tro.wav", "In tro", None)
    assert (third.path, third.file_length) == (Path("/music/A B.wav"), None)


def test_a_playlist_without_namespace_or_title_is_called_as_its_file(tmp_path: Path) -> None:
    file = tmp_path / "friday.XSPF"
    file.write_text("<playlist><trackList><track><location>a.wav</location></track></trackList></playlist>")
    assert read_mix(file) == Mix("friday", (Row(Track("file", "a.wav", title="a"), tmp_path / "a.wav"),))


def test_it_is_known_on_standard_input_by_its_first_character() -> None:
    assert from_stdin(f"\ufeff \n{xspf('<location>a.wav</location>').partition('?>')[2]}").rows[0].address == "a.wav"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (xspf(), "standard input: the playlist names no track"),
        (xspf("<title>x</title>"), "standard input, track 1, line 5: it has no <location>"),
        (
            xspf("<location>a.wav</location>", "<location>spotify://x</location>"),
            "standard input, track 2, line 6: spotify:// is not supported",
        ),
        (xspf("<location>http://h:x/</location>"), 'standard input, track 1, line 5: "url"'),
        (
            xspf("<location>a&#9;.wav</location>"),
            "standard input, track 1, line 5: it holds control or broken characters",
        ),
        (HEAD, "standard input, line 3, column 1: this is no XML (no element found)"),
        (HEAD + "<trackList></playlist>", "standard input, line 3, column 14: this is no XML (mismatched tag)"),
        ("<html><body>Log in</body></html>", "standard input, line 1: the top level is <html>; expected <playlist>"),
        ("<a:b/>", "standard input, line 1, column 1: this is no XML (unbound prefix)"),
        ("<x>" * 100_000, "standard input, line 1: the top level is <x>"),
        (BOMB, "standard input, line 2: it has a document type"),
        (THIEF, "standard input, line 1: it has a document type"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_place(content: str, sentence: str) -> None:
    with pytest.raises(MixError) as caught:
        from_stdin(content)
    assert str(caught.value).startswith(sentence)


def test_deep_nesting_is_no_harm() -> None:
    deep = "<x>" * 100_000 + "</x>" * 100_000
    assert len(from_stdin(xspf(f"<location>a.wav</location>{deep}")).rows) == 1


@pytest.mark.parametrize("inner", ["", "a"])
def test_deep_nesting_costs_no_more_than_its_length(inner: str) -> None:
    deep = "<x>" * 400_000 + f"{inner}</x>" * 400_000
    began = time.process_time()
    assert len(from_stdin(xspf(f"<location>a.wav</location>{deep}")).rows) == 1
    assert time.process_time() - began < 20  # a few tenths of a second; a cost by the square of the depth takes minutes


def test_a_track_that_is_wrong_leaves_no_half_read_mix() -> None:
    with pytest.raises(MixError, match="track 3"):
        from_stdin(xspf("<location>a.wav</location>", "<location>b.wav</location>", ""))


NAMES = st.sampled_from(
    ["playlist", "title", "trackList", "track", "location", "duration", "creator", "x:y", "?x?", "!--"]
)
PIECES = st.one_of(
    NAMES.map("<{}>".format),
    NAMES.map("</{}>".format),
    NAMES.map("<{}/>".format),
    st.sampled_from(["a.wav", "http://[", "file://", "&amp;", "&x;", "&#0;", "<![CDATA[", "]]>", "<!DOCTYPE x>", "12"]),
    st.text(max_size=5),
)


@given(st.lists(PIECES, max_size=12).map("".join), st.booleans())
def test_any_xml_is_a_mix_or_a_mix_error(inner: str, wrapped: bool) -> None:
    content = f"<playlist><trackList>{inner}</trackList></playlist>" if wrapped else f"<{inner}"
    try:
        read = from_stdin(content.encode("utf-8", "replace"))
    except MixError as wrong:
        sentence = str(wrong)
    else:
        assert read.rows
        assert all(row.label and row.identity for row in read.rows)
        return
    assert sentence.startswith("standard input")
    assert sentence.isprintable()


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1), min_size=1))
def test_every_path_is_read_as_it_was_written(paths: list[str]) -> None:
    plain = [path for path in paths if ":" not in path and "\ufffe" not in path and "\uffff" not in path] or ["a"]
    read = from_stdin(xspf(*(f"<location>{escape(path)}</location>" for path in plain)))
    assert [row.address for row in read.rows] == plain
