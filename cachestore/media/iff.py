"""WAVE and AIFF: chunks of a name, a size and a body, padded to an even size (RIFF 1991; EBU Tech 3306; EA IFF 85)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cachestore.media.span import Broken, Chunk, Cut, is_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cachestore.media.span import Span

_MOST_CHUNKS = 10_000
# What a program writes that cannot go back to its header: sox 0x7F000000 in AIFF and 0x7FFFF000 in WAVE, arecord
# 0x80000000, ffmpeg and others 0, 0x7FFFFFFF or 0xFFFFFFFF; each plus or minus what stands before it, some of 4 KiB.
_PLACEHOLDERS = frozenset({0x7F000, 0x7FFF0, 0x7FFFF, 0x80000, 0xFFFFF})  # without the last twelve bits
_OFFSET = 8  # bytes in the chunk of an AIFF file's sound that come before it
_WHOLE_FILE = 8  # some programs count the eight bytes of name and size of the outermost chunk


def check_wave(span: Span) -> None:
    """Raise Cut when the sound or the whole is shorter than the header of a RIFF, RF64 or BW64 file says.

    Raise Broken when there is no sound at all.
    """
    found = list(chunks(span, "little", sound=b"data"))
    form, sound = found[0], found[-1]
    if span.read(span.start, 4) != b"RIFF" and found[1:] and found[1].name == b"ds64":
        sizes = span.read(found[1].place, 16)
        form = form._replace(size=form.size or _wide(sizes[:8]))
        sound = sound._replace(size=sound.size or _wide(sizes[8:]))
    _check(span, "WAVE file", form, sound)


def check_aiff(span: Span) -> None:
    """Raise Cut when the sound or the whole is shorter than the header of an AIFF or AIFF-C file says.

    Raise Broken when there is no sound at all.
    """
    found = list(chunks(span, "big", sound=b"SSND"))
    _check(span, "AIFF file", found[0], found[-1], before_sound=_OFFSET)


def _check(span: Span, what: str, form: Chunk, sound: Chunk, *, before_sound: int = 0) -> None:
    unpadded = False
    if sound.size is not None:
        span.hold(what, sound.place + sound.size)
        unpadded = sound.size & 1 == 1 and sound.place + sound.size == span.end
    if form.size is not None and form.place + form.size - span.end not in {_WHOLE_FILE, int(unpadded)}:
        span.hold(what, form.place + form.size)
    if span.end <= sound.place + before_sound:
        raise Broken(f"the {what} has no sound in it")


def chunks(span: Span, order: Literal["little", "big"], *, sound: bytes) -> Iterator[Chunk]:
    """Yield the outermost chunk, then those in it up to that of the sound. Raise Cut when the file ends before that."""
    yield _chunk(span.read(span.start, 8), span.start, order)
    place = span.start + 12
    for _ in range(_MOST_CHUNKS):
        header = span.read(place, 8)
        if len(header) < 8:
            raise Cut(f"the file ends after {span.end - span.start} bytes, before its sound begins")
        chunk = _chunk(header, place, order)
        yield chunk
        if chunk.name == sound:
            return
        place = _behind(span, place + 8 + int.from_bytes(header[4:], order))
    raise Broken(f"the file has more than {_MOST_CHUNKS} chunks before its sound")


def _chunk(header: bytes, place: int, order: Literal["little", "big"]) -> Chunk:
    size = int.from_bytes(header[4:], order)
    return Chunk(header[:4], place + 8, size if size and size >> 12 not in _PLACEHOLDERS else None)


def _behind(span: Span, place: int) -> int:
    """Return where the next chunk starts when a body ends at `place`; some programs forget to pad it."""
    if not (place - span.start) & 1:
        return place
    following = span.read(place, 5)
    return place if is_name(following[:4]) and not is_name(following[1:]) else place + 1


def _wide(size: bytes) -> int | None:
    """Return a size of 64 bits, None where it is left open."""
    number = int.from_bytes(size, "little")
    return number if 0 < number < 1 << 63 else None
