"""The projects of a bundle: every row at its place, in DAWproject and in REAPER's format."""

from __future__ import annotations

import os
import re
import time
import zipfile
from functools import cache
from io import BytesIO
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from cachestore.errors import NotFound
from cachestore.track import Track
from exporter_plugin.formats.dawproject import DAWPROJECT
from exporter_plugin.formats.rpp import RPP
from exporter_plugin.formats.timeline import Clip, timeline_of
from exporter_plugin.formats.view import BundleView
from exporter_plugin.manifest import OwnedFile
from exporter_plugin.outcome import Hole, Outcome, Placed
from exporter_plugin.row import Row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.library import Sample

# The official schemas lie beside the checkout in CI. They are not ours to carry.
SCHEMAS = Path(os.environ.get("DAWPROJECT_SCHEMAS", Path(__file__).parents[2] / "shared" / "data" / "dawproject"))


def placed(title: str, file: str, **said: Any) -> Placed:  # noqa: ANN401 - the fields of a row
    return Placed(Row(Track("s", title, title=title), **said), OwnedFile(f"media/{file}", 0, 0, ""))


def hole(title: str, **said: Any) -> Hole:  # noqa: ANN401
    track = Track("s", title, title=title)
    return Hole(Row(track, **said), NotFound(track.address, track.label, "the server has no such track"))


def view(*outcomes: Outcome, folder: Path = Path("nowhere")) -> BundleView:
    return BundleView("Friday", outcomes, folder.joinpath)


MIX = (
    placed("Opus", "01.flac", start=0.0, duration=300.0, fade_out=8.0, bpm=124.0, musical_key="8A"),
    placed('Say "hi" & <b>', "02.mp3", start=292.0, duration=180.5, offset=12.5, fade_in=8.0, bpm=126.0),
    hole("Gone", start=470.0, duration=60.0),
    placed("After", "04.wav", start=530.0, duration=10.0, bpm=126.0),
    placed("Encore", "01.flac", duration=5.25),
)


def project(bundle: BundleView) -> ET.Element:
    archive = zipfile.ZipFile(BytesIO(DAWPROJECT.render(bundle)))
    assert archive.namelist() == ["project.xml", "metadata.xml"]
    assert archive.testzip() is None
    return ET.fromstring(archive.read("project.xml"))


def laid(bundle: BundleView) -> list[Clip]:
    """Return the clips of all lanes in order of time."""
    return sorted(chain(*timeline_of(bundle).lanes), key=lambda clip: clip.start)


def clips(root: ET.Element) -> dict[str, list[dict[str, str]]]:
    """Return the attributes of all clips by the track that they are on, each with its file."""
    return {
        str(lane.get("track")): [
            dict(clip.attrib) | {"file": str(file.get("path"))}
            for clip in lane.iter("Clip")
            for file in clip.iter("File")
        ]
        for lane in root.iterfind("Arrangement/Lanes/Lanes")
    }


@cache
def schema(name: str) -> Any:  # noqa: ANN401 - lxml has no types
    if not SCHEMAS.is_dir():
        pytest.skip(f"NOT RUN: no DAWproject schemas in {SCHEMAS}; name their folder: DAWPROJECT_SCHEMAS=...")
    return etree.XMLSchema(file=str(SCHEMAS / name))


def in_seconds(root: ET.Element, tag: str) -> list[float]:
    """Return the times of all `tag`, each of which has to be in seconds: its own unit, else that of what is around."""
    parents = {child: parent for parent in root.iter() for child in parent}
    times = []
    for element in root.iter(tag):
        around: ET.Element | None = element
        while around is not None and "timeUnit" not in around.attrib:
            around = parents.get(around)
        assert around is not None, f"<{tag}> is in beats"  # DAWproject 1.0: the unit where none is given
        assert around.get("timeUnit") == "seconds"
        times.append(float(element.attrib["time"]))
    return times


def test_every_time_is_in_seconds() -> None:
    root = project(view(*MIX))
    assert sorted(in_seconds(root, "Clip")) == [0.0, 292.0, 530.0, 540.0]
    assert in_seconds(root, "Marker") == [470.0]
    assert in_seconds(root, "RealPoint") == [0.0, 292.0]


