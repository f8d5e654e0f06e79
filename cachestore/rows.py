"""The rows of the index: their keys, and their values as frozen types.

``meta`` the store itself · ``t:source:id`` which versions of a track are kept · ``e:key`` an entry · ``b:digest`` a
blob · ``x:id`` a registered bundle · ``r:run`` a run that may write.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cachestore.blobs import Witness, is_digest
from cachestore.entry import Entry
from cachestore.errors import IndexDamaged
from cachestore.links import LinkMode
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cachestore.index.reader import Row

T = TypeVar("T")

_BATCH = 256

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
        return TrackRow(tuple(typed(version, str) for version in row["kept"]), typed(row["pinned"], bool))


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
        witness = Witness(*(typed(number, int) for number in row["witness"]))
        keys = tuple(typed(key, str) for key in row["keys"])
        return BlobRow(typed(row["size"], int), typed(row["cost"], int), witness, typed(row["boot"], str), keys)


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
        files = tuple(
            BundleFile(typed(file, str), checked_digest(digest), LinkMode(mode)) for file, digest, mode in row["files"]
        )
        return Bundle(Path(row["dest"]), typed(row["name"], str), typed(row["exported_at"], float, int), files)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run that may write: what it is, since when (Unix seconds), where it publishes, which blobs it leases."""

    command: str
    started_at: float
    dest: str | None = None
    leased: tuple[str, ...] = ()

    def to_row(self) -> Row:
        """Return the JSON object."""
        return asdict(self) | {"leased": list(self.leased)}

    @staticmethod
    def from_row(row: Row) -> RunRow:
        """Return the value of a JSON object."""
        leased = tuple(typed(digest, str) for digest in row["leased"])
        started_at, dest = typed(row["started_at"], float, int), typed(row["dest"], str, type(None))
        return RunRow(typed(row["command"], str), started_at, dest, leased)


@dataclass(frozen=True, slots=True)
class MetaRow:
    """The store itself: since when there is this index (Unix seconds), and what fetches found."""

    created_at: float
    hits: int = 0
    misses: int = 0

    def to_row(self) -> Row:
        """Return the JSON object."""
        return asdict(self)

    @staticmethod
    def from_row(row: Row) -> MetaRow:
        """Return the value of a JSON object."""
        return MetaRow(typed(row["created_at"], float, int), typed(row["hits"], int), typed(row["misses"], int))


def entry_to_row(entry: Entry) -> Row:
    """Return the JSON object of an entry; the key says source, id and version hex."""
    fields: dict[str, Any] = asdict(entry)
    fields["version"] = [entry.version.kind.value, entry.version.value, entry.version.digest]
    return fields


def entry_from_row(row: Row) -> Entry:
    """Return the entry of a JSON object."""
    kind, value, reused = row["version"]
    version = Version(VersionKind(kind), typed(value, str), typed(reused, str))
    texts = {name: typed(row[name], str) for name in ("source", "id", "media_type", "ext", "label")}
    times = {name: typed(row[name], float, int) for name in ("stored_at", "validated_at", "used_at")}
    digest, size, pinned = checked_digest(row["digest"]), typed(row["size"], int), typed(row["pinned"], bool)
    return Entry(version=version, digest=digest, size=size, pinned=pinned, **texts, **times)


def typed(value: Any, *types: type) -> Any:  # noqa: ANN401 - what JSON gives is known only after the check
    """Return `value` if it is of one of `types`; True is no number. Raise TypeError."""
    if type(value) not in types:
        raise TypeError(f"{value!r} is no {types[0].__name__}")
    return value


def checked_digest(value: object) -> str:
    """Return `value` if it is a digest. Raise ValueError."""
    if not is_digest(value):
        raise ValueError(f"{value!r} is no digest")
    return str(value)


def decoded(key: str, row: Row, make: Callable[[Row], T]) -> T:
    """Return what `make` makes of the JSON object of `key`. Raise IndexDamaged when fields are missing or wrong."""
    try:
        return make(row)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise IndexDamaged(f"row {key!r}", f"its fields are wrong ({error!r})") from None


def get_as(rows: SupportsGet, key: str, make: Callable[[Row], T]) -> T | None:
    """Return the row of `key` as a value, None if there is none or it is damaged: it is about to be written anew."""
    try:
        row = rows.get(key)
        return None if row is None else decoded(key, row, make)
    except IndexDamaged:
        return None


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield `items` in lists that are small work for one query."""
    remaining = iter(items)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
