"""What tinytag says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinytag import TinyTag

if TYPE_CHECKING:
    from typing import BinaryIO


def of_any(file: BinaryIO, ext: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of a file of a kind that tinytag knows."""
    tag = TinyTag.get(f"audio.{ext}", file_obj=file, tags=False)
    return tag.duration, tag.samplerate, tag.channels
