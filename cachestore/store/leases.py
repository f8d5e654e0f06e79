"""Leases: blobs that a living run needs, and that nobody evicts meanwhile.

A run's leases lie in rows of a few dozen digests each, so that neither taking nor ending one rewrites them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

from cachestore.rows import LeaseRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Set

    from cachestore.entry import Entry
    from cachestore.store.ledger import Ledger

IN_USE = "in use by a running export"
_DIGESTS_PER_ROW = 64


@dataclass(frozen=True, slots=True)
class Leases:
    """What living runs need: the digests of each of them."""

    by_run: tuple[Set[str], ...] = ()

    @property
    def digests(self) -> set[str]:
        """Return all digests that are leased."""
        return set().union(*self.by_run)

    def on(self, entry: Entry) -> str:
        """Return why the entry must stay, or nothing."""
        return self.on_blob(entry.digest)

    def on_blob(self, digest: str) -> str:
        """Return why the blob must stay, or nothing."""
        return IN_USE if any(digest in digests for digests in self.by_run) else ""


def run_of(name: str) -> str:
    """Return the id of the run that a row of leases belongs to."""
    return name.partition(":")[0]


class LeaseBook:
    """What one run of this process leases: how often each digest, and in which row it is written."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._taken: dict[str, int] = {}
        self._rows: dict[int, dict[str, None]] = {}
        self._row_of: dict[str, int] = {}
        self._numbers = count()
        self.unwritten: dict[str, None] = {}  # in order: what is taken together ends together, and is in one row

    def take(self, digests: Iterable[str]) -> None:
        """Lease each of `digests` once more; `write` writes it."""
        for digest in digests:
            times = self._taken.get(digest, 0)
            self._taken[digest] = times + 1
            if not times:
                self.unwritten[digest] = None

    def end(self, digests: Iterable[str]) -> None:
        """End one lease on each of `digests`; `write` writes it."""
        for digest in digests:
            times = self._taken.pop(digest, 0)
            if times > 1:
                self._taken[digest] = times - 1
            elif times:
                self.unwritten[digest] = None

    def write(self, ledger: Ledger) -> None:
        """Bring the rows up to date."""
        taken, rows, row_of = self._taken, self._rows, self._row_of
        ended = [digest for digest in self.unwritten if digest not in taken and digest in row_of]
        new = iter([digest for digest in self.unwritten if digest in taken and digest not in row_of])
        self.unwritten = {}
        stale = {row_of[digest] for digest in ended}
        for digest in ended:
            del rows[row_of.pop(digest)][digest]
        while digests := list(islice(new, _DIGESTS_PER_ROW)):
            number = next(self._numbers)
            rows[number] = dict.fromkeys(digests)
            row_of |= dict.fromkeys(digests, number)
            stale.add(number)
        for number in stale:
            ledger.put_leases(f"{self._run_id}:{number}", LeaseRow(tuple(rows[number])))
