"""What a fetch was asked for, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachestore.errors import TrackError
from cachestore.events import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cachestore.entry import Entry
    from cachestore.fetching.decide import Hit
    from cachestore.track import Track


# What the store has of a track: the keys, and when the bytes of each were stored.
Stored = frozenset[tuple[str, float]]


@dataclass(slots=True)
class Wanted:
    """One distinct track, the rows that ask for it, the outcome once there is one.

    When it was last looked up, the store had `stored` of it, of which `whole` may serve it; `refused` is why it cannot
    be served at all. When it `gave_way`, none of that is leased any more; when it is `delivered`, a row has had its
    result; `told`, its end was told, though it may have to be asked for again.
    """

    number: int
    track: Track
    rows: list[int]
    stored: Stored = frozenset()
    whole: list[Entry] = field(default_factory=list)
    refused: TrackError | None = None
    outcome: Hit | TrackError | None = None
    downloaded: bool = False
    gave_way: bool = False
    delivered: bool = False
    told: bool = False

    @property
    def leased(self) -> list[str]:
        """Return the digests that are leased for it, each as often as it is."""
        if self.gave_way or isinstance(self.outcome, TrackError):
            return []
        return [entry.digest for entry in self.whole] if self.outcome is None else [self.outcome.entry.digest]

    def origin(self, row: int) -> Provenance:
        """Return where the bytes of a row came from: a download counts for the first row that asked for it."""
        return Provenance.NETWORK if self.downloaded and row == self.rows[0] else Provenance.CACHE


def stored_of(kept: Iterable[Entry]) -> Stored:
    """Return what the entries that are kept of a track tell of it."""
    return frozenset((entry.key, entry.stored_at) for entry in kept)


def distinct(tracks: Sequence[Track]) -> list[Wanted]:
    """Return every track once, in the order in which they are first asked for."""
    wanted: dict[tuple[str, str, str | None], Wanted] = {}
    for row, track in enumerate(tracks):
        identity = (track.source, track.id, track.version)
        wanted.setdefault(identity, Wanted(len(wanted), track, [])).rows.append(row)
    return list(wanted.values())


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one row: `index` is its place in the input.

    `origin` says whether the bytes came from the cache or the network, `stale` that no server confirmed the entry,
    `error` why there is none.
    """

    index: int
    track: Track
    origin: Provenance | None = None
    stale: bool = False
    error: TrackError | None = None
    found: Entry | None = field(default=None, repr=False)

    @property
    def entry(self) -> Entry:
        """Return the entry, or raise the error of this track."""
        if self.found is None:
            raise self.error or LookupError(self.track.address)
        return self.found


def result_of(wanted: Wanted, row: int) -> Result:
    """Return the result of one row of a track that has its outcome."""
    if isinstance(wanted.outcome, TrackError):
        return Result(row, wanted.track, error=wanted.outcome)
    if wanted.outcome is None:
        raise LookupError(wanted.track.address)
    hit = wanted.outcome
    return Result(row, wanted.track, wanted.origin(row), hit.stale, found=hit.entry)
