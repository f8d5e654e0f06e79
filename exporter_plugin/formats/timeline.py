"""A mix as a timeline: what the formats of all DAWs have in common."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from operator import attrgetter
from typing import TYPE_CHECKING

from cachestore.text import shown
from exporter_plugin.outcome import Hole, Placed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from exporter_plugin.formats.view import BundleView
    from exporter_plugin.row import Row

DEFAULT_TEMPO = 120.0  # beats per minute, what DAWs start with
# Of a clip whose end nobody knows: what is too long can be seen and cut, what is missing cannot.
_UNKNOWN_LENGTH = 600.0
_TICK = 1e-6  # seconds: sums of decimal fractions are not exact, and what is shorter would be written as 0


@dataclass(frozen=True, slots=True)
class Clip:
    """A row that has its file; `start` and `length` in seconds."""

    placed: Placed
    start: float
    length: float

    @property
    def row(self) -> Row:
        """Return the row of the mix."""
        return self.placed.row

    @property
    def fade_in(self) -> float:
        """Return the seconds of the fade at the beginning, no more than the clip has."""
        return min(self.row.fade_in, self.length)

    @property
    def fade_out(self) -> float:
        """Return the seconds of the fade at the end, no more than the clip has."""
        return min(self.row.fade_out, self.length)

    @property
    def comment(self) -> str:
        """Return tempo and key, as far as the mix says them."""
        tempo = f"{decimal(self.row.bpm)} BPM" if self.row.bpm else ""
        return ", ".join(part for part in (tempo, text(self.row.musical_key)) if part)


@dataclass(frozen=True, slots=True)
class Gap:
    """A row without a clip, which keeps its place; its `length` in seconds is 0 where the mix gives none."""

    start: float
    length: float
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Clips, by lanes in each of which none overlap, gaps, and where the tempo changes: seconds and beats per minute.

    All are in order of time.
    """

    name: str
    lanes: Sequence[Sequence[Clip]]
    gaps: Sequence[Gap]
    tempos: Sequence[tuple[float, float]]

    @property
    def tempo(self) -> float:
        """Return the tempo at the beginning, in beats per minute."""
        return self.tempos[0][1] if self.tempos else DEFAULT_TEMPO


@dataclass(frozen=True, slots=True)
class TimelineFormat:
    """A format of projects: `render` makes the one file with `suffix`."""

    suffix: str
    render: Callable[[BundleView], bytes]

    def applies(self, view: BundleView) -> bool:
        """Return whether the mix has a timeline."""
        return view.has_positions

    def __call__(self, view: BundleView) -> dict[str, bytes]:
        """Return the project by its name; a mix without a timeline is laid out track after track."""
        return {f"{view.stem}{self.suffix}": self.render(view)}


def timeline_of(view: BundleView) -> Timeline:
    """Return the timeline of a bundle. A row without a place starts where the one before it ends."""
    clips: list[Clip] = []
    gaps: list[Gap] = []
    end = 0.0
    for outcome in view.outcomes:
        start = end if outcome.row.start is None else outcome.row.start
        if isinstance(outcome, Hole):
            length = outcome.row.duration or outcome.row.file_length or 0.0
            gaps.append(Gap(start, length, f"MISSING: {text(outcome.row.label)} ({text(outcome.error.reason)})"))
        elif (length := _length(view, outcome)) < _TICK:
            gaps.append(Gap(start, 0.0, f"SILENT: {text(outcome.row.label)} (nothing of it is left to play)"))
        else:
            clips.append(Clip(outcome, start, length))
        end = start + length
    clips.sort(key=attrgetter("start"))
    return Timeline(text(view.name), _lanes(clips), sorted(gaps, key=attrgetter("start")), _tempos(clips))


def _length(view: BundleView, placed: Placed) -> float:
    """Return how long a clip is, in seconds, as well as anybody knows."""
    duration = view.duration(placed)
    return _UNKNOWN_LENGTH if duration is None else duration


def _lanes(clips: Iterable[Clip]) -> list[list[Clip]]:
    """Give each clip the first lane that is free when it starts: a mix that blends tracks has two, as decks."""
    lanes: list[list[Clip]] = []
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    for clip in clips:
        while busy and busy[0][0] < clip.start + _TICK:
            heappush(free, heappop(busy)[1])
        if not free:
            free.append(len(lanes))
            lanes.append([])
        lane = heappop(free)
        lanes[lane].append(clip)
        heappush(busy, (clip.start + clip.length, lane))
    return lanes


def _tempos(clips: Iterable[Clip]) -> list[tuple[float, float]]:
    """Return where the tempo changes; that of the first clip that has one holds from the beginning."""
    tempos: list[tuple[float, float]] = []
    for clip in clips:
        if clip.row.bpm and (not tempos or tempos[-1][1] != clip.row.bpm):
            start = clip.start if tempos else 0.0
            if tempos and tempos[-1][0] == start:
                tempos.pop()
            tempos.append((start, clip.row.bpm))
    return tempos


def decimal(number: float) -> str:
    """Return a number without exponent, to the microsecond."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def text(told: str) -> str:
    """Return text on one line that XML 1.0 may hold (§2.2)."""
    return shown(told).translate({0xFFFE: None, 0xFFFF: None})
