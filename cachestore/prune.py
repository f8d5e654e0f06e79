"""The policy: which blobs go so that the store stays in its bounds. Planned purely, applied carefully.

A plan is walked, not kept: candidates come in the order of their last use, victims leave it one by one, and are evicted
in batches while the rest is still to be planned.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from heapq import merge
from typing import TYPE_CHECKING

from cachestore.blobs import is_file
from cachestore.errors import Cancelled
from cachestore.root import free_bytes, giving_up_ballast
from cachestore.rows import batches
from cachestore.store.costs import unfinished_bytes
from cachestore.store.evict import LOCKED, Eviction
from cachestore.sweep import Leftovers, foresee_partials, give_up_partials, sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cachestore.entry import Entry
    from cachestore.rows import BlobRow
    from cachestore.store.looking import HeldChange
    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store

# Over a bound, room is made down to this part of it, so that the next download does not prune again.
_LOW_WATERMARK = 0.9
HELD, PINNED, YOUNG = "held", "pinned", "younger than min_age"
LINKED, UNREADABLE = "linked from elsewhere", "unreadable in the index"


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds: bytes of disk, and seconds since the last use (None: no age is too old)."""

    max_size: int
    min_free: int = 0
    max_age: float | None = None
    min_age: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A blob as the plan sees it, with its entries, none if a lost index left it behind.

    `used_at` is the last use of any of them, in Unix seconds; `size` is the length of the file, `cost` what it counts
    against max_size, `frees` what the disk gets back; `protected` why it must stay; `was_held`: its row has holders.
    """

    digest: str
    entries: tuple[Entry, ...]
    used_at: float
    size: int
    cost: int
    frees: int
    protected: str = ""
    was_held: bool = False

    @property
    def names(self) -> list[str]:
        """Return the keys of its entries, or its digest if it has none."""
        return [entry.key for entry in self.entries] or [self.digest]


@dataclass(frozen=True, slots=True)
class Victim:
    """A blob that is to go, and the bound that wants it gone."""

    blob: Candidate
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a victim: the bytes of disk that it freed, and by name what of it stayed after all, and why."""

    victim: Victim
    freed: int
    stayed: Mapping[str, str] = field(default_factory=dict)


