"""FLAC by its first block: it is most files, and tinytag would go through all blocks."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from exporter_plugin.facts.tags import of_any

if TYPE_CHECKING:
    from typing import BinaryIO

_BEGINNINGS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")  # STREAMINFO, perhaps the only block


def of_flac(file: BinaryIO, ext: str) -> tuple[float | None, float | None, int | None]:
    """Return the seconds, sample rate and channels of FLAC (RFC 9639 §8.2); another beginning is left to tinytag."""
    beginning, packed = struct.unpack(">8s10xQ", file.read(26))
    if beginning not in _BEGINNINGS:
        file.seek(0)
        return of_any(file, ext)
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    return samples / rate if rate else None, rate, (packed >> 41 & 7) + 1
