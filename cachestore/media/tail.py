"""What ordinary programs append to a file of audio frames: tags and zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cachestore.media.span import Span

_REACH = 1 << 20  # how far back a tag or padding is looked for
_MOST_TAGS = 16
_MOST_MARKS = 100  # of one kind of tag: in sound, three given bytes stand by accident once in 16 MB


def sound_end(span: Span) -> tuple[int, int]:
    """Return between which places the sound ends: at the first zero of the last bytes, or behind some of these zeros.

    Tags behind it are left out: ID3v1 (128 bytes), APEv1 and APEv2 (by their footer), ID3v2 (id3.org, ID3v2.4 §5), any
    number of each up to a bound, with zeros between them. A last frame may itself end in zeros: hence two places.
    """
    end = span.end
    for _ in range(_MOST_TAGS):
        low = max(span.start, end - _REACH)
        last = span.read(low, end - low)
        solid = len(last.rstrip(b"\0"))
        tags = (_ape(last, solid), _id3v2(last, solid), _id3v1(last, solid))  # the last one's mark is in the first's
        starts = [low + tag for tag in tags if tag is not None and low + tag >= span.start]
        if not starts:
            return low + solid, end
        end = starts[0]
    return end, end


# Each takes the last bytes before `end` and how many of them are there without the zeros at the end, and returns where
# the tag starts, which may be before these bytes. The tag ends there or among the zeros.


def _id3v1(last: bytes, solid: int) -> int | None:
    place = last.find(b"TAG", max(0, solid - 128), max(0, len(last) - 125))
    return None if place == -1 else place


def _ape(last: bytes, solid: int) -> int | None:
    place = last.rfind(b"APETAGEX", max(0, solid - 32))
    if place == -1 or place + 32 > len(last):
        return None
    size = int.from_bytes(last[place + 12 : place + 16], "little")  # of the items and this footer
    header = 32 if last[place + 23] & 0x80 else 0
    return place + 32 - size - header if size >= 32 else None


def _id3v2(last: bytes, solid: int) -> int | None:
    place = last.rfind(b"ID3")
    for _ in range(_MOST_MARKS):
        if place == -1:
            return None
        size = id3v2_size(last[place : place + 10])
        if size and solid <= place + size <= len(last):
            return place
        place = last.rfind(b"ID3", 0, place + 2)
    return None


def id3v2_size(header: bytes) -> int:
    """Return the size in bytes of the tag that starts with these ten bytes, 0 if none does (ID3v2.4 §3.1)."""
    if header[:3] != b"ID3" or len(header) < 10 or max(header[6:10]) >= 0x80:
        return 0
    size = header[6] << 21 | header[7] << 14 | header[8] << 7 | header[9]
    return 10 + size + (10 if header[5] & 0x10 else 0)