class Plan:
    """What goes, in order: what is too old, then the least recently used until the bounds hold. Pure.

    `bounded` are the bytes that max_size bounds, `free` those that the disk has left, `need` those that somebody wants
    on top. What is too old was so at `known_old_at` (Unix seconds) already: ages count `aged_until` then. The victims
    come while the plan is walked; its figures are complete when it has been walked to its end, and `stayed` says by
    reason how many bytes stay though a bound wants them gone, `cost` and `frees` what its victims do.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        *,
        bounded: int,
        free: int,
        limits: Limits,
        now: float,
        known_old_at: float = math.inf,
        need: int = 0,
    ) -> None:
        self._candidates = candidates
        self._limits = limits
        self._now = now
        self.aged_until = min(now, known_old_at)
        self._bounded = bounded
        self._over = bounded + need - limits.max_size
        self._excess = bounded + need - int(limits.max_size * _LOW_WATERMARK) if self._over > 0 else 0
        self._short = limits.min_free + need - free
        self.cost = self.frees = 0
        self.stayed: Counter[str] = Counter()

    @property
    def bounded(self) -> int:
        """Return the bytes that max_size bounds without the victims so far."""
        return self._bounded - self.cost

    @property
    def over_max_size(self) -> int:
        """Return how many bytes max_size is still exceeded by."""
        return max(0, self._over - self.cost)

    @property
    def under_min_free(self) -> int:
        """Return how many bytes min_free still lacks."""
        return max(0, self._short - self.frees)

    @property
    def missing(self) -> int:
        """Return how many bytes of disk the bounds still want."""
        return max(self.over_max_size, self.under_min_free)

    def __iter__(self) -> Iterator[Victim]:
        excess, short = self._excess, self._short
        for blob in self._candidates:
            reason = self._reason(blob, excess, short)
            if not reason:
                return
            if why := self._protection(blob, reason):
                self.stayed[why] += blob.cost
                continue
            self.cost += blob.cost
            self.frees += blob.frees
            excess, short = excess - blob.cost, short - blob.frees
            yield Victim(blob, reason)

    def note(self, outcome: Outcome) -> None:
        """Take what became of a victim into the figures; what goes after it is not changed by that."""
        blob = outcome.victim.blob
        self.frees += outcome.freed - blob.frees
        if why := next(iter(outcome.stayed.values()), ""):
            self.cost -= blob.cost
            self.stayed[why] += blob.cost

    def _reason(self, blob: Candidate, excess: int, short: int) -> str:
        """Return why the blob should go, or nothing when every bound holds without it."""
        if self._limits.max_age is not None and self.aged_until - blob.used_at > self._limits.max_age:
            return "max_age"
        if excess > 0:
            return "max_size"
        return "min_free" if short > 0 else ""

    def _protection(self, blob: Candidate, reason: str) -> str:
        """Return why the blob must stay, or nothing. One of the future is not young: a clock was wrong."""
        if blob.protected:
            return blob.protected
        if 0 <= self._now - blob.used_at < self._limits.min_age:
            return YOUNG
        return LINKED if reason == "min_free" and not blob.frees else ""


def plan_for(
    store: StoreReader,
    limits: Limits,
    now: float,
    *,
    need: int = 0,
    known_old_at: float | None = None,
    left: Leftovers | None = None,
    cancel: threading.Event | None = None,
) -> Plan:
    """Return the plan for a store as it is, or as it will be when what is `left` is swept; nothing is locked.

    What is too old was so at `known_old_at` already, else at the last sweep or the end of an export a day before, if
    there was one: no single clock that is ahead takes anything. Walking the plan raises Cancelled when `cancel` is set.
    """
    left = left or Leftovers()
    free = free_bytes(store.root) + left.disk
    change = store.held_change()
    exclusive = (store.totals() + change.totals).exclusive
    bounded = exclusive + unfinished_bytes(store.root) + left.unindexed_cost - left.bounded
    candidates = _candidates(store, change, left, cancel or threading.Event())
    known_old_at = (store.meta().known_to_sweep(now) or math.inf) if known_old_at is None else known_old_at
    return Plan(candidates, bounded=bounded, free=free, limits=limits, now=now, known_old_at=known_old_at, need=need)


def holds(store: StoreReader, limits: Limits) -> bool:
    """Return whether every bound holds, whatever bundles have by now: then no plan is needed, and no look at them."""
    totals = store.totals()
    most = totals.exclusive + totals.held + unfinished_bytes(store.root)
    return limits.max_age is None and most <= limits.max_size and free_bytes(store.root) >= limits.min_free


def prune(store: Store, limits: Limits, now: float, cancel: threading.Event | None = None) -> Plan:
    """Sweep what crashes left behind and return the plan for the rest, which is to be applied: what cron runs.

    Raise Cancelled when `cancel` is set, as the walk of the plan does.
    """
    known_old_at = store.meta().known_to_sweep(now) or math.inf  # before this sweep
    giving_up_ballast(store.root, lambda: sweep(store, now, cancel, max_size=limits.max_size))
    return plan_without_partials(store, limits, now, known_old_at=known_old_at, cancel=cancel)


def plan_without_partials(
    store: Store,
    limits: Limits,
    now: float,
    *,
    known_old_at: float | None = None,
    cancel: threading.Event | None = None,
) -> Plan:
    """Give up partials as far as the bounds want it, and return the plan for the rest: a track is worth more."""
    plan = plan_for(store, limits, now, known_old_at=known_old_at, cancel=cancel)
    if not plan.missing:
        return plan
    give_up_partials(store, plan.missing)
    return plan_for(store, limits, now, known_old_at=known_old_at, cancel=cancel)


def foreseen(store: StoreReader, limits: Limits, now: float, left: Leftovers, cancel: threading.Event) -> Plan:
    """Return the plan that a prune would have once it has taken what is `left`, to which the partials are added."""
    plan = plan_for(store, limits, now, left=left, cancel=cancel)
    if not plan.missing:
        return plan
    foresee_partials(store, plan.missing, left)
    return plan_for(store, limits, now, left=left, cancel=cancel)


def apply(store: Store, plan: Plan) -> Iterator[Outcome]:
    """Evict what the plan says, or less, and yield what became of it: what was pinned, leased or used since stays."""
    for batch in batches(plan):
        for outcome in giving_up_ballast(store.root, partial(_evict, store, batch)):
            plan.note(outcome)
            yield outcome


def _candidates(
    store: StoreReader, change: HeldChange, left: Leftovers, cancel: threading.Event
) -> Iterator[Candidate]:
    pinned, leases = store.pinned(), store.leases()
    for batch in batches(merge(store.least_recently_used(), left.unindexed, key=lambda blob: blob[1].used_at)):
        if cancel.is_set():
            raise Cancelled
        entries = store.entries_of(key for _, row in batch for key in row.keys)
        for digest, row in batch:
            info = store.blobs.stat(digest)
            if info is None:
                continue  # a sweep has not been here yet, or it stays for its pin
            right = row.costed(info)
            own = tuple(entries[key] for key in row.keys if key in entries)
            why = HELD if change.is_held(digest, right) else PINNED if pinned.intersection(row.keys) else ""
            why = why or leases.on_blob(digest) or (UNREADABLE if row.keys and not own else "")
            why = why or (LOCKED if digest in store.blobs.locked else "")
            is_alone = is_file(info) and info.st_nlink - left.links[info.st_ino] == 1
            frees = right.cost if is_alone and not why else 0  # the disk gets nothing while somebody has another link
            yield Candidate(digest, own, row.used_at, row.size, right.cost, frees, why, row.is_held)


def _evict(store: Store, victims: Sequence[Victim]) -> list[Outcome]:
    store.cost_anew(victim.blob.digest for victim in victims if victim.blob.was_held)  # a backup may be back
    used_at = {entry.key: entry.used_at for victim in victims for entry in victim.blob.entries}

    def may_go(entry: Entry, row: BlobRow | None) -> str:
        if entry.pinned:
            return PINNED
        if row is not None and row.is_held:
            return HELD  # a bundle was exported since
        return "used since" if entry.used_at > used_at[entry.key] else ""

    unindexed = [victim.blob.digest for victim in victims if not victim.blob.entries]
    evictions = [
        *store.evict(list(used_at), may_go),
        *store.evict_unindexed(unindexed, lambda row: HELD if row.is_held else ""),
    ]
    by_name = {eviction.key: eviction for eviction in evictions}
    return [_outcome(victim, [by_name[name] for name in victim.blob.names]) for victim in victims]


def _outcome(victim: Victim, evictions: Sequence[Eviction]) -> Outcome:
    stayed = {eviction.key: eviction.kept_because for eviction in evictions if eviction.kept_because}
    return Outcome(victim, sum(eviction.freed for eviction in evictions), stayed)
