"""AU, of Sun and NeXT: a header of big-endian numbers, a note, and the sound to the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.media.span import Broken

if TYPE_CHECKING:
    from cachestore.media.span import Span

_UNKNOWN = 0xFFFFFFFF
_ENCODINGS = range(1, 28)


def is_au(head: bytes) -> bool:
    """Return whether a file that starts so is one: its four letters alone could be those of anything."""
    return head.startswith(b".snd") and int.from_bytes(head[12:16], "big") in _ENCODINGS


def check_au(span: Span) -> None:
    """Raise Cut when the sound is shorter than the header says, Broken when there is none."""
    header = span.read(span.start, 12).ljust(12, b"\0")
    sound, size = (int.from_bytes(header[place : place + 4], "big") for place in (4, 8))
    if size != _UNKNOWN:
        span.hold("AU file", span.start + sound + size)
    if span.end <= span.start + sound or not size:
        raise Broken("the AU file has no sound in it")
