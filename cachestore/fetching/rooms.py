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
    """What a body may take, has taken, and will want besides, in bytes of disk."""

    limit: int = 0
    written: int = 0
    announced: int = 0

    @property
    def unwritten(self) -> int:
        return max(0, self.limit - self.written)

    @property
    def reach(self) -> int:
        return max(self.limit, self.written)


class Rooms:
    """The room of all bodies of a run. Its threads take some, its own thread grants it.

    What is granted besides what was wanted is there for whoever comes next, so that small bodies need no answer each.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._spare = 0
        self._bodies: dict[int, _Body] = {}
        self._first: int | None = None

    def room_of(self, number: int, ask: Callable[[int, int], bool]) -> Room:
        """Return what lets the body of a track grow. It raises Postponed, or what `ask` raises.

        `ask` is whether the run grants so many bytes of disk more, or at least the second figure of them.
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
        return self._first is None or self.is_before(number) or number in self._bodies

    def is_before(self, number: int) -> bool:
        """Return whether a track comes before all that wait for room, and one does."""
        first = self._first
        return first is not None and number < first

    def grant(self, number: int, need: int, granted: int) -> None:
        """Let the body of a track take what it needs of the bytes of disk that were granted, and others what is more.

        Less than it needs is a beginning, and the rest announced.
        """
        with self._lock:
            self._spare = granted
            self._take(self._bodies.setdefault(number, _Body()), need, min(need, granted))

    def takes(self, number: int, need: int, least: int) -> bool:
        """Let the body of a track take of what is there to spare what it needs, and return whether it may."""
        with self._lock:
            return self._took(self._bodies.setdefault(number, _Body()), need, least)

    def is_announced(self, number: int, need: int) -> bool:
        """Return whether all that the body of a track needs is announced to it."""
        body = self._bodies.get(number)
        return body is not None and need <= body.announced

    def written(self, number: int) -> int:
        """Return how many bytes of disk the body of a track has taken."""
        body = self._bodies.get(number)
        return 0 if body is None else body.written

    def withdraw(self, number: int) -> tuple[int, int]:
        """Take back what nobody has taken, and what is announced to one body, which wants it now.

        Return how many bytes of disk are still to be written, and how many are announced besides.
        """
        with self._lock:
            self._spare = 0
            self._bodies.setdefault(number, _Body()).announced = 0
            bodies = self._bodies.values()
            return sum(body.unwritten for body in bodies), sum(body.announced for body in bodies)

    @property
    def reserved(self) -> int:
        """Return how many bytes of disk are still to be written, or to be taken."""
        with self._lock:
            return self._spare + sum(body.unwritten for body in self._bodies.values())

    @property
    def announced(self) -> int:
        """Return how many bytes of disk bodies will want besides."""
        with self._lock:
            return sum(body.announced for body in self._bodies.values())

    def hold_back_behind(self, first: int | None) -> None:
        """Say which track waits for room, the first of those that do, None when none does."""
        self._first = first

    def _grow(self, body: _Body, ask: Callable[[int, int], bool], whole: int, size: int, written: int) -> None:
        """Let a body grow to `size`; what comes in steps may go ahead by as much as has come."""
        self._note_written(body, written + SIDECAR)
        with self._lock:
            need, limit = cost_of_body(whole) - body.reach, cost_of_body(size)
            body.announced = min(body.announced, max(0, need))
            if limit <= body.limit and need <= body.announced:
                return
            least = min(need, max(limit - body.reach, body.written))
            if self._took(body, need, least):
                return
        if not ask(need, least):
            from cachestore.download import Postponed  # who downloads has it

            raise Postponed(whole)

    def _note_written(self, body: _Body, written: int) -> None:
        """Note what a body has taken. What was dropped of it has to be reserved anew."""
        with self._lock:
            if written < body.written:
                body.limit = written + body.unwritten
            body.written = written

    def _took(self, body: _Body, need: int, least: int) -> bool:
        """Return whether a body got of what is to spare what it needs; the caller holds the lock."""
        some = need if need <= self._spare or need > body.announced else least
        if some > self._spare:
            return False
        self._take(body, need, some)
        return True

    def _take(self, body: _Body, need: int, some: int) -> None:
        self._spare -= some
        body.limit = body.reach + some
        body.announced = need - some
