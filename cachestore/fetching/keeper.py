"""Who keeps the room of a run: reserves it in the order of its rows, evicts for it, and waits for it.

The thread of a body waits for its room a few seconds at most. Then the track is postponed: its thread, its connection
and its partial are given back, and it is asked for again once the room is reserved. So who waits holds nothing that
others wait for but leases, and those of the rows behind the one that waits are ended.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.errors import NoRoom, NoRoomYet
from cachestore.fetching.rooms import Rooms
from cachestore.fetching.shortage import refusal, waited_for
from cachestore.partials import STILL, drop_unclaimed, reclaim
from cachestore.prune import plan_for
from cachestore.store.costs import cost_of
from cachestore.store.reservations import Bounds, Room, room_of
from cachestore.sweep import a_fetch_lives, give_up_quarantine, take_leftovers

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from cachestore.fetching.reports import Postponed, RoomWanted
    from cachestore.prune import Limits, Plan
    from cachestore.store.writer import Store
    from cachestore.track import Track

# What is reserved at once, so that small bodies need no transaction each: of a small store only a small part.
_STEP, _STEPS = 64 * 1024 * 1024, 64
_SECONDS_BETWEEN_LOOKS = 0.5
_SHORT_LOOK = 0.05  # seconds
_UNTOLD = 2.0  # seconds of waiting that nobody needs to hear of
_PATIENCE = 180.0  # seconds in which nobody gets on


@dataclass(frozen=True, slots=True)
class Means:
    """How room is made: `look` brings up to date what is held, `evict` carries a plan out, `limits` say how far.

    It is waited for up to `longest_wait` seconds.
    """

    limits: Limits
    longest_wait: float
    look: Callable[[], None]
    evict: Callable[[Plan], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A track that needs `need` bytes of disk; `answer` is what its thread waits for, None when it is postponed."""

    track: Track
    need: int
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
        self._store = store
        self._run_id = run_id
        self.rooms = Rooms()
        self._means = means
        self._give_way = give_way
        self._tell = tell
        self._cancel = cancel
        self._bounds = Bounds(means.limits.max_size, means.limits.min_free)
        self._step = min(_STEP, means.limits.max_size // _STEPS)
        self._row = 0
        self._waiting: dict[int, _Waiting] = {}
        self._began = self._moved = self._next_look = self._took = 0.0
        self._seen = (0, 0)
        self._has_swept = False
        self._is_told = self._is_in_vain = False

    def begin(self) -> Rooms:
        """Give back what the dead had claimed, before anything is claimed, and return the rooms of bodies."""
        self._reclaim(still=0.0)
        return self.rooms

    def hear(self, wish: RoomWanted, track: Track) -> None:
        """Take that the thread of a track waits for room."""
        self._add(wish.number, _Waiting(track, wish.need, wish.answer))

    def postpone(self, postponed: Postponed, track: Track) -> None:
        """Take that a track is to be asked for again when there is room for it."""
        self.rooms.expect(postponed.number, postponed.kept)
        self._add(postponed.number, _Waiting(track, postponed.need, None))

    def decided(self) -> Iterator[tuple[int, NoRoom | None]]:
        """Serve those who wait, in the order of rows; yield the postponed that wait no more, None if they have room."""
        while (number := self._first()) is not None and (began := time.monotonic()) >= self._next_look:
            one = self._waiting[number]
            error = self._refused(number, one)
            self._took = time.monotonic() - began
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
        reserved = self.rooms.reserved
        if self._row - reserved > self._step:
            self._store.lower(self._run_id, reserved)
        if self._row - reserved > 4 * self._step:
            self._store.write_notes()
            self._row = reserved

    def _add(self, number: int, waiting: _Waiting) -> None:
        if not self._waiting:
            self._began = self._moved = time.monotonic()
            self._next_look = 0.0
        self._waiting[number] = waiting

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
            if self._reserves(number, one.need, one.track):
                return None
        except NoRoom as error:
            return error
        reason = "other exports need the room that it would take; try again when they are done"
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
        if now - self._moved > _PATIENCE or now - self._began > self._means.longest_wait:
            self._is_in_vain = True
        return self._is_in_vain

    def _reserves(self, number: int, need: int, track: Track) -> bool:
        """Reserve room for a body if there is any, or can be made. Raise NoRoom when there never will be."""
        if need > self._bounds.max_size:
            raise refusal(track, need, self._bounds, self._room(), 0)
        if self.rooms.takes(number, need) or self._fits(number, need) or self._is_made(number, need, track):
            self._is_told = self._is_in_vain = False
            self._began = self._moved = time.monotonic()
            return True
        return False

    def _fits(self, number: int, need: int) -> bool:
        unwritten = self.rooms.withdraw()
        granted = self._store.reserve(self._run_id, need, spare=self._step, unwritten=unwritten, bounds=self._bounds)
        self._row = unwritten + granted
        if granted:
            self.rooms.grant(number, need, granted - need)
        return granted > 0

    def _is_made(self, number: int, need: int, track: Track) -> bool:
        """Make room: by what bundles hold by now, by eviction, at last by what the rows behind this one have got."""
        self._means.look()
        self._reclaim(still=STILL)
        if self._fits(number, need):
            return True
        while True:
            room = self._room()
            plan = self._plan(room, need)
            for _ in plan:
                pass
            missing = plan.missing
            if not missing:
                known = len(self._store.blobs.locked)
                self._means.evict(self._plan(room, need))
                if self._fits(number, need):
                    return True
                # The next plan leaves out what is locked; the totals may be wrong, too.
                if len(self._store.blobs.locked) == known and (self._has_swept or not self._makes_last_room(need)):
                    return False
            elif missing > waited_for(self._store.root, plan, room, track, lives=self._another_lives()):
                if not self._makes_last_room(missing):
                    raise refusal(track, need, self._bounds, room, cost_of(self._store.root.quarantine))
            elif not (drop_unclaimed(self._store.root.partials, missing, but=track.address) or self._give_way(number)):
                self._note(room)
                return False

    def _reclaim(self, *, still: float) -> None:
        """Give back what runs that died had claimed. Later, what is claimed and not still may be this run's own.

        Where the lock of this very run can be had, locks keep nobody out, and only age tells who is dead.
        """
        still = still if self._store.is_alive(self._run_id) else STILL
        reclaim(self._store.root.partials, self._another_lives, still=still)

    def _another_lives(self) -> bool:
        """Return whether a run lives that may have claimed partials, besides this one."""
        return a_fetch_lives(self._store, but=self._run_id)

    def _makes_last_room(self, missing: int) -> bool:
        """Remove what crashes left, once: that looks at every file. Later, give up what quarantine can do without.

        Return whether there may be more room than before: nothing is refused for what nobody needs.
        """
        now = time.time()
        if self._has_swept:
            return give_up_quarantine(self._store, now, missing)
        self._has_swept = True
        known_at = self._store.meta().known_at(now)
        take_leftovers(self._store, now, known_at, self._cancel, max_size=self._bounds.max_size)
        return True

    def _room(self) -> Room:
        """Return how things stand, with what this run has reserved among the rest."""
        room = room_of(self._store, but=self._run_id)
        return Room(room.bounded, room.free, room.reserved + self.rooms.reserved)

    def _plan(self, room: Room, need: int) -> Plan:
        wanted = need + room.reserved
        return plan_for(self._store, self._means.limits, time.time(), need=wanted, cancel=self._cancel)

    def _note(self, room: Room) -> None:
        """Note whether anybody gets on."""
        seen = room.bounded, room.reserved
        if seen != self._seen:
            self._seen, self._moved = seen, time.monotonic()
