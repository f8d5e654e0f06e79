"""Plans for a store as it is, and what is made of them: what changed since then stays."""

from __future__ import annotations

import threading
from functools import partial
from heapq import merge
from typing import TYPE_CHECKING

from cachestore.blobs import is_file
from cachestore.errors import Cancelled
from cachestore.prune.plan import Candidate, Outcome, Plan
from cachestore.root import free_bytes, giving_up_ballast
from cachestore.rows import batches
from cachestore.store.costs import unfinished_bytes
from cachestore.store.evict import LOCKED, Eviction
from cachestore.sweep import Leftovers, foresee_partials, give_up_partials, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set

    from cachestore.entry import Entry
    from cachestore.prune.plan import Limits, Victim
    from cachestore.rows import BlobRow
    from cachestore.store.looking import HeldChange
    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store

HELD, PINNED, UNREADABLE = "held", "pinned", "unreadable in the index"


def plan_for(
    store: StoreReader,
    limits: Limits,
    now: float,
    *,
    need: int = 0,
    known_at: float | None = None,
    left: Leftovers | None = None,
    locked: Set[str] = frozenset(),
    cancel: threading.Event | None = None,
) -> Plan:
    """Return the plan for a store as it is, or as it will be when what is `left` is swept; nothing is locked.

    What is too old was so at `known_at` already, else at the last sweep or the end of an export a day before, if
    there was one: no single clock that is ahead takes anything. `locked` are the digests of blobs that are known to
    stay, since they cannot be removed. Walking the plan raises Cancelled when `cancel` is set.
    """
    left = left or Leftovers()
    free = free_bytes(store.root) + left.disk
    change = store.held_change()
    exclusive = (store.totals() + change.totals).exclusive
    bounded = exclusive + unfinished_bytes(store.root) + left.unindexed_cost - left.bounded
    candidates = _candidates(store, change, left, locked, cancel or threading.Event())
    known_at = store.meta().known_to_sweep(now) if known_at is None else known_at
    return Plan(candidates, bounded=bounded, free=free, limits=limits, now=now, known_at=known_at, need=need)


def holds(store: StoreReader, limits: Limits) -> bool:
    """Return whether every bound holds, whatever bundles have by now: then no plan is needed, and no look at them."""
    totals = store.totals()
    most = totals.exclusive + totals.held + unfinished_bytes(store.root)
    return limits.max_age is None and most <= limits.max_size and free_bytes(store.root) >= limits.min_free


def prune(store: Store, limits: Limits, now: float, cancel: threading.Event | None = None) -> Plan:
    """Sweep what crashes left behind and return the plan for the rest, which is to be applied: what cron runs.

    Raise Cancelled when `cancel` is set, as the walk of the plan does.
    """
    known_at = store.meta().known_to_sweep(now)  # before this sweep
    giving_up_ballast(store.root, lambda: sweep(store, now, cancel, max_size=limits.max_size))
    return plan_without_partials(store, limits, now, known_at=known_at, cancel=cancel)


def plan_without_partials(
    store: Store, limits: Limits, now: float, *, known_at: float, cancel: threading.Event | None = None
) -> Plan:
    """Give up partials as far as the bounds want it, and return the plan for the rest: a track is worth more."""
    plan = plan_for(store, limits, now, known_at=known_at, cancel=cancel)
    if not plan.missing:
        return plan
    give_up_partials(store, plan.missing)
    return plan_for(store, limits, now, known_at=known_at, cancel=cancel)


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


def apply_further(store: Store, plan: Plan) -> Iterator[Outcome]:
    """Apply a plan, and in the place of what stayed what comes next: room is made, or nothing is left that may go."""
    has_stayed = True
    while has_stayed:
        has_stayed = False
        for outcome in apply(store, plan):
            has_stayed = has_stayed or bool(outcome.stayed)
            yield outcome


def _candidates(
    store: StoreReader, change: HeldChange, left: Leftovers, locked: Set[str], cancel: threading.Event
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
            why = why or (LOCKED if digest in locked else "")
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
