"""What the store holds: tracks, entries and blobs."""

from __future__ import annotations

from dataclasses import fields
from operator import itemgetter
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from cachestore.blobs import Witness, is_file, witness_of
from cachestore.entry import Entry
from cachestore.root import cost_of_file
from cachestore.rows.checks import all_typed, amount, checked_digest, moment, parts, typed
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    import os

    from cachestore.index.reader import Row

# The witness of a blob that was put away: no file has the inode 0.
NO_FILE = Witness(0, 0, 0, 0)

_ENTRY_FIELDS = tuple(field.name for field in fields(Entry) if field.init)
_KINDS = {kind.value: kind for kind in VersionKind}
_texts = itemgetter("source", "id", "media_type", "ext", "label")


class TrackRow(NamedTuple):
    """Which versions of a track are kept: the hex of each, the current one first. A pin follows the current one."""

    kept: tuple[str, ...] = ()
    pinned: bool = False

    def with_current(self, version: str) -> TrackRow:
        """Return the row with `version` as the current one."""
        return TrackRow((version, *(kept for kept in self.kept if kept != version)), self.pinned)

    def without(self, version: str) -> TrackRow:
        """Return the row without `version`."""
        return TrackRow(tuple(kept for kept in self.kept if kept != version), self.pinned)

    def to_row(self) -> Row:
        """Return the JSON object."""
        return {"kept": list(self.kept), "pinned": self.pinned}

    @staticmethod
    def from_row(row: Row) -> TrackRow:
        """Return the value of a JSON object."""
        return TrackRow(parts(row["kept"]), typed(row["pinned"], bool))


class BlobRow(NamedTuple):
    """A blob: its size and what it costs the disk in bytes, its witness, the boot it was seen whole in, its keys.

    `used_at` is the latest use of any of its entries, in Unix seconds; `holders` are the ids of the registered bundles
    that were seen to have a hard link to it.
    """

    size: int
    cost: int
    witness: Witness
    boot: str
    keys: tuple[str, ...]
    used_at: float = 0.0
    holders: tuple[str, ...] = ()

    @property
    def is_held(self) -> bool:
        """Return whether a bundle is known to have the file too, so that evicting it frees nothing."""
        return bool(self.holders)

    def seen(self, info: os.stat_result, boot: str) -> BlobRow:
        """Return the row of the blob as its stat has it now, whole under `boot`; another inode has no holders."""
        witness = witness_of(info)
        holders = self.holders if witness.inode == self.witness.inode else ()
        return BlobRow(witness.size, cost_of_file(info), witness, boot, self.keys, self.used_at, holders)

    def costed(self, info: os.stat_result | None) -> BlobRow:
        """Return the row with what its file costs by now: it may have grown under another of its names.

        Another file in its place, as of a store that was copied, is held by nobody yet, and has to be hashed.
        """
        if info is None or not is_file(info):
            return self
        if info.st_ino != self.witness.inode:
            return self.seen(info, "")
        cost = cost_of_file(info)
        return self if cost == self.cost else self._replace(cost=cost)

    def put_away(self) -> BlobRow:
        """Return the row of the blob without its file."""
        return self._replace(cost=0, boot="", witness=NO_FILE, holders=())

    def held_by(self, bundle_id: str, *, holds: bool) -> BlobRow:
        """Return the row with the bundle as a holder, or without it."""
        if holds == (bundle_id in self.holders):
            return self
        return self._replace(holders=holders_with(self.holders, bundle_id, holds=holds))

    def to_row(self) -> Row:
        """Return the JSON object."""
        return {
            "size": self.size,
            "cost": self.cost,
            "witness": list(self.witness),
            "boot": self.boot,
            "keys": list(self.keys),
            "used_at": self.used_at,
            "holders": list(self.holders),
        }

    @staticmethod
    def from_row(row: Row) -> BlobRow:
        """Return the value of a JSON object; the first stores had no uses and no holders in it."""
        size, witness = amount(row["size"]), Witness(*all_typed(row["witness"], int))
        if witness.size != size and witness != NO_FILE:
            raise ValueError(f"{size} bytes were seen as {witness.size}")
        return BlobRow(
            size,
            amount(row["cost"]),
            witness,
            typed(row["boot"], str),
            parts(row["keys"]),
            moment(row.get("used_at", 0.0)),
            parts(row.get("holders", ())),
        )


def holders_with(holders: tuple[str, ...], bundle_id: str, *, holds: bool) -> tuple[str, ...]:
    """Return `holders` with the bundle as the last of them, or without it."""
    others = tuple(holder for holder in holders if holder != bundle_id)
    return (*others, bundle_id) if holds else others


def entry_to_row(entry: Entry) -> Row:
    """Return the JSON object of an entry; the key says source, id and version hex."""
    row: Row = {name: getattr(entry, name) for name in _ENTRY_FIELDS}  # asdict would copy all that it finds
    return row | {"version": [entry.version.kind.value, entry.version.value, entry.version.digest]}


def entry_from_row(row: Row) -> Entry:
    """Return the entry of a JSON object."""
    kind, value, reused, source, track_id, media_type, ext, label = parts((*row["version"], *_texts(row)))
    return Entry(
        intern(source),  # one text for what thousands of entries say
        track_id,
        Version(_KINDS[kind], value, reused),
        checked_digest(row["digest"]),
        amount(row["size"]),
        intern(media_type),
        intern(ext),
        label,
        moment(row["stored_at"]),
        moment(row["validated_at"]),
        moment(row["used_at"]),
        typed(row["pinned"], bool),
        typed(row.get("place", ""), str),
    )
