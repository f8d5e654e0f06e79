"""CAF: chunks of a name, a size of 64 bits and a body (Apple Core Audio Format Specification 1.0)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from cachestore.media.span import Broken, Chunk, Cut, is_name
from cachestore.media.tail import sound_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cachestore.media.span import Span

_MOST_CHUNKS = 10_000


def check_caf(span: Span) -> None:
    """Raise Cut when a chunk is cut, or the sound or the table that its packets need is missing."""
    found = set()
    varying = False
    for name, place, size in chunks(span, sound_end(span)[0]):
        found.add(name)
        if name == b"desc":
            varying = span.read(place + 16, 4) == bytes(4)  # bytes per packet
        if size is None:
            return  # the rest is sound
        span.hold("CAF file", place + size)
    if b"data" not in found or (varying and b"pakt" not in found):
        raise Cut(f"the CAF file ends after {span.end - span.start} bytes, before its sound or its packet table")


def chunks(span: Span, solid: int) -> Iterator[Chunk]:
    """Yield the chunks up to the place `solid`, what is none, or sound without a size, behind which there is none.

    Raise Cut or Broken where a chunk cannot be one.
    """
    place = span.start + 8
    for _ in range(_MOST_CHUNKS):
        if place >= solid:
            return
        span.hold("CAF file", place + 12)
        name, size = struct.unpack(">4sq", span.read(place, 12))
        if not is_name(name):
            return
        if size < 0 and name != b"data":
            raise Broken("a chunk of the CAF file has a negative size")
        if name == b"data" and size <= 4:  # written to a pipe: -1, or libsndfile's edit count and nothing behind it
            yield Chunk(name, place + 12, None)
            return
        yield Chunk(name, place + 12, size)
        place += 12 + size
    raise Broken(f"the CAF file has more than {_MOST_CHUNKS} chunks")
