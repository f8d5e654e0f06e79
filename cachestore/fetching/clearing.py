"""How a run gets room: what is free, else what bundles hold by now, what can be evicted, what crashes left.

Only what is to be written next is evicted for. What a body is announced to bring besides has to be there to be evicted
when it begins, whoever else was announced something; it is evicted as the bytes come, a step ahead of them: so a length
that is a lie costs no more than a step.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cachestore.fetching.rooms import Rooms
from cachestore.fetching.shortage import refusal, waited_for
from cachestore.partials import STILL, drop_unclaimed, reclaim
from cachestore.prune import plan_for
from cachestore.store.costs import cost_of
from cachestore.store.reservations import Announced, Bounds, room_of
from cachestore.sweep import a_fetch_lives, give_up_quarantine, take_leftovers

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Set

    from cachestore.prune import Limits, Plan
    from cachestore.store.reservations import Room
    from cachestore.store.writer import Store
    from cachestore.track import Track

# What is reserved at once, so that small bodies need no transaction each: of a small store only a small part.
_STEP, _STEPS = 64 * 1024 * 1024, 64
_BETWEEN_NOTES = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Means:
    """How room is made: `look` brings up to date what is held, `evict` carries a plan out, `limits` say how far.

    `evict` returns the digests of what cannot be removed. It is waited for up to `longest_wait` seconds.
    """

    limits: Limits
    longest_wait: float
    look: Callable[[], None]
    evict: Callable[[Plan], Set[str]]


class Clearing:
    """What one run has reserved, and how it makes room for more; `give_way` and `cancel` as in `Keeper`."""

    def __init__(
        self, store: Store, run_id: str, means: Means, give_way: Callable[[int], bool], cancel: threading.Event
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._means = means
        self._give_way = give_way
        self._cancel = cancel
        self.rooms = Rooms()
        self._bounds = Bounds(means.limits.max_size, means.limits.min_free)
        self._step = min(_STEP, means.limits.max_size // _STEPS)
        self._row = 0
        self._noted_at = time.monotonic()
        self._has_swept = False
        self._locked: set[str] = set()

    def reserves(self, number: int, need: int, least: int, track: Track) -> bool:
        """Reserve room for a body, or a step of it, if there is any or can be made. Raise NoRoom when it never will."""
        if need > self._bounds.max_size:
            raise refusal(track, need, self._bounds, self.room(), 0)
        if self.rooms.takes(number, need, least):
            return True
        least = min(need, max(least, self._step))
        is_announced = self.rooms.is_announced(number, need)
        ours = Announced(least) if is_announced else Announced(least, known=-1)  # which leaves no beginning
        return self._fits(number, need, ours) or self._is_made(number, need, least, track)

    def lower(self) -> None:
        """Reserve no more than is still to be written, when that makes a difference to others.

        Now and then it is written, with the leases that were ended: others wait for these, and this run may write
        nothing else for long.
        """
        reserved, announced = self.rooms.reserved, self.rooms.announced
        surplus = self._row - reserved - announced
        if surplus > self._step:
            self._store.lower(self._run_id, reserved, announced)
        if surplus > 4 * self._step or time.monotonic() > self._noted_at + _BETWEEN_NOTES:
            self._store.write_notes()
            self._noted_at = time.monotonic()
            self._row -= surplus if surplus > self._step else 0

    def reclaim(self, *, still: float) -> None:
        """Give back what runs that died had claimed. Later, what is claimed and not still may be this run's own.

        Where the lock of this very run can be had, locks keep nobody out, and only age tells who is dead.
        """
        still = still if self._store.is_alive(self._run_id) else STILL
        reclaim(self._store.root.partials, self._another_lives, still=still)

    def room(self) -> Room:
        """Return how things stand, with what this run has reserved and is announced among the rest."""
        return self._with_ours(room_of(self._store, but=self._run_id))

    def _with_ours(self, theirs: Room) -> Room:
        reserved, announced = theirs.reserved + self.rooms.reserved, theirs.announced + self.rooms.announced
        return replace(theirs, reserved=reserved, announced=announced)

    def _fits(self, number: int, need: int, announced: Announced) -> bool:
        unwritten, own = self.rooms.withdraw(number)
        announced = replace(announced, own=own)
        granted = self._store.reserve(
            self._run_id, need, spare=self._step, unwritten=unwritten, bounds=self._bounds, announced=announced
        )
        self._row = unwritten + granted + announced.after(need, granted)
        if granted:
            self.rooms.grant(number, need, granted)
        return granted > 0

    def _is_made(self, number: int, need: int, least: int, track: Track) -> bool:
        """Make room: by what bundles hold by now, by eviction, at last by what the rows behind this one have got."""
        self._means.look()
        self.reclaim(still=STILL)
        while True:
            before, theirs = self._moment(), room_of(self._store, but=self._run_id)
            room = self._with_ours(theirs)
            plan = self._plan(room, need + room.announced)
            for _ in plan:
                pass
            missing = plan.missing
            if not missing:
                known = len(self._locked)
                self._locked |= self._means.evict(self._plan(room, least))
                if self._fits(number, need, Announced(least, known=theirs.announced)):
                    return True
                # The next plan leaves out what is locked; the totals may be wrong, too.
                if len(self._locked) == known and (self._has_swept or not self._makes_last_room(need)):
                    return False
            elif missing > self._waited_for(number, plan, room, track):
                if self._moment() != before:
                    return False  # what others got on with meanwhile was counted in part: nothing is refused for that
                if not self._makes_last_room(missing):
                    raise refusal(track, need, self._bounds, room, cost_of(self._store.root.quarantine))
            elif not (drop_unclaimed(self._store.root.partials, missing, but=track.address) or self._give_way(number)):
                return False

    def _moment(self) -> tuple[object, ...]:
        """Return what is another when somebody has got on: a body that is published is a partial no more."""
        store = self._store
        return store.totals(), cost_of(store.root.partials), store.announced(), store.reserved()

    def _waited_for(self, number: int, plan: Plan, room: Room, track: Track) -> int:
        kept = self.rooms.written(number)
        return waited_for(self._store.root, plan, room, track, kept, lives=self._another_lives())

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

    def _plan(self, room: Room, need: int) -> Plan:
        wanted = need + room.reserved
        limits, now = self._means.limits, time.time()
        return plan_for(self._store, limits, now, need=wanted, locked=self._locked, cancel=self._cancel)
