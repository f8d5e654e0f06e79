"""DAWproject 1.0, which Bitwig, Studio One, Cubase and others open: a zip with project.xml and metadata.xml.

The audio stays where it is, in files that are named relative to the project (``external="true"``).
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from cachestore.release import RELEASE
from exporter_plugin.formats.timeline import TimelineFormat, decimal, text, timeline_of

if TYPE_CHECKING:
    from exporter_plugin.formats.timeline import Clip, Timeline
    from exporter_plugin.formats.view import BundleView

# Required attributes for a file whose header does not say: a DAW looks into it anyway.
_SAMPLE_RATE = 44100
_CHANNELS = 2
_LEAST_TEMPO, _MOST_TEMPO = 20, 999  # unless a track has less or more


def render(view: BundleView) -> bytes:
    """Return the project as a zip, the same bytes for the same bundle."""
    timeline = timeline_of(view)
    metadata = Element("MetaData")
    SubElement(metadata, "Title").text = timeline.name
    content = BytesIO()
    with ZipFile(content, "w", ZIP_DEFLATED) as archive:
        for name, root in (("project.xml", _project(view, timeline)), ("metadata.xml", metadata)):
            archive.writestr(ZipInfo(name), tostring(root, "utf-8", xml_declaration=True), ZIP_DEFLATED)
    return content.getvalue()


def _project(view: BundleView, timeline: Timeline) -> Element:
    project = Element("Project", version="1.0")
    SubElement(project, "Application", name="cachestore", version=RELEASE)
    transport = SubElement(project, "Transport")
    tempos = [timeline.tempo, *(tempo for _, tempo in timeline.tempos)]
    least, most = (decimal(number) for number in (min(_LEAST_TEMPO, *tempos), max(_MOST_TEMPO, *tempos)))
    tempo = {"id": "tempo", "min": least, "max": most, "unit": "bpm", "value": decimal(timeline.tempo)}
    SubElement(transport, "Tempo", tempo)
    SubElement(transport, "TimeSignature", numerator="4", denominator="4")
    structure = SubElement(project, "Structure")
    for number in range(1, len(timeline.lanes) + 1):
        _track(structure, f"track-{number}", f"Deck {number}", role="regular", destination="master-channel")
    _track(structure, "master", "Master", role="master")
    arrangement = SubElement(project, "Arrangement", id="arrangement")
    lanes = SubElement(arrangement, "Lanes", timeUnit="seconds")
    for number, lane in enumerate(timeline.lanes, 1):
        clips = SubElement(SubElement(lanes, "Lanes", track=f"track-{number}"), "Clips")
        for clip in lane:
            _clip(clips, view, clip)
    _markers(arrangement, timeline)
    _tempos(arrangement, timeline)
    return project


def _track(structure: Element, track: str, name: str, **routing: str) -> None:
    """Add a track with its channel; without its routing said, some DAWs play nothing."""
    element = SubElement(structure, "Track", id=track, name=name, contentType="audio", loaded="true")
    channel = SubElement(element, "Channel", {"id": f"{track}-channel", "audioChannels": "2", **routing})
    SubElement(channel, "Mute", value="false")
    SubElement(channel, "Pan", unit="normalized", value="0.5", min="0", max="1")
    SubElement(channel, "Volume", unit="linear", value="1", min="0", max="2")


def _clip(clips: Element, view: BundleView, clip: Clip) -> None:
    row = clip.row
    facts = view.facts(clip.placed)
    attributes = {
        "name": text(row.label),
        "time": decimal(clip.start),
        "duration": decimal(clip.length),
        "contentTimeUnit": "seconds",
        "playStart": decimal(row.offset),
        "playStop": decimal(row.offset + clip.length),
        "fadeTimeUnit": "seconds",
        "fadeInTime": decimal(clip.fade_in),
        "fadeOutTime": decimal(clip.fade_out),
    }
    element = SubElement(clips, "Clip", attributes | ({"comment": clip.comment} if clip.comment else {}))
    sound = {
        "duration": decimal(facts.duration or row.offset + clip.length),
        "sampleRate": str(facts.sample_rate or _SAMPLE_RATE),
        "channels": str(facts.channels or _CHANNELS),
    }
    SubElement(SubElement(element, "Audio", sound), "File", path=clip.placed.file, external="true")


def _markers(arrangement: Element, timeline: Timeline) -> None:
    if timeline.gaps:
        markers = SubElement(arrangement, "Markers", timeUnit="seconds")  # without one: beats
        for gap in timeline.gaps:
            SubElement(markers, "Marker", time=decimal(gap.start), name=gap.label)


def _tempos(arrangement: Element, timeline: Timeline) -> None:
    if len(timeline.tempos) > 1:
        points = SubElement(arrangement, "TempoAutomation", timeUnit="seconds", unit="bpm")
        SubElement(points, "Target", parameter="tempo")
        for time, tempo in timeline.tempos:
            SubElement(points, "RealPoint", time=decimal(time), value=decimal(tempo), interpolation="hold")


DAWPROJECT = TimelineFormat(".dawproject", render)
