"""Which blobs go so that the store stays in its bounds. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cachestore.entry import Entry

# Over a bound, room is made down to this part of it, so that the next download does not prune again.
_LOW_WATERMARK = 0.9
LINKED, YOUNG = "linked from elsewhere", "younger than min_age"


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
    on top. What is too old was so at `known_at` (Unix seconds, 0 if nothing was noted then) already: ages count
    `aged_until` then. The victims come while the plan is walked; its figures are complete when it has been walked to
    its end, and `stayed` says by reason how many bytes stay though a bound wants them gone, `cost` and `frees` what its
    victims do. A further walk goes on behind them, for what was noted to have stayed.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        *,
        bounded: int,
        free: int,
        limits: Limits,
        now: float,
        known_at: float = 0.0,
        need: int = 0,
    ) -> None:
        self._candidates: Iterator[Candidate] = iter(candidates)
        self._limits = limits
        self._now = now
        self.aged_until = min(now, known_at or now)
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
        excess, short = self._excess - self.cost, self._short - self.frees
        for blob in self._candidates:
            reason = self._reason(blob, excess, short)
            if not reason:
                self._candidates = chain([blob], self._candidates)  # of a further walk it may be the first victim
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
