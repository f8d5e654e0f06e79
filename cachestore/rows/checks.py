"""Values out of JSON that anybody may have written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from cachestore.blobs import is_digest
from cachestore.errors import IndexDamaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachestore.index.reader import Row

T = TypeVar("T")


def typed(value: Any, *types: type) -> Any:  # noqa: ANN401 - what JSON gives is known only after the check
    """Return `value` if it is of one of `types`; True is no number. Raise TypeError."""
    if type(value) not in types:
        raise TypeError(f"{value!r} is no {types[0].__name__}")
    return value


def moment(value: object) -> float:
    """Return a time in Unix seconds. Raise TypeError, or OverflowError when no clock says that."""
    return float(typed(value, float, int))


def checked_digest(value: object) -> str:
    """Return `value` if it is a digest. Raise ValueError."""
    if not is_digest(value):
        raise ValueError(f"{value!r} is no digest")
    return str(value)


def decoded(key: str, row: Row, make: Callable[[Row], T]) -> T:
    """Return what `make` makes of the JSON object of `key`. Raise IndexDamaged when fields are missing or wrong."""
    try:
        return make(row)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise IndexDamaged(f"row {key!r}", f"its fields are wrong ({error!r})") from None