def validate(bundle: BundleView) -> None:
    archive = zipfile.ZipFile(BytesIO(DAWPROJECT.render(bundle)))
    schema("Project.xsd").assertValid(etree.fromstring(archive.read("project.xml")))
    schema("MetaData.xsd").assertValid(etree.fromstring(archive.read("metadata.xml")))


def test_a_project_validates_against_the_official_schemas() -> None:
    validate(view(*MIX))
    validate(view(hole("Gone", start=1.0)))
    validate(view())


def test_clips_have_their_places_in_points_and_fades() -> None:
    found = clips(project(view(*MIX)))
    assert [(track, [clip["name"] for clip in each]) for track, each in found.items()] == [
        ("track-1", ["Opus", "After", "Encore"]),
        ("track-2", ['Say "hi" & <b>']),
    ]
    [second] = found["track-2"]
    assert second == {
        "name": 'Say "hi" & <b>',
        "time": "292",
        "duration": "180.5",
        "contentTimeUnit": "seconds",
        "playStart": "12.5",
        "playStop": "193",
        "fadeTimeUnit": "seconds",
        "fadeInTime": "8",
        "fadeOutTime": "0",
        "comment": "126 BPM",
        "file": "media/02.mp3",
    }
    opus, after, encore = found["track-1"]
    assert (opus["fadeOutTime"], opus["comment"]) == ("8", "124 BPM, 8A")
    assert (after["time"], encore["time"], encore["file"]) == ("530", "540", "media/01.flac")


def test_audio_is_named_relative_to_the_project_and_stays_outside() -> None:
    files = list(project(view(*MIX)).iter("File"))
    assert len(files) == 4
    assert {(file.get("external"), str(file.get("path")).startswith("media/")) for file in files} == {("true", True)}


def test_a_hole_keeps_its_place() -> None:
    [marker] = project(view(*MIX)).iter("Marker")
    assert marker.attrib == {"time": "470", "name": "MISSING: Gone (the server has no such track)"}
    lines = rpp(view(*MIX))
    assert 'MARKER 1 470 "MISSING: Gone (the server has no such track)" 0' in lines
    at = lines.index('NAME "Missing"')
    assert lines[at : at + 5] == ['NAME "Missing"', "BEAT 0", "<ITEM", "POSITION 470", "LENGTH 60"]


def test_every_channel_leads_to_the_master() -> None:
    channels = {str(channel.get("id")): channel for channel in project(view(*MIX)).iter("Channel")}
    [master] = [name for name, channel in channels.items() if channel.get("role") == "master"]
    assert {channel.get("destination") for name, channel in channels.items() if name != master} == {master}


def test_the_tempo_is_that_of_the_tracks() -> None:
    root = project(view(*MIX))
    assert [tempo.get("value") for tempo in root.iter("Tempo")] == ["124"]
    assert [(point.get("time"), point.get("value")) for point in root.iter("RealPoint")] == [
        ("0", "124"),
        ("292", "126"),
    ]
    lines = rpp(view(*MIX))
    assert "TEMPO 124 4 4" in lines
    assert [line for line in lines if line.startswith("PT ")] == ["PT 0 124 1", "PT 292 126 1"]
    steady = view(placed("A", "1.wav", start=4.0, duration=1.0, bpm=99.5))
    assert list(project(steady).iter("TempoAutomation")) == []
    assert timeline_of(view(placed("A", "1.wav", start=0.0, duration=1.0))).tempo == 120


def test_what_the_mix_does_not_say_the_file_does(tmp_path: Path, library: Mapping[str, Sample]) -> None:
    library["flac"].copy_to(tmp_path / "media", "01.flac")
    library["wav"].copy_to(tmp_path / "media", "02.wav")
    bundle = view(
        placed("A", "01.flac", start=0.0, offset=0.25),
        placed("B", "02.wav"),
        placed("C", "gone.wav"),
        folder=tmp_path,
    )
    first, second, third = laid(bundle)
    assert (first.length, second.start, second.length, third.length) == (0.75, 0.75, 1.0, 600.0)
    sounds = [dict(audio.attrib) for audio in project(bundle).iter("Audio")]
    assert sounds[0] == {"duration": "1", "sampleRate": "44100", "channels": "2"}
    validate(bundle)


