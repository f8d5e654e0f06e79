"""MP4 in fragments, and WebM: boxes in boxes."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from exporter_plugin.facts.tags import of_any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_MOST_BOXES = 1_000_000
_HEAD = 1 << 20  # the header of WebM is at its beginning
_NESTS = {b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"traf"}
_PARAMETRIC_STEREO = 29
_DESCRIPTORS = {3: 3, 4: 13}  # of MPEG-4: how much they hold before those in them
_AAC_CHANNELS = {7: 8, 11: 7, 12: 8, 14: 8}  # all else is its number; 0 is told elsewhere
_SEGMENT, _INFO, _TRACKS, _TRACK, _AUDIO = 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE1
_SCALE, _DURATION, _RATE, _CHANNELS = 0x2AD7B1, 0x4489, 0xB5, 0x9F
_MASTERS = {_SEGMENT, _INFO, _TRACKS, _TRACK, _AUDIO}


def of_mp4(file: BinaryIO, ext: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of MP4, also where only the last fragment tells the end."""
    seconds, rate, channels = of_any(file, ext)
    found: dict[bytes, tuple[int, int]] = {}
    for name, place, size in _boxes(file):
        found[name] = place, size
        if seconds and name == b"moov":
            break
    if b"moov" not in found:
        return seconds, rate, channels
    index = list(_inside(_box(file, *found[b"moov"])))
    if not seconds and b"moof" in found:
        seconds = _fragments_end(dict(index), dict(_inside(_box(file, *found[b"moof"]))))
    sounds = (body for name, body in index if name == b"stsd" and b"esds" in body)
    told = None
    with suppress(IndexError):  # it ends too early
        told = _aac_channels(next(sounds, b""))
    return seconds, rate, told or channels


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, place and size of each outermost box."""
    place = 0
    for _ in range(_MOST_BOXES):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        size = int.from_bytes(head[8:16], "big") if size == 1 else size
        if size < 8:
            return
        yield name, place, size
        place += size


def _aac_channels(sound: bytes) -> int | None:
    """Return the channels that the decoder is told of (ISO 14496-3 §1.6.2.1): those of the box are 2 whatever is in it.

    None if nobody tells it any.
    """
    place = sound.find(b"esds") + 8  # behind version and flags
    told = b""
    while 8 <= place < len(sound) - 2:  # descriptors (ISO 14496-1 §7.2.6)
        tag, place = sound[place], place + 1
        while sound[place] & 0x80:
            place += 1
        place += 1
        if tag == 5:
            told = sound[place : place + 8]
            break
        if tag not in _DESCRIPTORS:  # MP3 in MP4 has no more to tell
            return None
        place += _DESCRIPTORS[tag]
    bits = f"{int.from_bytes(told.ljust(8, bytes(1)), 'big'):064b}"
    kind, place = int(bits[:5], 2), 11 if bits.startswith("11111") else 5
    place += 28 if bits[place : place + 4] == "1111" else 4
    channels = int(bits[place : place + 4], 2)
    if kind == _PARAMETRIC_STEREO and channels == 1:
        return 2
    return _AAC_CHANNELS.get(channels, channels or None)


def _fragments_end(index: dict[bytes, bytes], last: dict[bytes, bytes]) -> float:
    """Return the seconds at which the last fragment ends (ISO 14496-12 §8.8)."""
    header = index[b"mdhd"]
    place = 20 if header[0] else 12  # its times have 64 bits in version 1
    timescale = int.from_bytes(header[place : place + 4], "big")
    return _end(last, index.get(b"trex", bytes(24))) / timescale


def _box(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place + 8)
    return file.read(min(size, _HEAD) - 8)


def _inside(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and body of each box in `content`, and of those in them; of equal ones the first track's come last."""
    place, boxes = 0, []
    while place + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, place)
        boxes.append((name, content[place + 8 : place + size]))
        place += max(size, 8)
    for name, body in reversed(boxes):
        yield name, body
        if name in _NESTS:
            yield from _inside(body)


def _end(fragment: dict[bytes, bytes], defaults: bytes) -> int:
    """Return the time at which a fragment ends, in units of the track's timescale."""
    header, run, time = fragment[b"tfhd"], fragment[b"trun"], fragment[b"tfdt"]
    flags = int.from_bytes(header[1:4], "big")
    at = 8 + 8 * bool(flags & 1) + 4 * bool(flags & 2)
    each = int.from_bytes(header[at : at + 4] if flags & 8 else defaults[12:16], "big")
    flags, samples = int.from_bytes(run[1:4], "big"), int.from_bytes(run[4:8], "big")
    start = int.from_bytes(time[4:12] if time[0] else time[4:8], "big")
    if not flags & 0x100:
        return start + samples * each
    width = 4 * (flags >> 8 & 15).bit_count()
    rows = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
    return start + sum(int.from_bytes(run[row : row + 4], "big") for row in range(rows, len(run) - width + 1, width))


def of_webm(file: BinaryIO, _: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of WebM (RFC 8794, RFC 9559)."""
    found = dict(_elements(file.read(_HEAD)))
    duration = _number(found[_DURATION]) if _DURATION in found else 0
    scale = int.from_bytes(found.get(_SCALE, b""), "big") or 1_000_000
    rate = _number(found[_RATE]) if _RATE in found else None
    return duration * scale / 1e9, rate, int.from_bytes(found.get(_CHANNELS, b"\1"), "big")


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield id and body of each element that is no master, and of those in masters."""
    place = 0
    while place < len(content):
        width = 9 - content[place].bit_length()
        name = int.from_bytes(content[place : place + width], "big")
        place += width
        length = 9 - content[place].bit_length()
        size = int.from_bytes(content[place : place + length], "big") & (1 << 7 * length) - 1
        place += length
        is_open = size == (1 << 7 * length) - 1
        body = content[place:] if is_open else content[place : place + size]
        if name in _MASTERS:
            yield from _elements(body)
        else:
            yield name, body
        place += len(body) if is_open else size


def _number(body: bytes) -> float:
    [number] = struct.unpack(">d" if len(body) == 8 else ">f", body)
    return float(number)
