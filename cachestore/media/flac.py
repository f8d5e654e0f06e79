"""FLAC: metadata blocks, then frames, each with a checksum and its place among the samples (RFC 9639)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from cachestore.media.span import Broken, Cut
from cachestore.media.tail import sound_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cachestore.media.span import Span

_MOST_BLOCKS = 10_000
_LARGEST_FRAME = 1 << 22  # twice the samples of 65535 times 8 channels as they are
_MOST_CANDIDATES = 100  # by accident a byte begins what could be a frame once in 16 MB
_STRIDE = 4096  # bytes, a millisecond of work


@dataclass(frozen=True, slots=True)
class _StreamInfo:
    """What the first metadata block says (§8.2): samples a frame, bytes a frame at most, samples or 0 for unknown."""

    block: int
    largest_frame: int
    total: int


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the header of a frame says (§9.1): its number, or that of its first sample, and how many samples it has."""

    number: int
    counts_samples: bool
    samples: int


def check_flac(span: Span) -> None:
    """Raise Cut when metadata or the last frame is not whole, or that is not the last one that the header announces.

    A cut is not seen when it takes nothing but zero bytes from the end of a frame, since its checksum holds without
    them; and, where the number of samples is unknown, when it is between two frames.
    """
    info, frames = _metadata(span)
    solid, _ = sound_end(span)
    low = max(frames, solid - info.largest_frame)
    last = _last_frame(span.read(low, solid - low), span.check)
    if last is None:
        raise Cut(f"the last frame of the FLAC file, which ends after {span.end - span.start} bytes, is not whole")
    reached = last.number * (1 if last.counts_samples else info.block) + last.samples
    if reached < info.total:
        raise Cut(f"the FLAC file ends after {reached} of {info.total} samples that its header announces")


def _metadata(span: Span) -> tuple[_StreamInfo, int]:
    """Return what the first block says, and where the frames start (§8.1)."""
    span.hold("FLAC file", span.start + 8)
    if span.read(span.start + 4, 4) not in {b"\0\0\0\x22", b"\x80\0\0\x22"}:
        raise Broken("the FLAC file does not begin with its stream info")
    place = span.start + 4
    for _ in range(_MOST_BLOCKS):
        span.hold("FLAC file", place + 4)
        header = span.read(place, 4)
        place += 4 + int.from_bytes(header[1:], "big")
        span.hold("FLAC file", place)
        if header[0] & 0x80:
            return _stream_info(span.read(span.start + 8, 34)), place
    raise Broken(f"the FLAC file has more than {_MOST_BLOCKS} metadata blocks")


def _stream_info(block: bytes) -> _StreamInfo:
    samples = int.from_bytes(block[2:4], "big") or 65535
    channels = (block[12] >> 1 & 7) + 1
    bits = (block[12] & 1) << 4 | block[13] >> 4
    verbatim = channels * (samples * (bits + 2) // 8 + 8) + 32  # a frame that compresses nothing
    largest = max(verbatim, int.from_bytes(block[7:10], "big")) + 64
    return _StreamInfo(samples, min(largest, _LARGEST_FRAME), int.from_bytes(block[13:18], "big") & (1 << 36) - 1)


def _last_frame(data: bytes, check: Callable[[], None]) -> _Frame | None:
    """Return the last frame that starts in `data` and ends with it; None if a hundred that could be one are none."""
    for place in islice(_starts(data, check), _MOST_CANDIDATES):
        if frame := _frame(data[place : place + 16]):
            return frame
    return None


def _starts(data: bytes, check: Callable[[], None]) -> Iterator[int]:
    """Yield where a frame that ends with `data` may start, from its end.

    The checksum of a whole frame, itself included, is 0 (§9.3), and a checksum can be run backwards: starting with 0 at
    the end it is 0 again where a frame starts. So one pass tries all places, and zeros at the end do not matter.
    """
    table = _crc16_table()
    entry_by_low_byte = bytes(sorted(range(256), key=lambda index: table[index] & 0xFF))
    crc = 0
    for end in range(len(data), 0, -_STRIDE):
        check()
        for place in range(end - 1, max(end - _STRIDE, 0) - 1, -1):
            index = entry_by_low_byte[crc & 0xFF]
            crc = (index ^ data[place]) << 8 | (crc ^ table[index]) >> 8
            if not crc and data[place] == 0xFF:
                yield place


def _frame(header: bytes) -> _Frame | None:
    """Return what a frame header says, None when it is none."""
    if len(header) < 6 or header[1] & 0xFE != 0xF8 or header[3] & 1:
        return None
    length = max(1, 8 - (header[4] ^ 0xFF).bit_length())  # of the number, coded like UTF-8 (§9.1.5)
    size_code, rate_code = header[2] >> 4, header[2] & 15
    size_bytes, rate_bytes = {6: 1, 7: 2}.get(size_code, 0), {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    end = 4 + length + size_bytes + rate_bytes
    if not size_code or rate_code == 15 or length > 7 or end >= len(header) or _crc8(header[:end]) != header[end]:
        return None
    number = header[4] & (0x7F >> length if length > 1 else 0x7F)
    for byte in header[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    size = int.from_bytes(header[4 + length : 4 + length + size_bytes], "big") + 1
    return _Frame(number, bool(header[1] & 1), size if size_bytes else _block_samples(size_code))


def _block_samples(code: int) -> int:
    """Return the number of samples that a code stands for (§9.1.1)."""
    if code == 1:
        return 192
    return 576 << code - 2 if code <= 5 else 256 << code - 8


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x107 if crc & 0x80 else 0)) & 0xFF
    return crc


@cache
def _crc16_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x18005 if crc & 0x8000 else 0)) & 0xFFFF
        table.append(crc)
    return table
