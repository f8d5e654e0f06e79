"""How long a file plays, at which sample rate, in how many channels: read from its header when a format needs it.

tinytag reads the most; what it cannot read or reads wrongly has a reader here, and FLAC, since it is most files. What
nobody can tell is None.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO


_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_BUFFER = 4096  # bytes; given, since else each file is asked whether it is a terminal


@dataclass(frozen=True, slots=True)
class Facts:
    """What the header of an audio file says: `duration` in seconds, `sample_rate` in Hz; None where it does not say."""

    duration: float | None = None
    sample_rate: int | None = None
    channels: int | None = None


def facts_of(path: Path, ext: str = "") -> Facts:
    """Return the facts of the file at `path`; `ext`, else its own one, is the canonical extension of its container."""
    ext = ext or path.suffix.removeprefix(".")
    try:
        # A pipe in the place of an edited file would be waited for.
        with os.fdopen(os.open(path, _READING), "rb", buffering=_BUFFER) as file:
            return _plausible(*_reader(ext)(file, ext)) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else Facts()
    except Exception:  # noqa: BLE001 - a header may hold anything, and an unknown duration fails no export
        return Facts()


def _plausible(duration: float | None, sample_rate: float | None, channels: int | None) -> Facts:
    return Facts(
        float(duration) if duration and 0 < duration < 1e6 else None,
        round(sample_rate) if sample_rate and 1 <= sample_rate < 1e8 else None,
        channels if channels and 0 < channels < 256 else None,
    )


@cache
def _reader(ext: str) -> Callable[[BinaryIO, str], tuple[float | None, float | None, int | None]]:
    from exporter_plugin.facts import boxes, chunks, flac, frames, ogg, tags

    readers = {
        "aac": frames.of_adts,
        "au": chunks.of_au,
        "caf": chunks.of_caf,
        "flac": flac.of_flac,
        "m4a": boxes.of_mp4,
        "mp3": frames.of_mp3,
        "oga": ogg.of_ogg,
        "ogg": ogg.of_ogg,
        "opus": ogg.of_ogg,
        "w64": chunks.of_w64,
        "wav": chunks.of_wave,
        "webm": boxes.of_webm,
        "wv": frames.of_wavpack,
    }
    return readers.get(ext, tags.of_any)
