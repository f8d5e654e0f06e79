"""Long work in small pieces: SQLite's waiting is no queue, so whoever writes without a pause starves the others."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

_LONGEST_WORK, _LONGEST_PAUSE = 0.01, 0.05  # seconds


def in_pieces(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield `items` in lists of at most `most`, fewer where these take too long, and pause as long as each took."""
    remaining, size = iter(items), most
    while piece := list(islice(remaining, size)):
        began = time.monotonic()
        yield piece
        took = time.monotonic() - began
        size = max(1, min(most, int(len(piece) * _LONGEST_WORK / max(took, 1e-6))))
        time.sleep(min(took, _LONGEST_PAUSE))
