"""The store itself, with its totals."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

from cachestore.rows.checks import amount, moment, typed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cachestore.index.reader import Row
    from cachestore.rows.content import BlobRow

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of entries and blobs, and bytes: `logical` as files are long, the others in disk blocks.

    `exclusive` are blobs that only the cache has, `held` those that a bundle was seen to have too.
    """

    entries: int = 0
    blobs: int = 0
    logical: int = 0
    exclusive: int = 0
    held: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.entries + other.entries,
            self.blobs + other.blobs,
            self.logical + other.logical,
            self.exclusive + other.exclusive,
            self.held + other.held,
        )

    def __neg__(self) -> Totals:
        return Totals(-self.entries, -self.blobs, -self.logical, -self.exclusive, -self.held)

    def __sub__(self, other: Totals) -> Totals:
        return self + -other

    @staticmethod
    def of(blobs: Iterable[BlobRow]) -> Totals:
        """Return what blobs add."""
        count = logical = exclusive = held = 0
        for blob in blobs:
            count += 1
            logical += blob.size
            if blob.is_held:
                held += blob.cost
            else:
                exclusive += blob.cost
        return Totals(0, count, logical, exclusive, held)


class Home(NamedTuple):
    """Where a store is: the filesystem and inode of ROOT. Another boot may give the filesystem another number.

    So may another mount: `made_ns` is the ctime of a file there, in ns, which no copy has; 0 if there was none.
    """

    boot: str
    device: int
    inode: int
    made_ns: int = 0

    def is_left_for(self, now: Home) -> bool:
        """Return whether a store that was here and is at `now` was copied or moved."""
        if self.inode != now.inode:
            return True
        may_be_another_disk = self.device != now.device and self.boot == now.boot != ""
        return may_be_another_disk and (self.made_ns == 0 or self.made_ns != now.made_ns)


@dataclass(frozen=True, slots=True)
class MetaRow:
    """The store itself: what fetches found, and the totals.

    `counts` is how often all rows were counted to put the totals right; as long as it is 0 they mean nothing. `looks`
    goes up when every bundle has to be looked at again, whatever its folders say, `leases` with every change of those.
    `swept_at` is when the last sweep was, in Unix seconds, `clocks` are two times at which exports ended that swept
    nothing, a day apart or more, the earlier one first. `home` is where the store was when it was told last.
    """

    hits: int = 0
    misses: int = 0
    totals: Totals = Totals()
    counts: int = 0
    looks: int = 0
    leases: int = 0
    swept_at: float = 0.0
    home: Home | None = None
    clocks: tuple[float, float] = (0.0, 0.0)

    @staticmethod
    def begun(home: Home) -> MetaRow:
        """Return the row of a new store at `home`, or of one that has lost its row.

        Its counters begin where those of the lost one cannot have been: others remember what they saw by them.
        """
        start = int.from_bytes(os.urandom(6))
        return MetaRow(looks=start, leases=start, home=home)

    def is_noted_today(self, now: float) -> bool:
        """Return whether an export has noted a time within a day of now, either way."""
        return abs(now - self.clocks[1]) < _DAY

    def known_at(self, now: float) -> float:
        """Return until when ages count for an export: until what was noted a day before or more, 0 if nothing was.

        What is to go for its age was that old then, too: one day with a wrong clock takes nothing.
        """
        notes = (self.swept_at, *self.clocks)
        return min(now, max((note for note in notes if abs(now - note) >= _DAY), default=0.0))

    def known_to_sweep(self, now: float) -> float:
        """Return until when ages count for a prune: until the sweep before at least; a second one may come soon."""
        return min(now, max(self.swept_at, self.known_at(now)))

    def to_row(self) -> Row:
        """Return the JSON object."""
        # asdict would copy what it finds, and this row is written in each transaction.
        row: Row = {name: getattr(self, name) for name in _META_FIELDS}
        return row | {"totals": {name: getattr(self.totals, name) for name in _TOTALS_FIELDS}}

    @staticmethod
    def from_row(row: Row) -> MetaRow:
        """Return the value of a JSON object; the first stores had no totals in it. Nothing can be less than none."""
        totals = {name: amount(number) for name, number in row.get("totals", {}).items()}
        return MetaRow(
            amount(row["hits"]),
            amount(row["misses"]),
            Totals(**totals),
            amount(row.get("counts", 0)),
            amount(row.get("looks", 0)),
            amount(row.get("leases", 0)),
            moment(row.get("swept_at", 0.0)),
            None if (home := row.get("home")) is None else _home(*home),
            _clocks(*row.get("clocks", (0.0, 0.0))),
        )


def _home(boot: object, device: object, inode: object, made_ns: object = 0) -> Home:
    return Home(typed(boot, str), typed(device, int), typed(inode, int), typed(made_ns, int))


def _clocks(earlier: object, later: object) -> tuple[float, float]:
    return moment(earlier), moment(later)


_META_FIELDS = tuple(field.name for field in fields(MetaRow))
_TOTALS_FIELDS = tuple(field.name for field in fields(Totals))
