"""WAVE of all kinds, and CAF: chunks of a name, a size and a body; and AU, which has a header."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from cachestore.media import caf, iff, w64
from cachestore.media.span import Broken, Cut, Span

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from cachestore.media.span import Chunk

_UNKNOWN = 0xFFFFFFFF
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # of a sample, by encoding
_UNPACKED = {1, 3, 6, 7, 0xFFFE}  # PCM, float, A-law, µ-law, and what says so in an extension


def of_wave(file: BinaryIO, _: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of RIFF, RF64 or BW64."""
    span = Span.of(file)
    return _of_wave(span, iff.chunks(span, "little", sound=b"data"))


def of_w64(file: BinaryIO, _: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of Wave64."""
    span = Span.of(file)
    return _of_wave(span, w64.chunks(span))


def _of_wave(span: Span, chunks: Iterable[Chunk]) -> tuple[float | None, float | None, int | None]:
    """Return what the chunks say. Where the sound is packed, bytes a second are an estimate, and `fact` counts.

    The size of the sound may be in `ds64`, or nobody knew it yet (EBU Tech 3306 §3), as where a recorder crashed.
    """
    coding, channels, rate, bytes_per_second, long_size, samples = 0, 0, 0, 0, 0, 0
    with suppress(Broken, Cut):  # it ends before its sound
        for name, place, size in chunks:
            match name[:4]:
                case b"ds64":
                    [long_size] = struct.unpack("<8xQ", span.read(place, 16))
                case b"fmt ":
                    coding, channels, rate, bytes_per_second = struct.unpack("<HHII", span.read(place, 12))
                case b"fact":
                    [samples] = struct.unpack("<I", span.read(place, 4))
                case b"data":
                    left = span.end - place
                    said = size if size and size > 0 else long_size or left
                    if coding not in _UNPACKED and 0 < samples < _UNKNOWN and said <= left:
                        return samples / rate, rate, channels
                    return min(said, left) / bytes_per_second, rate, channels
    return None, rate, channels


def of_au(file: BinaryIO, _: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of AU; the seconds only where the sound is not packed."""
    sound, size, encoding, rate, channels = struct.unpack(">4xIIIII", file.read(24))
    left = file.seek(0, os.SEEK_END) - sound
    frame = _AU_BYTES.get(encoding, 0) * channels
    return min(size, left) / frame / rate if frame else None, rate, channels


def of_caf(file: BinaryIO, _: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of a CAF file (Core Audio Format Specification 1.0)."""
    span = Span.of(file)
    rate, per_packet, frames_per_packet, channels, frames = 0.0, 0, 0, 0, 0.0
    with suppress(Broken, Cut):  # what somebody appended
        for name, place, size in caf.chunks(span, span.end):
            if name == b"desc":
                rate, per_packet, frames_per_packet, channels = struct.unpack(">d8xIII4x", span.read(place, 32))
            elif name == b"pakt":
                [frames] = struct.unpack(">8xq", span.read(place, 16))
            elif name == b"data" and per_packet:
                left = span.end - place
                sound = (left if size is None else min(size, left)) - 4  # an edit count comes before it
                frames = sound // per_packet * frames_per_packet
    return frames / rate if rate else None, rate, channels
