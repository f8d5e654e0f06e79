"""AAC in ADTS, WavPack, and FLAC in Ogg: what only the frames or the last page tell."""

from __future__ import annotations

import mmap
import os
import struct
from typing import TYPE_CHECKING

from cachestore.media.tail import id3v2_size
from exporter_plugin.facts.tags import of_any

if TYPE_CHECKING:
    from typing import BinaryIO

_ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_WAVPACK_RATES = (6000, 8000, 9600, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000, 192000)
_UNKNOWN = 0xFFFFFFFF
_MOST_BLOCKS = 128  # each has one or two of the channels
_LAST_PAGE = 1 << 17  # no page of Ogg is longer than 65,307 bytes (RFC 3533 §6)


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


def of_ogg_flac(file: BinaryIO, ext: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of FLAC in Ogg; its last page says how many samples there are."""
    _, rate, channels = of_any(file, ext)
    file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_PAGE))
    end = file.read()
    [samples] = struct.unpack_from("<q", end, end.rindex(b"OggS") + 6)
    return samples / rate if rate else None, rate, channels
