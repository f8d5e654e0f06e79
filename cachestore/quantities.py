"""Sizes and durations as people write them, and back."""

from __future__ import annotations

import math
import re

from cachestore.errors import QuantityError

_SIZES = (
    {"": 1, "b": 1}
    | {f"{p}b": 1000**n for n, p in enumerate("kmgt", 1)}
    | {f"{p}ib": 1024**n for n, p in enumerate("kmgt", 1)}
)
_WORDS = {"second": 1, "minute": 60, "min": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
_AGES = (
    {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400} | _WORDS | {f"{word}s": n for word, n in _WORDS.items()}
)
_NUMBER_AND_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes that `text` says: ``20GB`` is 20·10⁹, ``20 GiB`` is 20·2³⁰. Raise QuantityError."""
    return round(_parse(text, _SIZES, 'a size such as "20 GB", "512 MiB" or "0"'))


def parse_age(text: str) -> float:
    """Return the seconds that `text` says: ``90 s``, ``1 h``, ``7 days``. Raise QuantityError."""
    return _parse(text, _AGES, 'a duration such as "90 s", "1 h" or "7 days"')


def _parse(text: str, units: dict[str, int], expected: str) -> float:
    match = _NUMBER_AND_UNIT.fullmatch(text)
    value = float(match[1]) * units.get(match[2].lower(), math.nan) if match else math.nan
    if not math.isfinite(value):
        raise QuantityError(text, expected)
    return value


def format_size(size: float) -> str:
    """Return `size` bytes for a person, in decimal units: ``12.3 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def format_age(seconds: float) -> str:
    """Return a duration for a person, in its largest unit: ``3 h``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
