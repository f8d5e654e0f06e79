"""MPEG audio without a container: frames of MP3 (ISO 11172-3 §2.4) or of AAC in ADTS (ISO 13818-7 §6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.media.span import Cut
from cachestore.media.tail import sound_end

if TYPE_CHECKING:
    from cachestore.media.span import Span

_MPEG1_KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KILOBITS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_LARGEST_MP3_FRAME = 1441
_WRITERS = (b"LAME", b"Lavc", b"Lavf")
_PIECE = 256 * 1024
_LARGEST_ADTS_FRAME = 8191


def first_frame(head: bytes, *, complete: bool, skip_padding: bool) -> tuple[str, int] | None:
    """Return the extension and the place of a stream of frames: at the start, or behind any padding of a tag.

    A frame counts when another of its kind follows, or when it is the only one: `complete` says that nothing follows
    `head`.
    """
    place = head.find(b"\xff")
    while place != -1 and (skip_padding or not head[:place].strip(b"\0")):
        for ext, frame_length in (("mp3", mp3_frame), ("aac", _adts_frame)):
            length = frame_length(head[place : place + 7])
            following = place + length
            only = complete and following == len(head)
            if length and (only or head[following : following + 2] == head[place : place + 2]):
                return ext, place
        place = head.find(b"\xff", place + 1)
    return None


def check_mp3(span: Span) -> None:
    """Raise Cut when bytes are missing of those that the first frame announces. Many files announce nothing.

    Encoders count alike, but for this frame itself. Where the length is another one, as when a tag that was counted has
    been taken away, the frames tell.
    """
    head = span.read(span.start, 192).ljust(192, b"\0")
    announced, frames = _xing(head) or _vbri(head)
    solid, end = sound_end(span)
    lengths = range(solid - span.start, end - span.start + 1)
    whole = announced + mp3_frame(head)
    if not announced or whole < lengths.start or announced in lengths or whole in lengths:
        return
    if span.end - span.start + _LARGEST_MP3_FRAME < announced:
        span.hold("MP3 file", span.start + announced)
    if _lacks_frames(span, end, frames):
        length = end - span.start
        raise Cut(f"the MP3 file ends after {length} bytes, before the last frame that its header announces")


def check_adts(span: Span) -> None:
    """Raise Cut when no frame ends where the file ends. Nothing tells a cut between two frames."""
    solid, end = sound_end(span)
    low = max(span.start, solid - _LARGEST_ADTS_FRAME)
    data = span.read(low, end - low)
    kind = span.read(span.start, 2)
    place = data.rfind(kind)
    while place != -1:
        length = _adts_frame(data[place : place + 7])
        if length and solid <= low + place + length <= end:
            return
        place = data.rfind(kind, 0, place + 1)
    raise Cut(f"the last frame of the AAC file, which ends after {span.end - span.start} bytes, is not whole")


def _lacks_frames(span: Span, end: int, expected: int) -> bool:
    """Return whether the last frame before `end` is not whole, or there are fewer than `expected`."""
    place, found, low, data = span.start, 0, 0, b""
    while place < end:
        if place + 4 > low + len(data):
            low, data = place, span.read(place, _PIECE)
        header = data[place - low : place - low + 4]
        length = mp3_frame(header)
        if not length and len(header) == 4:
            return False  # something else than frames: nobody can tell how much of it there has to be
        if not length or place + length > end:
            return True
        place, found = place + length, found + 1
    return found < expected


def _xing(head: bytes) -> tuple[int, int] | None:
    """Return how many bytes and frames a Xing or Info tag announces, None without one; it is behind the side info.

    Of the writers, those that put their name there are known not to count the frame of the tag.
    """
    place = max(head.find(b"Xing", 13, 42), head.find(b"Info", 13, 42))
    if place == -1 or not head[place + 7] & 2:
        return None
    numbers = [int.from_bytes(head[place + at : place + at + 4], "big") for at in (8, 12)]
    if not head[place + 7] & 1:
        return numbers[0], 0
    named = head[place + 120 : place + 124] in _WRITERS
    return numbers[1], numbers[0] + named


def _vbri(head: bytes) -> tuple[int, int]:
    """Return how many bytes and frames a VBRI tag of Fraunhofer's encoder announces, 0 without one."""
    if head[36:40] != b"VBRI":
        return 0, 0
    return int.from_bytes(head[46:50], "big"), int.from_bytes(head[50:54], "big")


def mp3_frame(header: bytes) -> int:
    """Return the length in bytes of a frame of MPEG 1, 2 or 2.5 layer III, 0 if this is none."""
    if len(header) < 4 or header[1] & 0xE6 != 0xE2 or header[1] & 0x18 == 0x08:
        return 0
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if bitrate in {0, 15} or rate == 3:
        return 0
    version = header[1] >> 3 & 3  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    kilobits = (_MPEG1_KILOBITS if version == 3 else _MPEG2_KILOBITS)[bitrate - 1]
    hertz = (44100, 48000, 32000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    return (144 if version == 3 else 72) * kilobits * 1000 // hertz + (header[2] >> 1 & 1)


def _adts_frame(header: bytes) -> int:
    """Return the length in bytes of an ADTS frame of AAC, 0 if this is none."""
    if len(header) < 7 or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0
