"""The policy: which entries go so that the store stays in its bounds. Planned purely, applied carefully."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.sweep import sweep
from cachestore.usage import unfinished_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cachestore.entry import Entry
    from cachestore.store.evict import Eviction
    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store

# Over a bound, room is made down to this part of it, so that the next download does not prune again.
_LOW_WATERMARK = 0.9
_HELD = "held"


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds: bytes of disk, and seconds since the last use (None: no age is too old)."""

    max_size: int
    min_free: int = 0
    max_age: float | None = None
    min_age: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A blob with its entries, as the plan sees it; `protected` says why it must stay, or nothing."""

    entries: tuple[Entry, ...]
    cost: int
    protected: str = ""

    @property
    def used_at(self) -> float:
        """Return when any of its entries was last used, in Unix seconds."""
        return max(entry.used_at for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Victim:
    """An entry that is to go; `freed` is what its blob gives back once the last of its entries is gone."""

    entry: Entry
    freed: int
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes, in order, and how many bytes a bound would still be short of after it."""

    victims: tuple[Victim, ...]
    over_max_size: int = 0
    under_min_free: int = 0


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry of the plan that stayed after all."""

    victim: Victim
    why: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a plan did: what went, what stayed after all, and the bytes of disk freed."""

    evicted: tuple[Victim, ...]
    skipped: tuple[Skipped, ...]
    freed_bytes: int


def plan(candidates: Iterable[Candidate], *, bounded: int, free: int, limits: Limits, now: float) -> Plan:
    """Return which entries go: those too old, then the least recently used until the bounds hold.

    `bounded` are the bytes that `max_size` bounds, `free` those that the disk has left. Pure.
    """
    movable = sorted(
        (blob for blob in candidates if not blob.protected and blob.used_at <= now - limits.min_age),
        key=lambda blob: blob.used_at,
    )
    victims: list[Victim] = []
    over = bounded - limits.max_size
    to_free = bounded - int(limits.max_size * _LOW_WATERMARK) if over > 0 else 0
    short = limits.min_free - free
    freed = 0
    for blob in movable:
        reason = _reason(blob, limits, now, freed, to_free, short)
        if not reason:
            break
        victims += _victims(blob, reason)
        freed += blob.cost
    return Plan(tuple(victims), max(0, over - freed), max(0, short - freed))


def _reason(blob: Candidate, limits: Limits, now: float, freed: int, to_free: int, short: int) -> str:
    """Return why the blob goes, or nothing when every bound holds without it."""
    if limits.max_age is not None and now - blob.used_at > limits.max_age:
        return "max_age"
    if freed < to_free:
        return "max_size"
    return "min_free" if freed < short else ""


def _victims(blob: Candidate, reason: str) -> Iterator[Victim]:
    *others, last = blob.entries
    for entry in others:
        yield Victim(entry, 0, reason)
    yield Victim(last, blob.cost, reason)


def plan_for(store: StoreReader, limits: Limits, now: float) -> Plan:
    """Return the plan for a store as it is; nothing is locked meanwhile."""
    candidates = list(_candidates(store))
    bounded = sum(blob.cost for blob in candidates if blob.protected != _HELD) + unfinished_bytes(store.root)
    free = shutil.disk_usage(store.root.path).free
    return plan(candidates, bounded=bounded, free=free, limits=limits, now=now)


def _candidates(store: StoreReader) -> Iterator[Candidate]:
    held = store.holders()
    leases = store.leases()
    by_digest: dict[str, list[Entry]] = {}
    for entry in store.entries():
        by_digest.setdefault(entry.digest, []).append(entry)
    for digest, row in store.blob_rows():
        if entries := by_digest.get(digest):
            why = _HELD if digest in held else next(filter(None, (_protection(e, leases.on) for e in entries)), "")
            yield Candidate(tuple(entries), row.cost, why)


def _protection(entry: Entry, lease_on: Callable[[Entry], str]) -> str:
    return "pinned" if entry.pinned else lease_on(entry)


def apply(store: Store, plan: Plan) -> Pruned:
    """Evict what the plan says, or less: what was pinned, leased or used since stays."""
    victims = {victim.entry.key: victim for victim in plan.victims}

    def may_go(entry: Entry) -> str:
        if entry.pinned:
            return "pinned"
        return "used since" if entry.used_at > victims[entry.key].entry.used_at else ""

    return _outcome(victims, store.evict(list(victims), may_go))


def _outcome(victims: dict[str, Victim], evictions: Sequence[Eviction]) -> Pruned:
    evicted = tuple(
        Victim(victims[done.key].entry, done.freed, victims[done.key].reason)
        for done in evictions
        if not done.kept_because
    )
    skipped = tuple(Skipped(victims[done.key], done.kept_because) for done in evictions if done.kept_because)
    return Pruned(evicted, skipped, sum(victim.freed for victim in evicted))


def prune(store: Store, limits: Limits, now: float) -> tuple[Plan, Pruned]:
    """Sweep what crashes left behind, then plan and apply: what cron runs."""
    sweep(store, now)
    made = plan_for(store, limits, now)
    return made, apply(store, made)
