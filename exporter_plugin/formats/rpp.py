"""The project of REAPER: lines of a word and values, blocks from ``<WORD`` to ``>``."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from exporter_plugin.formats.timeline import TimelineFormat, decimal, text, timeline_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter_plugin.formats.timeline import Clip, Gap, Timeline
    from exporter_plugin.formats.view import BundleView

# Which of REAPER's decoders a file goes to; all else is for that of videos, which uses the system's.
_DECODERS = {
    "aiff": "WAVE",
    "au": "WAVE",
    "caf": "WAVE",
    "flac": "FLAC",
    "mp3": "MP3",
    "oga": "VORBIS",
    "ogg": "VORBIS",
    "opus": "OPUS",
    "w64": "WAVE",
    "wav": "WAVE",
    "wv": "WAVPACK",
}


def render(view: BundleView) -> bytes:
    """Return the project as text in UTF-8."""
    lines = _block('REAPER_PROJECT 0.1 "6.0" 0', _project(timeline_of(view)))
    return "".join(f"{line}\n" for line in lines).encode()


def _project(timeline: Timeline) -> Iterator[str]:
    yield "RIPPLE 0"
    yield f"TEMPO {decimal(timeline.tempo)} 4 4"
    for number, gap in enumerate(timeline.gaps, 1):
        yield f"MARKER {number} {decimal(gap.start)} {_quoted(gap.label)} 0"
    if len(timeline.tempos) > 1:
        points = (f"PT {decimal(time)} {decimal(tempo)} 1" for time, tempo in timeline.tempos)  # 1: no ramp
        yield from _block("TEMPOENVEX", ("ACT 1 -1", "DEFSHAPE 1 -1 -1", *points))
    for number, lane in enumerate(timeline.lanes, 1):
        items = (line for clip in lane for line in _block("ITEM", _item(clip)))
        yield from _block("TRACK", (f'NAME "Deck {number}"', "BEAT 0", *items))  # 0: items stay at their seconds
    gaps = [line for gap in timeline.gaps if decimal(gap.length) != "0" for line in _block("ITEM", _empty_item(gap))]
    if gaps:
        yield from _block("TRACK", ('NAME "Missing"', "BEAT 0", *gaps))


def _item(clip: Clip) -> Iterator[str]:
    yield f"POSITION {decimal(clip.start)}"
    yield f"LENGTH {decimal(clip.length)}"
    yield "LOOP 0"
    yield f"FADEIN 1 {decimal(clip.fade_in)} 0"
    yield f"FADEOUT 1 {decimal(clip.fade_out)} 0"
    yield f"NAME {_quoted(clip.row.label)}"
    yield f"SOFFS {decimal(clip.row.offset)}"
    if clip.comment:
        yield from _block("NOTES", (f"|{clip.comment}",))
    decoder = _DECODERS.get(PurePosixPath(clip.placed.file).suffix.removeprefix("."), "VIDEO")
    yield from _block(f"SOURCE {decoder}", (f"FILE {_quoted(clip.placed.file)}",))


def _empty_item(gap: Gap) -> Iterator[str]:
    yield f"POSITION {decimal(gap.start)}"
    yield f"LENGTH {decimal(gap.length)}"
    yield from _block("NOTES", (f"|{gap.label}",))


def _block(head: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"<{head}"
    yield from (f"  {line}" for line in lines)
    yield ">"


def _quoted(told: str) -> str:
    """Return text in the first kind of quotes that is not in it; if all are, backquotes become apostrophes."""
    line = text(told)
    for quote in ('"', "'", "`"):
        if quote not in line:
            return f"{quote}{line}{quote}"
    apostrophes = line.replace("`", "'")
    return f"`{apostrophes}`"


RPP = TimelineFormat(".rpp", render)
