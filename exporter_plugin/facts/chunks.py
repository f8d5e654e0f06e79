"""WAVE of all kinds, and CAF: chunks of a name, a size and a body; and AU, which has a header."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_MOST_CHUNKS = 10_000
_UNKNOWN = 0xFFFFFFFF  # the size is in `ds64`, or nobody knew it yet (EBU Tech 3306 §3), as 0 where a recorder crashed
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # of a sample, by encoding
_UNPACKED = {1, 3, 6, 7, 0xFFFE}  # PCM, float, A-law, µ-law, and what says so in an extension


def of_wave(file: BinaryIO, _: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of RIFF, RF64 or BW64."""
    return _of_wave(_chunks(file, 12, "<4sI", 2), file)


def of_w64(file: BinaryIO, _: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of Wave64, whose sizes count the header of the chunk."""
    return _of_wave(_chunks(file, 40, "<16sq", 8, counted=24), file)


def _of_wave(chunks: Iterator[tuple[bytes, int, int]], file: BinaryIO) -> tuple[float | None, float | None, int | None]:
    """Return what the chunks say. Where the sound is packed, bytes a second are an estimate, and `fact` counts."""
    coding, channels, rate, bytes_per_second, long_size, samples = 0, 0, 0, 0, 0, 0
    for name, size, left in chunks:
        match name[:4]:
            case b"ds64":
                [long_size] = struct.unpack_from("<Q", file.read(16), 8)
            case b"fmt ":
                coding, channels, rate, bytes_per_second = struct.unpack_from("<HHII", file.read(12))
            case b"fact":
                [samples] = struct.unpack("<I", file.read(4))
            case b"data":
                said = (long_size or left) if size <= 0 or size == _UNKNOWN else size
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
    rate, per_packet, frames_per_packet, channels, frames = 0.0, 0, 0, 0, 0.0
    for name, size, left in _chunks(file, 8, ">4sq", 1):
        if name == b"desc":
            rate, per_packet, frames_per_packet, channels = struct.unpack(">d8xIII4x", file.read(32))
        elif name == b"pakt":
            [frames] = struct.unpack_from(">q", file.read(16), 8)
        elif name == b"data" and per_packet:
            sound = (left if size < 0 else min(size, left)) - 4  # an edit count comes before it
            frames = sound // per_packet * frames_per_packet
    return frames / rate if rate else None, rate, channels


def _chunks(
    file: BinaryIO, place: int, header: str, even: int, *, counted: int = 0
) -> Iterator[tuple[bytes, int, int]]:
    """Yield name and size of each chunk and the bytes that are left for it, with the file at its body.

    A size in the file is `counted` bytes more than that of the body.
    """
    end = file.seek(0, os.SEEK_END)
    length = struct.calcsize(header)
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        head = file.read(length)
        if len(head) < length:
            return
        name, size = struct.unpack(header, head)
        size -= counted
        place += length
        yield name, size, end - place
        if size < 0:
            return
        place += size + -size % even
