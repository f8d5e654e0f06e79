"""MP4 in fragments, and WebM: boxes in boxes."""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING

from cachestore.media.mp4 import MOST_BOXES, boxes
from cachestore.media.span import Span
from cachestore.media.webm import CLUSTER, SEGMENT, element
from exporter_plugin.facts.tags import of_any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from cachestore.media.mp4 import Box

_MOST = 1 << 20  # bytes of a box that are looked at; the header of WebM is at its beginning
_NESTS = {b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"traf"}
_TELLING = {b"mdhd", b"stsd", b"tfdt", b"tfhd", b"trex", b"trun"}
_PARAMETRIC_STEREO = 29
_DESCRIPTORS = {3: 3, 4: 13}  # of MPEG-4: how much they hold before those in them
_AAC_CHANNELS = {7: 8, 11: 7, 12: 8, 14: 8}  # all else is its number; 0 is told elsewhere
_SCALE, _DURATION, _RATE, _CHANNELS = (bytes.fromhex(name) for name in ("2ad7b1", "4489", "b5", "9f"))
_MASTERS = {SEGMENT, *(bytes.fromhex(name) for name in ("1549a966", "1654ae6b", "ae", "e1"))}  # info, tracks, sound


def of_mp4(file: BinaryIO, ext: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of MP4, also where only the last fragment tells the end."""
    seconds, rate, channels = of_any(file, ext)
    span = Span.of(file)
    found: dict[bytes, Box] = {}
    for box in islice(boxes(span, 0, span.end), MOST_BOXES):
        found[box.name] = box
        if seconds and box.name == b"moov":
            break
    if b"moov" not in found:
        return seconds, rate, channels
    index = _inside(span, found[b"moov"])
    if not seconds and b"moof" in found:
        seconds = _fragments_end(dict(index), dict(_inside(span, found[b"moof"])))
    sounds = (body for name, body in index if name == b"stsd" and b"esds" in body)
    told = None
    with suppress(IndexError):  # it ends too early
        told = _aac_channels(next(sounds, b""))
    return seconds, rate, told or channels


def _inside(span: Span, box: Box) -> list[tuple[bytes, bytes]]:
    """Return name and body of what is in a box that tells something; of equal ones the first track's come last."""
    content = span.read(box.body, min(box.end - box.body, _MOST))
    held = Span.of(BytesIO(content))
    return [
        (inner.name, content[inner.body : inner.end]) for inner in _leaves(held, 0, held.end) if inner.name in _TELLING
    ]


def _leaves(span: Span, place: int, end: int) -> Iterator[Box]:
    for box in reversed([*boxes(span, place, end)]):
        if box.name in _NESTS:
            yield from _leaves(span, box.body, min(box.end, end))
        else:
            yield box


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
    span = Span.of(file)
    found = dict(_elements(span, 0, min(span.end, _MOST)))
    duration = _number(found[_DURATION]) if _DURATION in found else 0
    scale = int.from_bytes(found.get(_SCALE, b""), "big") or 1_000_000
    rate = _number(found[_RATE]) if _RATE in found else None
    return duration * scale / 1e9, rate, int.from_bytes(found.get(_CHANNELS, b"\1"), "big")


def _elements(span: Span, place: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield id and body of each element that is no master, and of those in masters, up to the sound."""
    while place < end:
        name, body, size = element(span, place)
        if name == CLUSTER:
            return
        place = end if size is None else body + size
        if name in _MASTERS:
            yield from _elements(span, body, min(place, end))
        else:
            yield name, span.read(body, min(place - body, _MOST))


def _number(body: bytes) -> float:
    [number] = struct.unpack(">d" if len(body) == 8 else ">f", body)
    return float(number)
