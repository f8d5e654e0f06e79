"""The rows of the index: their keys, and their values as frozen types.

``meta`` the store itself · ``t:source:id`` which versions of a track are kept · ``e:key`` an entry · ``b:digest`` a
blob · ``x:id`` a registered bundle · ``r:run`` a run that may write.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cachestore.blobs import Witness
from cachestore.entry import Entry
from cachestore.errors import IndexDamaged
from cachestore.links import LinkMode
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachestore.index.reader import Row

T = TypeVar("T")

META = "meta"
TRACK = "t:"
ENTRY = "e:"
BLOB = "b:"
BUNDLE = "x:"
RUN = "r:"


class SupportsGet(Protocol):
    """Whatever rows can be read from: the index, or a transaction."""

    def get(self, key: str) -> Row | None:
        """Return the row of `key`, None if there is none."""


@dataclass(frozen=True, slots=True)
class TrackRow:
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
        return TrackRow(tuple(row["kept"]), row["pinned"])


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A blob: its size and what it costs the disk in bytes, its witness, the boot it was seen whole in, its keys."""

    size: int
    cost: int
    witness: Witness
    boot: str
    keys: tuple[str, ...]

    def to_row(self) -> Row:
        """Return the JSON object."""
        return asdict(self) | {"witness": list(self.witness)}

    @staticmethod
    def from_row(row: Row) -> BlobRow:
        """Return the value of a JSON object."""
        return BlobRow(row["size"], row["cost"], Witness(*row["witness"]), row["boot"], tuple(row["keys"]))


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of a bundle: its path relative to the bundle with ``/``, its digest, and how it was linked."""

    file: str
    digest: str
    mode: LinkMode


@dataclass(frozen=True, slots=True)
class Bundle:
    """An exported folder that the store knows of; `exported_at` in Unix seconds."""

    dest: Path
    name: str
    exported_at: float
    files: tuple[BundleFile, ...]

    @property
    def row_key(self) -> str:
        """Return the key of the bundle's row: one a destination."""
        return BUNDLE + hashlib.blake2b(str(self.dest).encode(errors="surrogateescape"), digest_size=16).hexdigest()

    def to_row(self) -> Row:
        """Return the JSON object."""
        files = [[file.file, file.digest, file.mode.value] for file in self.files]
        return {"dest": str(self.dest), "name": self.name, "exported_at": self.exported_at, "files": files}

    @staticmethod
    def from_row(row: Row) -> Bundle:
        """Return the value of a JSON object."""
        files = tuple(BundleFile(file, digest, LinkMode(mode)) for file, digest, mode in row["files"])
        return Bundle(Path(row["dest"]), row["name"], row["exported_at"], files)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run that may write: what it is, since when (Unix seconds), which folders it made, which blobs it leases."""

    command: str
    started_at: float
    staging: str | None = None
    dest: str | None = None
    leased: tuple[str, ...] = field(default=())

    def to_row(self) -> Row:
        """Return the JSON object."""
        return asdict(self) | {"leased": list(self.leased)}

    @staticmethod
    def from_row(row: Row) -> RunRow:
        """Return the value of a JSON object."""
        return RunRow(row["command"], row["started_at"], row["staging"], row["dest"], tuple(row["leased"]))


def entry_to_row(entry: Entry) -> Row:
    """Return the JSON object of an entry; the key says source, id and version hex."""
    fields: dict[str, Any] = asdict(entry)
    fields["version"] = [entry.version.kind.value, entry.version.value, entry.version.digest]
    return fields


def entry_from_row(row: Row) -> Entry:
    """Return the entry of a JSON object."""
    kind, value, digest = row["version"]
    return Entry(**(row | {"version": Version(VersionKind(kind), value, digest)}))


def decoded(key: str, row: Row, make: Callable[[Row], T]) -> T:
    """Return what `make` makes of the JSON object of `key`. Raise IndexDamaged when fields are missing or wrong."""
    try:
        return make(row)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IndexDamaged(f"row {key!r}", f"its fields are wrong ({error!r})") from None


def get_as(rows: SupportsGet, key: str, make: Callable[[Row], T]) -> T | None:
    """Return the row of `key` as a value, None if there is none. Raise IndexDamaged."""
    row = rows.get(key)
    return None if row is None else decoded(key, row, make)
