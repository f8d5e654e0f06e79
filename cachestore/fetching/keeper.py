"""Who keeps the room of a run: hands it out in the order of its rows, and waits for it.

The thread of a body waits for its room a few seconds at most. Then the track is postponed: its thread, its connection
and its partial are given back, and it is asked for again once the room is reserved. So who waits holds nothing that
others wait for but leases, and those of the rows behind the one that waits are ended.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.errors import NoRoom, NoRoomYet
from cachestore.fetching.clearing import Clearing

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from cachestore.fetching.clearing import Means
    from cachestore.fetching.reports import Postponed, RoomWanted
    from cachestore.fetching.rooms import Rooms
    from cachestore.store.writer import Store
    from cachestore.track import Track

_SECONDS_BETWEEN_LOOKS = 0.5
_SHORT_LOOK = 0.05  # seconds
_UNTOLD = 2.0  # seconds of waiting that nobody needs to hear of
_PATIENCE = 180.0  # seconds in which nobody gets on


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A track that needs `need` bytes of disk, or `least` of them to go on.

    `answer` is what its thread waits for, None when it is postponed.
    """

    track: Track
    need: int
    least: int
    answer: Future[bool] | None

    @property
    def is_withdrawn(self) -> bool:
        return self.answer is not None and self.answer.cancelled()


class Keeper:
    """The room of one run, for its own thread; `rooms` is for the others.

    `give_way(number)` ends leases of the run that the row can do without, and returns whether there were any; `tell`
    hears which track waits for room, once until there is some. What takes long raises Cancelled when `cancel` is set.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        means: Means,
        *,
        give_way: Callable[[int], bool],
        tell: Callable[[Track], None],
        cancel: threading.Event,
    ) -> None:
        self._clearing = Clearing(store, run_id, means, give_way, cancel)
        self._longest_wait = means.longest_wait
        self._tell = tell
        self._waiting: dict[int, _Waiting] = {}
        self._began = self._moved = self._next_look = self._took = 0.0
        self._seen = (0, 0)
        self._is_told = self._is_in_vain = False

    def begin(self) -> Rooms:
        """Give back what the dead had claimed, before anything is claimed, and return the rooms of bodies."""
        self._clearing.reclaim(still=0.0)
        return self.rooms

    @property
    def rooms(self) -> Rooms:
        """Return the rooms of bodies."""
        return self._clearing.rooms

    def hear(self, wish: RoomWanted, track: Track) -> None:
        """Take that the thread of a track waits for room."""
        self._add(wish.number, _Waiting(track, wish.need, wish.least, wish.answer))

    def postpone(self, postponed: Postponed, track: Track) -> None:
        """Take that a track is to be asked for again when there is room for it."""
        self.rooms.expect(postponed.number, postponed.kept)
        self._add(postponed.number, _Waiting(track, postponed.need, 0, None))

    def decided(self) -> Iterator[tuple[int, NoRoom | None]]:
        """Serve those who wait, in the order of rows; yield the postponed that wait no more, None if they have room."""
        self._go_on()
        while (number := self._first()) is not None and (began := time.monotonic()) >= self._next_look:
            one = self._waiting[number]
            error = self._refused(number, one)
            self._took = time.monotonic() - began
            if error is None:
                self._is_told = self._is_in_vain = False
                self._began = time.monotonic()
            if isinstance(error, NoRoomYet) and not self._is_over():
                self._wait(number)
                break
            del self._waiting[number]
            if one.answer is None:
                yield number, error
            else:
                self._answer(number, one.answer, error)
        self.rooms.hold_back_behind(min(self._waiting, default=None))

    @property
    def is_waited_for(self) -> bool:
        """Return whether a track waits for room."""
        return bool(self._waiting)

    def look_soon(self) -> None:
        """Take that a row of this run has got on, so that there may be room. Looks that take long stay seldom."""
        if self._took < _SHORT_LOOK:
            self._next_look = 0.0

    def lower(self) -> None:
        """Reserve no more than is still to be written, when that makes a difference to others."""
        self._clearing.lower()

    def _add(self, number: int, waiting: _Waiting) -> None:
        if not self._waiting:
            self._began = self._moved = time.monotonic()
            self._next_look = 0.0
        self._waiting[number] = waiting

    def _go_on(self) -> None:
        """Serve those first that go on with what was announced, or come before who waits: he may need their end.

        If there is no room for one after all, nothing is announced to it any more, and it waits in its order.
        """
        for number, one in [*self._waiting.items()]:
            goes_on = self.rooms.is_before(number) or self.rooms.is_announced(number, one.need)
            if one.answer is None or one.is_withdrawn or not goes_on:
                continue
            error = self._refused(number, one)
            if error is None:
                del self._waiting[number]
                self._answer(number, one.answer, None)

    def _first(self) -> int | None:
        """Return the first row that waits; threads that have waited long enough have withdrawn."""
        for number in [number for number, one in self._waiting.items() if one.is_withdrawn]:
            del self._waiting[number]
        return min(self._waiting, default=None)

    def _answer(self, number: int, answer: Future[bool], error: NoRoom | None) -> None:
        if not answer.set_running_or_notify_cancel():
            self.rooms.release(number)
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(True)

    def _refused(self, number: int, one: _Waiting) -> NoRoom | None:
        """Reserve room for a track, and return None, or why that cannot be."""
        try:
            if self._clearing.reserves(number, one.need, one.least, one.track):
                self._moved = time.monotonic()
                return None
        except NoRoom as error:
            return error
        reason = "other exports need the room that it would take; try again when they are done"
        self._note()
        return NoRoomYet(one.track.address, one.track.label, reason, need=one.need)

    def _wait(self, first: int) -> None:
        """Look again later. A look goes through what could be evicted: the longer that takes, the more seldom.

        The bodies behind the first are given up at the second look: it may need what they have written.
        """
        now = time.monotonic()
        self._next_look = now + max(_SECONDS_BETWEEN_LOOKS, 10 * self._took)
        if not self._is_told and now - self._began > _UNTOLD:
            self._is_told = True
            self._tell(self._waiting[first].track)
        if now - self._began >= _SECONDS_BETWEEN_LOOKS:
            for number in [number for number in self._waiting if number != first]:
                self._give_up(number)

    def _give_up(self, number: int) -> None:
        answer = self._waiting[number].answer
        if answer is not None and answer.set_running_or_notify_cancel():
            answer.set_result(False)
            del self._waiting[number]

    def _is_over(self) -> bool:
        """Return whether it was waited for long enough; then all others that find no room fail at once."""
        now = time.monotonic()
        if now - self._moved > _PATIENCE or now - self._began > self._longest_wait:
            self._is_in_vain = True
        return self._is_in_vain

    def _note(self) -> None:
        """Note whether anybody gets on."""
        room = self._clearing.room()
        seen = room.bounded, room.reserved
        if seen != self._seen:
            self._seen, self._moved = seen, time.monotonic()
