"""Long work in small pieces: SQLite's waiting is no queue, so whoever writes without a pause starves the others."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

# Seconds. Whoever waits asks again within the shortest pause, and so has the lock after one piece; on a machine that is
# too busy to wake it in time, it still asks in a pause more often than not.
_LONGEST_WORK, _SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 0.005, 0.1


class Piece(Generic[T]):
    """Items to be worked on under the lock, at least one of them: iterating ends early when the time is over."""

    def __init__(self, items: list[T]) -> None:
        self.items = items
        self.done = 0

    def __iter__(self) -> Iterator[T]:
        end = time.monotonic() + _LONGEST_WORK
        for item in self.items:
            self.done += 1
            yield item
            if time.monotonic() > end:
                return


def in_pieces(items: Iterable[T], most: int) -> Iterator[Piece[T]]:
    """Yield `items` in pieces of at most `most`, and pause for twice as long as each took; what it left comes next.

    After a piece that ended early the next ones are as small: so many more fit as the disk gets faster.
    """
    remaining = iter(items)
    size, left = most, [*islice(remaining, most)]
    while left:
        piece, began = Piece(left[:size]), time.monotonic()
        yield piece
        ended = time.monotonic()
        left = [*left[piece.done :], *islice(remaining, piece.done)]  # to look for these is part of the pause
        size = min(most, piece.done + piece.done // 4 + 1)  # what a piece has no time for was read in vain
        pause = min(max(2 * (ended - began), _SHORTEST_PAUSE), _LONGEST_PAUSE)
        time.sleep(max(0.0, pause - (time.monotonic() - ended)))
