"""Sony Wave64: chunks of a GUID, a size of 64 bits and a body, on places that are multiples of eight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.media.span import Broken, Chunk, Cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cachestore.media.span import Span

RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
WAVE = b"wave" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
_DATA = b"data" + WAVE[4:]
_HEADER = 24  # bytes of a GUID and a size, which the size counts
_FIRST_CHUNK = 40
_MOST_CHUNKS = 10_000
_LEFT_OPEN = 1 << 62  # ffmpeg writes the largest number to a pipe, others -1 or 0


def check_w64(span: Span) -> None:
    """Raise Cut when the sound or the whole is shorter than the header says, Broken when there is no sound at all."""
    *_, sound = chunks(span)
    whole = _size(span.read(span.start, _HEADER))
    for start, announced in ((sound.place, sound.size), (span.start, whole)):
        if announced is not None:
            span.hold("W64 file", start + announced)
    if span.end <= sound.place or sound.size == 0:
        raise Broken("the W64 file has no sound in it")


def chunks(span: Span) -> Iterator[Chunk]:
    """Yield the chunks up to that of the sound, whose name has 16 bytes. Raise Cut when the file ends before that."""
    place = span.start + _FIRST_CHUNK
    for _ in range(_MOST_CHUNKS):
        header = span.read(place, _HEADER)
        if len(header) < _HEADER:
            raise Cut(f"the file ends after {span.end - span.start} bytes, before its sound begins")
        size = _size(header)
        yield Chunk(header[:16], place + _HEADER, None if size is None else size - _HEADER)
        if header.startswith(_DATA):
            return
        if size is None or size < _HEADER:
            raise Broken("a chunk of the W64 file has no size that it can have")
        place += size + -size % 8
    raise Broken(f"the file has more than {_MOST_CHUNKS} chunks before its sound")


def _size(header: bytes) -> int | None:
    """Return the size that a chunk tells, None where it was left open."""
    size = int.from_bytes(header[16:], "little")
    return size if 0 < size < _LEFT_OPEN else None
