"""Room for the bodies of a run: what it has reserved, handed out to the threads that write them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from cachestore.store.reservations import SIDECAR, cost_of_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachestore.download.outcome import Room


@dataclass(slots=True)
class _Body:
    """What a body may take, and has taken, in bytes of disk."""

    limit: int = 0
    written: int = 0

    @property
    def unwritten(self) -> int:
        return max(0, self.limit - self.written)


class Rooms:
    """The room of all bodies of a run. Its threads take some, its own thread grants it.

    What is granted besides what was wanted is there for whoever comes next, so that small bodies need no answer each.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._spare = 0
        self._bodies: dict[int, _Body] = {}
        self._first: int | None = None

    def room_of(self, number: int, ask: Callable[[int], bool]) -> Room:
        """Return what lets the body of a track grow. It raises Postponed, or what `ask` raises.

        `ask` is whether the run grants so many bytes of disk more.
        """
        with self._lock:
            body = self._bodies.setdefault(number, _Body())
        return partial(self._grow, body, ask)

    def expect(self, number: int, kept: int) -> None:
        """Take that so many bytes of disk of a track are there, and will be gone on with."""
        with self._lock:
            self._bodies[number] = _Body(written=kept)

    def release(self, number: int) -> None:
        """Take back what the body of a track did not need."""
        with self._lock:
            self._bodies.pop(number, None)

    def may_begin(self, number: int) -> bool:
        """Return whether a track may be asked for.

        While one waits for room, only those may that have got some, and those before it: it may wait for their end.
        """
        first = self._first
        return first is None or number < first or number in self._bodies

    def grant(self, number: int, need: int, spare: int) -> None:
        """Let the body of a track take `need` bytes of disk more, and others `spare`."""
        with self._lock:
            self._spare = need + spare
            self._took(self._bodies.setdefault(number, _Body()), need)

    def takes(self, number: int, need: int) -> bool:
        """Let the body of a track take `need` bytes of disk of what is there to spare, and return whether it may."""
        with self._lock:
            return self._took(self._bodies.setdefault(number, _Body()), need)

    def withdraw(self) -> int:
        """Take back what nobody has taken, and return how many bytes of disk are still to be written."""
        with self._lock:
            self._spare = 0
            return sum(body.unwritten for body in self._bodies.values())

    @property
    def reserved(self) -> int:
        """Return how many bytes of disk are still to be written, or to be taken."""
        with self._lock:
            return self._spare + sum(body.unwritten for body in self._bodies.values())

    def hold_back_behind(self, first: int | None) -> None:
        """Say which track waits for room, the first of those that do, None when none does."""
        self._first = first

    def _grow(self, body: _Body, ask: Callable[[int], bool], size: int, written: int) -> None:
        self._note_written(body, written + SIDECAR)
        limit = cost_of_body(size)
        if limit <= body.limit:
            return
        with self._lock:
            need = limit - max(body.limit, body.written)
            if self._took(body, need):
                return
        if not ask(need):
            from cachestore.download import Postponed  # who downloads has it

            raise Postponed(size)

    def _note_written(self, body: _Body, written: int) -> None:
        """Note what a body has taken. What was dropped of it has to be reserved anew."""
        with self._lock:
            if written < body.written:
                body.limit = written + body.unwritten
            body.written = written

    def _took(self, body: _Body, need: int) -> bool:
        """Return whether a body got so much of what is to spare; the caller holds the lock."""
        if need > self._spare:
            return False
        self._spare -= need
        body.limit = max(body.limit, body.written) + need
        return True
