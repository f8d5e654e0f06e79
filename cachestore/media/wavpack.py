"""WavPack: blocks of at most one MiB that follow each other (WavPack 4 & 5 file format, 2.0)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from cachestore.media.span import Cut
from cachestore.media.tail import sound_end

if TYPE_CHECKING:
    from cachestore.media.span import Span

_HEADER = struct.Struct("<4sI HBB III I")  # mark, size - 8, version, high bytes, total, index, samples, flags
_LARGEST = 1 << 20
_FINAL = 0x1000  # the last block of those that hold the channels of the same samples


def check_wavpack(span: Span) -> None:
    """Raise Cut when the last block is not whole, or does not reach the number of samples that the first one says.

    Only the blocks at both ends are looked at: with the last one there, those between are there.
    """
    last = _last_block(span)
    if last is None:
        raise Cut(f"the last block of the WavPack file, which ends after {span.end - span.start} bytes, is not whole")
    _, _, _, index_high, _, _, index, samples, flags = _HEADER.unpack(last)
    total = _total(span.read(span.start, _HEADER.size))
    reached = (index_high << 32) + index + samples
    if samples and (not flags & _FINAL or (total is not None and reached < total)):
        raise Cut(f"the WavPack file ends after {reached} of {total or 'its'} samples")


def _last_block(span: Span) -> bytes | None:
    """Return the header of the block that ends where the sound ends."""
    solid, end = sound_end(span)
    low = max(span.start, solid - _LARGEST - 8)
    data = span.read(low, end - low)
    place = data.rfind(b"wvpk")
    while place != -1:
        span.check()
        header = data[place : place + _HEADER.size]
        if len(header) == _HEADER.size and solid <= low + place + 8 + _HEADER.unpack(header)[1] <= end:
            return header
        place = data.rfind(b"wvpk", 0, place + 3)
    return None


def _total(header: bytes) -> int | None:
    """Return how many samples the first block says there are, None where it was written to a pipe."""
    _, _, _, _, high, low, *_ = _HEADER.unpack(header)
    return None if low in {0, 0xFFFFFFFF} else low + (high << 32) - high
