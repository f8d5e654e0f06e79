"""Reservations: room that is kept for a download before its bytes are there, and that everybody counts.

It stands in the row of its run, as one figure: what all downloads of the run still have to write. What they have
written counts as partials. So the row of a run that died counts for nothing, and what a row says is never too little.

A length that is only announced evicts nothing: where there is no room for all of a body, its beginning is reserved and
the rest announced, a second figure. That can be evicted for when it comes, and is announced to nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from sys import maxsize
from typing import TYPE_CHECKING

from cachestore.partials import BUFFER
from cachestore.root import free_bytes
from cachestore.store.costs import cost_of

if TYPE_CHECKING:
    from cachestore.store.ledger import Ledger
    from cachestore.store.reader import StoreReader

_BLOCK = 4096
SIDECAR = _BLOCK


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of disk: `bounded` by max_size and there already, `free`, `reserved` by and `announced` to other runs."""

    bounded: int
    free: int
    reserved: int
    announced: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds that hold while something is downloaded, in bytes of disk."""

    max_size: int
    min_free: int

    def left(self, room: Room) -> int:
        """Return how much may still be reserved; below zero when a bound does not hold."""
        return min(self.max_size - room.bounded, room.free - self.min_free) - room.reserved


@dataclass(frozen=True, slots=True)
class Announced:
    """What a reservation leaves to others and to later, in bytes of disk.

    Of a body with no room for all of it, `least` is reserved at once if other runs were announced no more than `known`.
    `own` is what is announced to the other bodies of the run.
    """

    least: int = maxsize
    own: int = 0
    known: int = maxsize

    def granted(self, left: int, others: int, need: int, spare: int) -> int:
        """Return how much of `left` is reserved for a body, up to `spare` more than it needs, 0 if there is no room."""
        to_nobody = left - self.own - others
        if to_nobody >= need:
            return min(need + spare, to_nobody)
        some = min(need, self.least)
        return some if left >= some and others <= self.known else 0

    def after(self, need: int, granted: int) -> int:
        """Return what is announced to the run once so much of the need is granted."""
        return self.own + (max(0, need - granted) if granted else 0)


AT_ONCE = Announced()


def room_of(store: StoreReader, but: str = "") -> Room:
    """Return how things stand for the run `but`, as of the last looks at bundles."""
    return room_besides(store, cost_of(store.root.quarantine), but)


def room_besides(store: StoreReader, quarantined: int, but: str = "") -> Room:
    """Return what `room_of` does where quarantine costs so much: who holds the lock has it added up before.

    There may be many files, and what comes there meanwhile is found at the next look. Partials are few, and have to be
    added up after what is reserved is read: bytes that are written meanwhile are then counted twice, and not left out.
    What is announced is read before, for the same reason.
    """
    announced = store.announced(but=but)
    reserved = store.reserved(but=but)
    bounded = store.totals().exclusive + cost_of(store.root.partials) + quarantined
    return Room(bounded, free_bytes(store.root), reserved, announced)


def set_reserved(ledger: Ledger, run_id: str, reserved: int, announced: int) -> None:
    """Let the row of a run say what it has reserved, and what is announced to it."""
    if row := ledger.run(run_id):
        ledger.put_run(run_id, replace(row, reserved=reserved, announced=announced))


def cost_of_body(size: int) -> int:
    """Return how many bytes of disk the download of a body of `size` bytes takes, with what is known of it, at most."""
    return -(-size // _BLOCK) * _BLOCK + SIDECAR + BUFFER
