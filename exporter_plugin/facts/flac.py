"""FLAC by its first block: it is most files, and tinytag would go through all blocks."""

from __future__ import annotations

import struct

FIRST_BLOCK = 26  # bytes, up to the number of samples
_BEGINNINGS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")  # STREAMINFO, perhaps the only block


def of_first_block(head: bytes) -> tuple[float | None, float | None, int | None] | None:
    """Return the seconds, sample rate and channels of FLAC (RFC 9639 §8.2), None for another beginning."""
    beginning, packed = struct.unpack(">8s10xQ", head)
    if beginning not in _BEGINNINGS:
        return None
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    return samples / rate if rate else None, rate, (packed >> 41 & 7) + 1
