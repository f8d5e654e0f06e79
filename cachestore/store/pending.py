"""What a run has noticed and not yet written: uses, validations, witnesses, counts.

Writing them one by one would make every read a write; they are written together when the run flushes. Losing them to a
crash costs a re-hash or a slightly wrong order of eviction, never a wrong byte.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from cachestore.blobs import witness_of
from cachestore.rows import BLOBS, ENTRIES
from cachestore.store.publish import add_blob

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cachestore.blobs import Blobs, Witness
    from cachestore.entry import Entry
    from cachestore.rows import BlobRow
    from cachestore.store.values import Values

# A use is written only when it is this much newer than the one known, in seconds: LRU needs no more.
_COARSE = 3600.0
_NOTES_PER_BATCH = 200


class _Seen(NamedTuple):
    """What was noticed of one entry: Unix seconds, 0 when it was not."""

    used_at: float = 0.0
    validated_at: float = 0.0


class Batch(NamedTuple):
    """PendingWrites that are written in one transaction."""

    seen: Mapping[str, _Seen]
    witnesses: Mapping[str, Witness]
    hits: int
    misses: int

    def write(self, values: Values, blobs: Blobs, boot: str) -> None:
        """Write the notes of what is still there, and as it was seen."""
        values.read(ENTRIES, self.seen)
        values.read(BLOBS, self.witnesses)
        for key, seen in self.seen.items():
            _write_seen(values, key, seen)
        for digest, witness in self.witnesses.items():
            info = blobs.stat(digest)  # of an edit since then the next sweep has told what it costs
            if values.blob(digest) and info is not None and witness_of(info) == witness:
                add_blob(values, digest, info, boot, ())
        if (self.hits or self.misses) and (meta := values.meta()):
            values.put_meta(replace(meta, hits=meta.hits + self.hits, misses=meta.misses + self.misses))


class PendingWrites:
    """Collect what is to be written, then give it away in batches."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._witnesses: dict[str, Witness] = {}
        self._hits = 0
        self._misses = 0

    def used(self, entry: Entry, now: float) -> None:
        """Note a use, unless a recent one is known."""
        if not entry.used_at <= now < entry.used_at + _COARSE:
            self._seen[entry.key] = self._seen.get(entry.key, _Seen())._replace(used_at=now)

    def validated(self, entry: Entry, now: float) -> None:
        """Note that the server confirmed the entry as the current version of its track."""
        self._seen[entry.key] = self._seen.get(entry.key, _Seen())._replace(validated_at=now)

    def saw(self, digest: str, witness: Witness) -> None:
        """Note the witness of a blob that is known to be whole."""
        self._witnesses[digest] = witness

    def count(self, hits: int, misses: int) -> None:
        """Add to the counts."""
        self._hits += hits
        self._misses += misses

    def take_of(self, rows: Mapping[str, BlobRow]) -> Batch:
        """Return the notes of blobs, by digest, and of their entries, and forget them."""
        keys = [key for row in rows.values() for key in row.keys]
        seen = {key: self._seen.pop(key) for key in keys if key in self._seen}
        witnesses = {digest: self._witnesses.pop(digest) for digest in rows if digest in self._witnesses}
        return Batch(seen, witnesses, 0, 0)

    def take(self) -> Iterator[Batch]:
        """Yield all notes in batches that are small work for the index, and forget them."""
        seen, witnesses = iter(self._seen.items()), iter(self._witnesses.items())
        hits, misses = self._hits, self._misses
        self._seen, self._witnesses, self._hits, self._misses = {}, {}, 0, 0
        while True:
            batch = Batch(dict(islice(seen, _NOTES_PER_BATCH)), dict(islice(witnesses, _NOTES_PER_BATCH)), hits, misses)
            if batch == Batch({}, {}, 0, 0):
                return
            yield batch
            hits = misses = 0


def _write_seen(values: Values, key: str, seen: _Seen) -> None:
    entry = values.entry(key)
    if entry is None:
        return
    # Not the later of two times: a clock that was once ahead must not rule for ever.
    used_at = seen.used_at or entry.used_at
    validated_at = seen.validated_at or entry.validated_at
    values.put_entry(replace(entry, used_at=used_at, validated_at=validated_at))
    if seen.validated_at:
        _make_current(values, entry, seen.validated_at)


def _make_current(values: Values, entry: Entry, validated_at: float) -> None:
    """Make `entry` the current version of its track, unless the server named another one since."""
    track = values.track(entry.address)
    if track.kept[:1] == (entry.version.hex,):
        return
    current = values.entry(f"{entry.address}@{track.kept[0]}") if track.kept else None
    if current is None or current.validated_at <= validated_at:
        values.put_track(entry.address, track.with_current(entry.version.hex))
