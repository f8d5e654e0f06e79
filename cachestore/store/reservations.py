"""Reservations: room that is promised to a download before its bytes are there, and that everybody counts.

It stands in the row of its run, as one figure: what all downloads of the run still have to write. What they have
written counts as partials. So the row of a run that died counts for nothing, and what a row says is never too little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    """Bytes of disk: `bounded` by max_size and there already, `free`, and `reserved` by other runs."""

    bounded: int
    free: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds that hold while something is downloaded, in bytes of disk."""

    max_size: int
    min_free: int

    def left(self, room: Room) -> int:
        """Return how much may still be reserved; below zero when a bound does not hold."""
        return min(self.max_size - room.bounded, room.free - self.min_free) - room.reserved


def room_of(store: StoreReader, but: str = "") -> Room:
    """Return how things stand for the run `but`, as of the last looks at bundles."""
    return room_besides(store, cost_of(store.root.quarantine), but)


def room_besides(store: StoreReader, quarantined: int, but: str = "") -> Room:
    """Return what `room_of` does where quarantine costs so much: who holds the lock has it added up before.

    There may be many files, and what comes there meanwhile is found at the next look. Partials are few, and have to be
    added up after what is reserved is read: bytes that are written meanwhile are then counted twice, and not left out.
    """
    reserved = store.reserved(but=but)
    bounded = store.totals().exclusive + cost_of(store.root.partials) + quarantined
    return Room(bounded, free_bytes(store.root), reserved)


def set_reserved(ledger: Ledger, run_id: str, reserved: int) -> None:
    """Let the row of a run say what it has reserved."""
    if row := ledger.run(run_id):
        ledger.put_run(run_id, replace(row, reserved=reserved))


def cost_of_body(size: int) -> int:
    """Return how many bytes of disk the download of a body of `size` bytes takes, with what is known of it, at most."""
    return -(-size // _BLOCK) * _BLOCK + SIDECAR + BUFFER
