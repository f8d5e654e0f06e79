"""Values out of JSON that anybody may have written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachestore.blobs import is_digest

if TYPE_CHECKING:
    from collections.abc import Iterable

# What a row raises whose fields are missing or wrong.
WRONG = (AttributeError, KeyError, OverflowError, TypeError, ValueError)

_LONGEST_TIME = 2.0e11  # seconds; the year 8307


def typed(value: Any, *types: type) -> Any:  # noqa: ANN401 - what JSON gives is known only after the check
    """Return `value` if it is of one of `types`; True is no number. Raise TypeError."""
    if type(value) not in types:
        raise TypeError(f"{value!r} is no {types[0].__name__}")
    return value


def part(value: object) -> str:
    """Return a text that can be part of a key. Raise TypeError, or ValueError when it has half a surrogate pair."""
    text: str = typed(value, str)
    text.encode()
    return text


def parts(values: Iterable[object]) -> tuple[str, ...]:
    """Return texts that can each be part of a key. Raise as `part`."""
    texts: tuple[Any, ...] = tuple(values)
    "".join(texts).encode()  # no others can be joined
    return texts


def all_typed(values: Iterable[Any], kind: type) -> tuple[Any, ...]:
    """Return `values` if each is of type `kind`; True is no number. Raise TypeError."""
    found = tuple(values)
    if not {kind}.issuperset(map(type, found)):
        raise TypeError(f"{found!r} are not all {kind.__name__}")
    return found


def moment(value: object) -> float:
    """Return a time in Unix seconds. Raise TypeError, or ValueError when no calendar has it."""
    seconds = value if type(value) is float else float(typed(value, int))
    if not -_LONGEST_TIME < seconds < _LONGEST_TIME:
        raise ValueError(f"{value!r} is no time")
    return seconds


def amount(value: object) -> int:
    """Return a number of bytes. Raise TypeError, or ValueError when no disk has it."""
    number: int = typed(value, int)
    if not 0 <= number < 1 << 63:
        raise ValueError(f"{value!r} is no number of bytes")
    return number


def place(value: object) -> Path:
    """Return a path. Raise TypeError, or ValueError when it can be none."""
    [text] = paths([value])
    return Path(text)


def paths(values: Iterable[object]) -> tuple[str, ...]:
    """Return texts that can each be a path. Raise as `place`."""
    texts: tuple[Any, ...] = tuple(values)
    if b"\0" in os.fsencode("".join(texts)):
        raise ValueError("a path has no NUL")
    return texts


def checked_digest(value: Any) -> str:  # noqa: ANN401 - what JSON gives is known only after the check
    """Return `value` if it is a digest. Raise ValueError."""
    if not is_digest(value):
        raise ValueError(f"{value!r} is no digest")
    return value  # type: ignore[no-any-return]
