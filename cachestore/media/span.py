"""A container within a file, and the two ways in which it can fail its own header."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

_NAME = re.compile(rb"[ -~]{4}")


class Cut(Exception):
    """The container ends before the end that its own header tells; the argument is the sentence."""


class Broken(Exception):
    """The container says what no container says; the argument is the sentence."""


class Span(NamedTuple):
    """The bytes of a container: from `start`, behind what stands before it, to `end`, the end of the file.

    `check` is called before each read, and by whoever is busy for some milliseconds with what it brought; it raises to
    end that.
    """

    file: BinaryIO
    start: int
    end: int
    check: Callable[[], None]

    @classmethod
    def of(cls, file: BinaryIO) -> Span:
        """Return all bytes of a file."""
        return cls(file, 0, file.seek(0, os.SEEK_END), lambda: None)

    def read(self, place: int, size: int) -> bytes:
        """Return up to `size` bytes at `place` of the file; fewer at its end, none behind it."""
        self.check()
        self.file.seek(place)
        return self.file.read(max(0, min(size, self.end - place)))

    def hold(self, what: str, announced: int) -> None:
        """Raise Cut when the file ends before `announced`, a place in it."""
        if self.end < announced:
            have, expected = self.end - self.start, announced - self.start
            raise Cut(f"the {what} ends after {have} of {expected} bytes that its header announces")


class Chunk(NamedTuple):
    """A part of a container: its name, where its body starts, and how large that is, None when its header says none."""

    name: bytes
    place: int
    size: int | None


def is_name(name: bytes) -> bool:
    """Return whether four bytes can be the name of a chunk or a box, and are not what somebody appended."""
    return _NAME.fullmatch(name) is not None
