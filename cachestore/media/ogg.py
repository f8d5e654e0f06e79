"""Ogg: pages, each with a checksum, the last one marked (RFC 3533)."""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING
from zlib import crc32

from cachestore.media.span import Cut
from cachestore.media.tail import sound_end

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

    from cachestore.media.span import Span

_LARGEST_PAGE = 65_307
_CODECS = {b"\x01vorbis": "ogg", b"OpusHead": "opus", b"\x7fFLAC": "oga"}


def codec(head: bytes) -> str | None:
    """Return the extension of the first codec that the stream announces; each has a page at the start."""
    for *_, body in pages(head):
        for mark, ext in _CODECS.items():
            if head.startswith(mark, body):
                return ext
    return None


def pages(content: bytes | mmap) -> Iterator[tuple[int, int, int, int]]:
    """Yield of each page its stream's serial number, its flags, its last sample and the place of its body (§6)."""
    place = 0
    while content[place : place + 4] == b"OggS" and place + 27 <= len(content):
        flags, samples, serial = struct.unpack("<BqI", content[place + 5 : place + 18])
        body = place + 27 + content[place + 26]
        yield serial, flags, samples, body
        place = body + sum(content[place + 27 : body])


def check_ogg(span: Span) -> None:
    """Raise Cut when the file does not end in a whole page with its checksum and the end-of-stream mark."""
    marks = [page[5] & 4 for page in _last_pages(span)]
    size = span.end - span.start
    if not marks:
        raise Cut(f"the last page of the Ogg file, which ends after {size} bytes, is not whole")
    if not any(marks):
        raise Cut(f"the Ogg file ends after {size} bytes, without the mark of its end")


def _last_pages(span: Span) -> Iterator[bytes]:
    """Yield what may be the page that ends where the sound ends: a page may hold what looks like another."""
    solid, end = sound_end(span)
    low = max(span.start, solid - _LARGEST_PAGE)
    data = span.read(low, end - low)
    place = data.rfind(b"OggS")
    while place != -1:
        span.check()
        page = _page(data, place)
        if page and solid <= low + place + len(page):
            yield page
        place = data.rfind(b"OggS", 0, place + 3)


def _page(data: bytes, place: int) -> bytes | None:
    """Return the page that starts at `place`, None if it is not whole."""
    header = data[place : place + 282]
    if len(header) < 27 or len(header) < 27 + header[26]:
        return None
    size = 27 + header[26] + sum(header[27 : 27 + header[26]])
    page = data[place : place + size]
    return page if len(page) == size and _checksum_holds(page) else None


def _checksum_holds(page: bytes) -> bool:
    """Return whether a page has its CRC: polynomial 0x04C11DB7, started with 0, most significant bit first (§6).

    zlib knows the same polynomial with the bits the other way round, started with and turned by ones.
    """
    bits = _reversed_bits()
    turned = (page[:22] + bytes(4) + page[26:]).translate(bits)
    crc = crc32(turned, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4, "big").translate(bits) == page[22:26]


@cache
def _reversed_bits() -> bytes:
    return bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
