"""Generated music: short plucked chords as valid WAV and AIFF files, the same bytes at every run."""

from __future__ import annotations

import struct
import sys
import wave
from array import array
from dataclasses import dataclass
from io import BytesIO
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 22050  # frames a second; all pieces are mono with 16 bits


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of music: `notes` (MIDI numbers) are plucked `step` seconds apart and fade out together."""

    id: str
    artist: str
    title: str
    ext: str
    notes: tuple[int, ...]
    step: float
    seconds: float
    bpm: int
    key: str


# Two of them share their title.
CLOUD = (
    Piece("t01", "Anna Lind", "Low Tide", "wav", (45, 52, 57, 60, 64), 0.18, 1.5, 120, "8A"),
    Piece("t02", "Anna Lind", "High Tide", "wav", (48, 55, 60, 64, 67), 0.18, 1.7, 120, "8B"),
    Piece("t03", "Kobo", "Night Bus", "aiff", (41, 48, 53, 57), 0.02, 1.2, 121, "7B"),
    Piece("t04", "Mira Sol", "Night Bus", "wav", (50, 57, 62, 65), 0.09, 1.4, 122, "7A"),
    Piece("t05", "Mira Sol", "Glasshouse", "wav", (43, 50, 55, 59), 0.04, 1.3, 122, "9B"),
    Piece("t06", "The Quiet Hours", "Paper Boats", "wav", (40, 47, 52, 55, 59), 0.15, 1.6, 123, "9A"),
    Piece("t07", "The Quiet Hours", "Lantern", "aiff", (52, 55, 59, 64, 59, 55), 0.19, 1.7, 123, "9A"),
    Piece("t08", "Ostrava", "Tram Line 4", "wav", (38, 45, 50, 54), 0.02, 1.1, 124, "10B"),
    Piece("t09", "Ostrava", "Signal Box", "aiff", (47, 54, 59, 62, 66), 0.14, 1.4, 124, "10A"),
    Piece("t10", "Ferro & June", "Copper", "wav", (45, 49, 52, 57), 0.07, 1.2, 125, "11B"),
    Piece("t11", "Ferro & June", "Verdigris", "aiff", (42, 49, 54, 57, 61), 0.17, 1.5, 125, "11A"),
    Piece("t12", "Kobo", "Last Stop", "wav", (36, 43, 48, 52, 55, 60), 0.22, 2.0, 126, "8B"),
)
LOCAL = (
    Piece("intro", "DJ Demo", "Intro", "wav", (48, 52, 55, 60), 0.22, 1.4, 120, "8B"),
    Piece("outro", "DJ Demo", "Outro", "wav", (60, 55, 52, 48), 0.22, 1.4, 120, "8B"),
)


def render(piece: Piece) -> bytes:
    """Return the bytes of the audio file of `piece`."""
    return _ENCODERS[piece.ext](_play(piece))


def _play(piece: Piece) -> array[int]:
    """Return the samples of `piece`, 16 bits."""
    frames = int(piece.seconds * RATE)
    mix = [0.0] * frames
    for number, note in enumerate(piece.notes):
        start = int(number * piece.step * RATE)
        mix[start:] = map(add, mix[start:], _pluck(note, frames - start))
    fade = frames // 4
    mix[-fade:] = (sample * (1 - n / fade) for n, sample in enumerate(mix[-fade:]))
    scale = 28000 / max(map(abs, mix))
    return array("h", map(int, map(scale.__mul__, mix)))


def _pluck(note: int, frames: int) -> list[float]:
    """Return a plucked string: a sawtooth that is smoothed every second period (after Karplus and Strong, 1983)."""
    frequency = 440 * 2 ** ((note - 69) / 12)
    length = round(RATE / frequency)
    period = [1 - 2 * n / length for n in range(length)]
    string: list[float] = []
    while len(string) < frames:
        string += period * 2
        period = [(a + b) * 0.496 for a, b in zip(period, period[1:] + period[:1], strict=True)]
    return string[:frames]


def _wav(samples: array[int]) -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())
    return file.getvalue()


def _aiff(samples: array[int]) -> bytes:
    """Return an AIFF file: a COMM chunk, whose rate is an 80-bit float, and an SSND chunk with big-endian samples."""
    exponent = RATE.bit_length() - 1
    rate = struct.pack(">HQ", 16383 + exponent, RATE << (63 - exponent))
    comm = struct.pack(">4sIhIh", b"COMM", 18, 1, len(samples), 16) + rate
    ssnd = struct.pack(">4sIII", b"SSND", 8 + 2 * len(samples), 0, 0) + _in_order(samples, "big")
    return struct.pack(">4sI4s", b"FORM", 4 + len(comm) + len(ssnd), b"AIFF") + comm + ssnd


def _in_order(samples: array[int], order: str) -> bytes:
    ordered = samples[:]
    if sys.byteorder != order:
        ordered.byteswap()
    return ordered.tobytes()


_ENCODERS: dict[str, Callable[[array[int]], bytes]] = {"wav": _wav, "aiff": _aiff}
