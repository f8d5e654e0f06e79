"""Ogg: pages of one stream, of several side by side, or of one after the other (RFC 3533 §4)."""

from __future__ import annotations

import mmap
import os
import struct
from itertools import takewhile
from typing import TYPE_CHECKING

from cachestore.media.ogg import pages
from exporter_plugin.facts.tags import of_any

if TYPE_CHECKING:
    from typing import BinaryIO

_LAST_PAGE = 1 << 17  # no page is longer than 65,307 bytes (§6)
_BEGINS = 2  # a flag of the first page of a stream


def of_ogg(file: BinaryIO, ext: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of Ogg; a chain of streams is as long as all of them.

    Rate and channels are those of the first.
    """
    seconds, rate, channels = of_any(file, ext)
    file.seek(0)
    first = takewhile(lambda page: page[1] & _BEGINS, pages(file.read(_LAST_PAGE)))
    streams = {serial for serial, *_ in first}
    file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_PAGE))
    end = file.read()
    last = end.rindex(b"OggS")
    samples, serial = struct.unpack_from("<qI", end, last + 6)
    if serial not in streams:
        return _of_chain(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), rate, channels
    if ext == "oga":
        seconds = samples / rate if rate else None
    return seconds, rate, channels


def _of_chain(content: mmap.mmap) -> float:
    """Return the seconds of all streams of sound together, each of which has a number of its own."""
    clocks: dict[int, tuple[int, int]] = {}
    ends: dict[int, int] = {}
    for serial, flags, samples, place in pages(content):
        if flags & _BEGINS:
            clocks[serial] = _clock(content[place : place + 32])
        ends[serial] = max(samples, ends.get(serial, 0))
    return sum((ends[serial] - skipped) / rate for serial, (rate, skipped) in clocks.items() if rate)


def _clock(head: bytes) -> tuple[int, int]:
    """Return the sample rate of a stream that begins so, and how many samples are not to be heard; 0 if it is no sound.

    Vorbis I §4.2.2; RFC 7845 §5.1; "Ogg mapping for FLAC", where STREAMINFO is at 17 (RFC 9639 §8.2).
    """
    if head.startswith(b"\x01vorbis"):
        return int.from_bytes(head[12:16], "little"), 0
    if head.startswith(b"OpusHead"):
        return 48000, int.from_bytes(head[10:12], "little")
    return (int.from_bytes(head[27:30], "big") >> 4 if head.startswith(b"\x7fFLAC") else 0), 0
