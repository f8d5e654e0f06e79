"""What crashes leave behind, and nobody will come back for: dead runs, old partials, lost rows, old quarantine.

One walk finds what goes; `foresee` adds it up, `sweep` takes it.

leftovers    what a sweep gives back
unfinished   partials and dead runs
misjudged    blobs that their rows do not tell the truth about
quarantine   what was put away long ago, or is too much
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cachestore.runs import remove_unnamed
from cachestore.sweep.leftovers import Leftovers
from cachestore.sweep.misjudged import Misjudged, unindexed
from cachestore.sweep.quarantine import empty_quarantine, give_up_quarantine, surplus, trim_quarantine
from cachestore.sweep.unfinished import (
    a_fetch_lives,
    dead_partials,
    dead_runs,
    foresee_partials,
    give_up_partials,
)
from cachestore.usage import QUARANTINE_SHARE

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store

__all__ = [
    "Leftovers",
    "a_fetch_lives",
    "dead_runs",
    "empty_quarantine",
    "foresee",
    "foresee_partials",
    "give_up_partials",
    "give_up_quarantine",
    "sweep",
    "take_leftovers",
    "trim_quarantine",
]

_LONGEST_BEGINNING = 60.0


def sweep(store: Store, now: float, cancel: threading.Event | None = None, *, max_size: float) -> None:
    """Do what `take_leftovers` does, and note when: what is old now, the next sweep may take for its age."""
    take_leftovers(store, now, store.meta().known_to_sweep(now), cancel, max_size=max_size)
    store.swept(now)


def take_leftovers(
    store: Store, now: float, known_at: float, cancel: threading.Event | None = None, *, max_size: float
) -> None:
    """Take what is left of dead runs and what nothing refers to, and bring up to date what counts and is held.

    What is to be old was so at `known_at` (Unix seconds), too: one clock that is ahead takes nothing. Quarantine is cut
    down to its share of `max_size`. Raise Cancelled when `cancel` is set.
    """
    for found in _findings(store, known_at, max_size, cancel):
        found.take(store)
    remove_unnamed(store.root.runs, now - _LONGEST_BEGINNING)
    store.look_at_bundles()


def foresee(store: StoreReader, now: float, cancel: threading.Event | None = None, *, max_size: float) -> Leftovers:
    """Return what a sweep would give back, and take nothing. Raise Cancelled when `cancel` is set."""
    left = Leftovers()
    for found in _findings(store, store.meta().known_to_sweep(now), max_size, cancel):
        found.foresee(store, left)
    left.unindexed.sort(key=lambda blob: blob[1].used_at)
    return left


class _Finding(Protocol):
    """Something that a sweep takes."""

    def foresee(self, store: StoreReader, left: Leftovers) -> None:
        """Add what that gives back to what is `left`."""

    def take(self, store: Store) -> None:
        """Take it, if it is still so."""


def _findings(
    store: StoreReader, known_at: float, max_size: float, cancel: threading.Event | None
) -> Iterator[_Finding]:
    """Yield what is to be taken, in an order that may be taken while this is walked."""
    yield from dead_partials(store, known_at)
    yield from dead_runs(store, known_at)
    yield from unindexed(store, cancel)
    yield Misjudged(cancel)
    yield from surplus(store.root.quarantine, known_at, max_size * QUARANTINE_SHARE)
