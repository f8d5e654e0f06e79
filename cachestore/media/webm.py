"""WebM: elements of an id, a size and a body (RFC 8794 §4-6), sound in the clusters of a segment (RFC 9559 §5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.media.span import Broken, Cut

if TYPE_CHECKING:
    from cachestore.media.span import Span

SEGMENT = bytes.fromhex("18538067")
CLUSTER = bytes.fromhex("1f43b675")
_MOST_ELEMENTS = 400_000


def check_webm(span: Span) -> None:
    """Raise Cut when the segment is cut or, where its size is left open, an element in it or all sound is missing."""
    place, sound = span.start, False
    for _ in range(_MOST_ELEMENTS):
        if sound and place == span.end:
            return
        name, body, size = element(span, place)
        sound = sound or name == CLUSTER
        if size is None and name == CLUSTER:
            return
        if size is None and name != SEGMENT:
            raise Broken("an element of the WebM file has no end")
        if size is not None:
            span.hold("WebM file", body + size)
            if name == SEGMENT:
                return
        place = body + (size or 0)
    raise Broken(f"the WebM file has more than {_MOST_ELEMENTS} elements")


def element(span: Span, place: int) -> tuple[bytes, int, int | None]:
    """Return id, place of the body and size of the element at `place`; the size is None where it is left open."""
    header = span.read(place, 12)
    id_length = _length(header[:1])
    size_length = _length(header[id_length : id_length + 1])
    if id_length > 4 or size_length > 8:
        raise Broken("an element of the WebM file has no id or size")
    if len(header) < id_length + size_length:
        raise Cut(f"the WebM file ends after {span.end - span.start} bytes, before its sound or within an element")
    ones = (1 << 7 * size_length) - 1
    size = int.from_bytes(header[id_length : id_length + size_length], "big") & ones
    return header[:id_length], place + id_length + size_length, None if size == ones else size


def _length(first: bytes) -> int:
    """Return how many bytes a number has whose first byte is this one; 1 if there is none."""
    return 9 - first[0].bit_length() if first else 1
