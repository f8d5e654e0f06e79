"""MP3, AAC in ADTS, and WavPack: what only the frames tell."""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

from cachestore.media.mpeg import mp3_frame
from cachestore.media.sniff import container
from cachestore.media.tail import id3v2_size
from exporter_plugin.facts.tags import of_any

if TYPE_CHECKING:
    from typing import BinaryIO

_ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_WAVPACK_RATES = (6000, 8000, 9600, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000, 192000)
_UNKNOWN = 0xFFFFFFFF
_MOST_BLOCKS = 128  # each has one or two of the channels
_TAG = 64  # bytes of the first frame in which an encoder tells the number of all


def of_mp3(file: BinaryIO, ext: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of MP3: where no Xing, Info or VBRI counts the frames, we do.

    Bit rates may vary, and then the first frames say little of how long the file is.
    """
    seconds, rate, channels = of_any(file, ext)
    found = container(file)
    if found is None or not rate:
        return seconds, rate, channels
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    place, frames = found.start, 0
    head, kind = content[place : place + _TAG], content[place : place + 2]
    if any(name in head for name in (b"Xing", b"Info", b"VBRI")):
        return seconds, rate, channels
    while place != -1:
        length = mp3_frame(content[place : place + 4]) if content[place : place + 2] == kind else 0
        frames += bool(length)
        place = place + length if length else content.find(kind, place + 1)
    return frames * (1152 if kind[1] & 8 else 576) / rate, rate, channels  # MPEG 1, or 2


def of_adts(file: BinaryIO, _: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of AAC frames (ISO 13818-7 §6.2): all of them have to be counted."""
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    place = blocks = 0
    while size := id3v2_size(content[place : place + 10]):
        place += size
    first = place
    while place + 7 <= len(content) and content[place] == 0xFF and content[place + 1] & 0xF6 == 0xF0:
        length = (content[place + 3] & 3) << 11 | content[place + 4] << 3 | content[place + 5] >> 5
        blocks += (content[place + 6] & 3) + 1
        place += max(length, 7)
    rate = _ADTS_RATES[content[first + 2] >> 2 & 15]
    channels = (content[first + 2] & 1) << 2 | content[first + 3] >> 6
    return blocks * 1024 / rate, rate, 8 if channels == 7 else channels


def of_wavpack(file: BinaryIO, _: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of a WavPack file, whose first blocks have a few channels each."""
    channels, place, rate, samples = 0, 0, None, None
    for number in range(_MOST_BLOCKS):
        file.seek(place)
        size, total, flags = struct.unpack("<4xI4xI8xI4x", file.read(32))
        if not number:
            samples = None if total == _UNKNOWN else total
            rate = dict(enumerate(_WAVPACK_RATES)).get(flags >> 23 & 15)
        channels += 1 if flags & 4 else 2
        if flags & 0x1000:  # the last block of these samples
            break
        place += 8 + size
    return samples / rate if samples and rate else None, rate, channels