def test_what_a_playlist_says_of_a_file_cuts_nothing_of_it(tmp_path: Path, library: Mapping[str, Sample]) -> None:
    library["flac"].copy_to(tmp_path / "media", "01.flac")
    rows = (
        placed("A", "01.flac", start=0.0, file_length=0.6),
        placed("B", "01.flac", duration=0.6),
        placed("C", "gone.wav", file_length=7.0),
    )
    bundle = view(*rows, hole("D", file_length=5.0), folder=tmp_path)
    assert [clip.length for clip in laid(bundle)] == [1.0, 0.6, 7.0]
    assert [gap.length for gap in timeline_of(bundle).gaps] == [5.0]


def test_a_row_that_begins_after_the_end_of_its_file_is_a_marker(tmp_path: Path, library: Mapping[str, Sample]) -> None:
    library["flac"].copy_to(tmp_path / "media", "01.flac")
    after = [placed("A", "01.flac", start=3.0, offset=9.0), placed("B", "01.flac", offset=1.0, duration=4.0)]
    bundle = view(*after, placed("C", "01.flac"), folder=tmp_path)
    assert [(clip.row.label, clip.start, clip.length) for clip in laid(bundle)] == [("C", 3.0, 1.0)]
    silent = "(nothing of it is left to play)"
    assert [(gap.start, gap.length, gap.label) for gap in timeline_of(bundle).gaps] == [
        (3.0, 0.0, f"SILENT: A {silent}"),
        (3.0, 0.0, f"SILENT: B {silent}"),
    ]
    validate(bundle)


@pytest.mark.parametrize("said", [{"offset": 0.9999999}, {"duration": 1e-7}])
def test_a_row_too_short_to_be_written_is_a_marker(
    tmp_path: Path, library: Mapping[str, Sample], said: dict[str, float]
) -> None:
    library["flac"].copy_to(tmp_path / "media", "01.flac")
    bundle = view(placed("A", "01.flac", start=3.0, **said), folder=tmp_path)
    assert laid(bundle) == []
    assert [gap.start for gap in timeline_of(bundle).gaps] == [3.0]
    assert "LENGTH 0" not in rpp(bundle)


def test_a_clip_ends_with_its_file_and_what_has_no_place_follows_there(
    tmp_path: Path, library: Mapping[str, Sample]
) -> None:
    library["flac"].copy_to(tmp_path / "media", "01.flac")
    longer = placed("A", "01.flac", start=3.0, offset=0.25, duration=100.0, fade_out=2.0)
    unknown = placed("C", "gone.wav", offset=1.0, duration=100.0)
    bundle = view(longer, placed("B", "01.flac"), unknown, placed("D", "01.flac"), folder=tmp_path)
    assert [(clip.start, clip.length) for clip in laid(bundle)] == [
        (3.0, 0.75),
        (3.75, 1.0),
        (4.75, 100.0),
        (104.75, 1.0),
    ]
    root = project(bundle)
    [first, *_] = clips(root)["track-1"]
    assert (first["playStart"], first["playStop"], first["fadeOutTime"]) == ("0.25", "1", "0.75")
    assert [audio.get("duration") for audio in root.iter("Audio")] == ["1", "1", "101", "1"]


def test_a_project_of_thousands_of_tracks_at_one_place_is_made_in_time_that_grows_with_them() -> None:
    bundle = view(*(placed(f"{number}", f"{number}.wav", start=0.0, duration=1.0) for number in range(5000)))
    began = time.process_time()
    assert len(timeline_of(bundle).lanes) == 5000
    RPP.render(bundle)
    assert time.process_time() - began < 8  # a fifth of a second; each clip against each lane takes a minute


def test_reaper_reads_au_as_it_does_wave() -> None:
    assert "<SOURCE WAVE" in rpp(view(placed("A", "1.au", start=0.0, duration=1.0)))


@pytest.mark.parametrize("bpm", [5.0, 999.9])
def test_a_tempo_is_within_its_own_bounds(bpm: float) -> None:
    bundle = view(placed("A", "1.wav", start=0.0, duration=1.0), placed("B", "2.wav", duration=1.0, bpm=bpm))
    [tempo] = project(bundle).iter("Tempo")
    assert float(tempo.attrib["min"]) <= bpm <= float(tempo.attrib["max"])


def test_a_duration_of_zero_is_an_unknown_one(tmp_path: Path, library: Mapping[str, Sample]) -> None:
    library["flac"].copy_to(tmp_path / "media", "01.flac")
    [clip] = laid(view(placed("A", "01.flac", start=0.0, duration=0.0), folder=tmp_path))
    assert clip.length == 1.0


