"""Questions on their way to the workers, and their reports on the way back, several at once where that is possible.

Each time one thread wakes another, both want the interpreter, and every call to the system is an occasion to lose it.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count
from threading import Condition, Lock
from typing import TYPE_CHECKING

from cachestore.fetching.reports import ON_THE_WAY, RoomWanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cachestore.fetching.reports import Question, Report

_TICK = 0.05
_MANY = 16  # reports that are worth to be taken
_TOGETHER = 0.005  # seconds that the first of them waits for others
_AHEAD = 24  # answers that the run has not heard of yet; a body among them keeps a lock open


class Questions:
    """What is to be asked, the lowest numbers first; `may_begin` says of a number whether it may be asked for now."""

    def __init__(self, may_begin: Callable[[int], bool]) -> None:
        self._may_begin = may_begin
        self._here: list[tuple[int, int, Question]] = []
        self._turns = count()
        self._came = Condition()
        self._is_over = False

    def put(self, questions: Sequence[Question]) -> None:
        """Have questions asked."""
        with self._came:
            for question in questions:
                heappush(self._here, (question.number, next(self._turns), question))
            self._came.notify_all()

    def end(self) -> None:
        """Have no more questions asked."""
        with self._came:
            self._is_over = True
            self._came.notify_all()

    def taken(self) -> Iterator[Question]:
        """Yield questions to one thread until the end."""
        while (question := self._next()) is not None:
            yield question

    def _next(self) -> Question | None:
        with self._came:
            while not self._is_over:
                if self._here and self._may_begin(self._here[0][0]):
                    return heappop(self._here)[-1]
                self._came.wait(_TICK if self._here else None)
        return None


class Reports:
    """What is reported and not yet taken, in order."""

    def __init__(self) -> None:
        self._here: deque[Report] = deque()
        self._open = self._unheard = 0
        self._is_urgent = self._is_over = False
        lock = Lock()
        self._came, self._went = Condition(lock), Condition(lock)

    def expect(self, answers: int) -> None:
        """Take that so many questions were put."""
        with self._came:
            self._open += answers

    def put(self, report: Report) -> None:
        """Report something; an answer waits while there are many that nobody has heard of."""
        with self._came:
            if not isinstance(report, ON_THE_WAY):
                self._went.wait_for(lambda: self._unheard < _AHEAD or self._is_over)
                self._unheard += 1
                self._open -= 1
            self._here.append(report)
            self._is_urgent |= isinstance(report, RoomWanted)
            if len(self._here) == 1 or self._are_enough():
                self._came.notify()

    def taken(self, timeout: float) -> Iterator[Report]:
        """Yield what was reported; wait up to `timeout` seconds for the first, and then a moment for others."""
        with self._came:
            if self._came.wait_for(lambda: self._here, timeout):
                self._came.wait_for(self._are_enough, min(timeout, _TOGETHER))
        while (report := self._popped()) is not None:
            yield report

    def end(self) -> None:
        """Let nobody wait any more who reports."""
        with self._came:
            self._is_over = True
            self._went.notify_all()

    def _popped(self) -> Report | None:
        with self._came:
            self._is_urgent = False
            if not self._here:
                return None
            report = self._here.popleft()
            if not isinstance(report, ON_THE_WAY):
                self._unheard -= 1
                self._went.notify()
            return report

    def _are_enough(self) -> bool:
        """Return whether there is no reason to wait for more: somebody waits, or no more will come, or many have."""
        return self._is_urgent or not self._open or len(self._here) >= _MANY
