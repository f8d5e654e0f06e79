"""ASF: objects of a GUID, a size and a body (Advanced Systems Format Specification 1.2, §2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.media.span import Cut

if TYPE_CHECKING:
    from cachestore.media.span import Span

HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_EMPTY_DATA = 50


def check_asf(span: Span) -> None:
    """Raise Cut when the header or the sound is cut.

    The sizes of these two objects count. The size of the file in the header does not: programs that write tags leave it
    as it was (mutagen 1.48), and then a whole file is shorter. Indexes behind the sound are not looked at.
    """
    place = span.start + _size(span, span.start)
    span.hold("ASF file", place + 24)
    if span.read(place, 16) != _DATA:
        raise Cut(f"the ASF file ends after {span.end - span.start} bytes, before its sound")
    size = _size(span, place)
    if size > _EMPTY_DATA:  # else written to a pipe: the rest is sound
        span.hold("ASF file", place + size)


def _size(span: Span, place: int) -> int:
    return int.from_bytes(span.read(place + 16, 8), "little")