def test_a_project_is_the_same_bytes_for_the_same_bundle() -> None:
    assert DAWPROJECT.render(view(*MIX)) == DAWPROJECT.render(view(*MIX))
    assert RPP.render(view(*MIX)) == RPP.render(view(*MIX))


def rpp(bundle: BundleView) -> list[str]:
    """Return the lines of a REAPER project without their indents; its blocks must be balanced."""
    lines = RPP.render(bundle).decode().splitlines()
    depth = 0
    for line in lines:
        assert line.startswith("  " * (depth - (line.strip() == ">")))
        depth += line.strip().startswith("<")
        depth -= line.strip() == ">"
        assert depth > 0 or line == ">"
    assert depth == 0
    return [line.strip() for line in lines]


def test_items_of_reaper_have_their_places_in_points_and_fades() -> None:
    lines = rpp(view(*MIX))
    at = lines.index("POSITION 292")
    assert lines[at - 1 : at + 14] == [
        "<ITEM",
        "POSITION 292",
        "LENGTH 180.5",
        "LOOP 0",
        "FADEIN 1 8 0",
        "FADEOUT 1 0 0",
        "NAME 'Say \"hi\" & <b>'",
        "SOFFS 12.5",
        "<NOTES",
        "|126 BPM",
        ">",
        "<SOURCE MP3",
        'FILE "media/02.mp3"',
        ">",
        ">",
    ]
    assert [line for line in lines if line.startswith("NAME")] == [
        'NAME "Deck 1"',
        'NAME "Opus"',
        'NAME "After"',
        'NAME "Encore"',
        'NAME "Deck 2"',
        "NAME 'Say \"hi\" & <b>'",
        'NAME "Missing"',
    ]


@pytest.mark.parametrize(("title", "quoted"), [("a'b", '"a\'b"'), ("\"'", "`\"'`"), ("\"'`", "`\"''`")])
def test_reaper_gets_text_in_quotes_that_are_not_in_it(title: str, quoted: str) -> None:
    assert f"NAME {quoted}" in rpp(view(placed(title, "1.wav", start=0.0, duration=1.0)))


TIMES = st.floats(0, 999_999, allow_subnormal=False)
TEXTS = st.text(max_size=8) | st.sampled_from(["\ufffe", "]]>", "\n>\n", "|", "`\"'"])
ROWS = st.builds(
    lambda title, said, is_hole: hole(title, **said) if is_hole else placed(title, "1.wav", **said),
    TEXTS,
    st.fixed_dictionaries(
        {"duration": TIMES | st.none(), "start": TIMES | st.none()},
        optional={
            "offset": TIMES,
            "fade_in": TIMES,
            "fade_out": TIMES,
            "bpm": st.floats(1, 999.9),
            "musical_key": TEXTS,
        },
    ),
    st.booleans(),
)


@given(st.lists(ROWS, max_size=6))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_mix_is_a_valid_project_in_which_no_clips_of_a_deck_overlap(rows: list[Outcome]) -> None:
    bundle = view(*rows)
    project(bundle)
    if SCHEMAS.is_dir():
        validate(bundle)
    lines, sounding = rpp(bundle), [row for row in rows if isinstance(row, Placed) and (row.row.duration or 1) >= 1e-6]
    assert len([line for line in lines if line == "<ITEM"]) >= len(sounding)
    assert "LENGTH 0" not in lines
    timeline = timeline_of(bundle)
    assert len(laid(bundle)) + len(timeline.gaps) == len(rows)
    for lane in timeline.lanes:
        for before, after in pairwise(lane):
            assert before.start + before.length <= after.start + 1e-5
    times = [time for time, _ in timeline.tempos]
    assert times == sorted(set(times))


def test_numbers_have_no_exponents() -> None:
    told = RPP.render(view(placed("A", "1.wav", start=1e-7, duration=999_999.5))).decode()
    assert not re.search(r"\de[+-]?\d", told)


def test_only_a_mix_with_a_place_has_a_timeline() -> None:
    assert DAWPROJECT.applies(view(*MIX))
    assert not RPP.applies(view(placed("A", "1.wav", duration=4.0, bpm=120.0)))
