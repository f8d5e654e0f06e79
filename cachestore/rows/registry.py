"""Who else has to do with the blobs: bundles, which hold them, and runs, which lease them."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from cachestore.links import LinkMode
from cachestore.rows.checks import amount, checked_digest, moment, paths, place, typed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cachestore.index.reader import Row

Stamp = tuple[int, int, int]
LOST: Stamp = (0, 0, 0)


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
    def id(self) -> str:
        """Return what the bundle is known by: one a destination."""
        from hashlib import blake2b  # it takes OpenSSL with it

        return blake2b(str(self.dest).encode(errors="surrogateescape"), digest_size=16).hexdigest()

    @property
    def linked(self) -> dict[str, str]:
        """Return the digest of each file that was made as a hard link, by its path in the bundle."""
        return {file.file: file.digest for file in self.files if file.mode is LinkMode.HARDLINK}

    @property
    def folders(self) -> list[str]:
        """Return the bundle's own folder, as ``.``, and those in it that have hard links."""
        return sorted({".", *(file.rpartition("/")[0] or "." for file in self.linked)})

    def to_row(self) -> Row:
        """Return the JSON object."""
        files = [[file.file, file.digest, file.mode.value] for file in self.files]
        return {"dest": str(self.dest), "name": self.name, "exported_at": self.exported_at, "files": files}

    @staticmethod
    def from_row(row: Row) -> Bundle:
        """Return the value of a JSON object."""
        names = paths(file for file, _, _ in row["files"])
        files = tuple(
            BundleFile(file, checked_digest(digest), LinkMode(mode))
            for file, (_, digest, mode) in zip(names, row["files"], strict=True)
        )
        return Bundle(place(row["dest"]), typed(row["name"], str), moment(row["exported_at"]), files)


@dataclass(frozen=True, slots=True)
class StampsRow:
    """What the last look at the bundle in `dest` saw, kept beside its row since that one can be large.

    `stamps` are the inode, mtime and ctime in ns of each of its folders, None when it has to be looked at whatever they
    are; `looks` is the store's count of looks for which that holds. `turn` is another number after each registration
    and each beginning of a look; `former` are the digests of earlier registrations, which may still name the bundle as
    their holder.
    """

    dest: Path
    turn: int
    stamps: Mapping[str, Stamp] | None = None
    looks: int = 0
    former: tuple[str, ...] = ()

    @staticmethod
    def begun(dest: Path, former: Iterable[str]) -> StampsRow:
        """Return the row of a bundle that is about to be looked at."""
        return StampsRow(dest, int.from_bytes(os.urandom(6)), former=tuple(sorted(former)))

    @property
    def is_lost(self) -> bool:
        """Return whether the bundle's folder was not there, and so nothing is held."""
        return self.stamps is not None and not self.former and self.stamps.get(".") == LOST

    def to_row(self) -> Row:
        """Return the JSON object."""
        return asdict(self) | {"dest": str(self.dest), "former": list(self.former)}

    @staticmethod
    def from_row(row: Row) -> StampsRow:
        """Return the value of a JSON object."""
        stamps = typed(row["stamps"], dict, type(None))
        return StampsRow(
            place(row["dest"]),
            amount(row["turn"]),
            None if stamps is None else {folder: _stamp(*stamps[folder]) for folder in paths(stamps)},
            typed(row["looks"], int),
            tuple(checked_digest(digest) for digest in row["former"]),
        )


def _stamp(inode: object, mtime_ns: object, ctime_ns: object) -> Stamp:
    return typed(inode, int), typed(mtime_ns, int), typed(ctime_ns, int)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run that may write: what it is, since when (Unix seconds), where it publishes.

    `reserved` are the bytes of disk that its downloads still have to write, or a little more; `announced` those that
    they will have to reserve besides. One that `is_foreign` was begun in the store that this one was copied or moved
    from, and may live there.
    """

    command: str
    started_at: float
    dest: str | None = None
    reserved: int = 0
    announced: int = 0
    is_foreign: bool = False

    def to_row(self) -> Row:
        """Return the JSON object."""
        return asdict(self)

    @staticmethod
    def from_row(row: Row) -> RunRow:
        """Return the value of a JSON object; the first stores had no reservations in it."""
        dest = None if row["dest"] is None else str(place(row["dest"]))
        return RunRow(
            typed(row["command"], str),
            moment(row["started_at"]),
            dest,
            amount(row.get("reserved", 0)),
            amount(row.get("announced", 0)),
            typed(row.get("is_foreign", False), bool),
        )


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """Some of the blobs that a run needs; one text, since whoever evicts reads the leases of all runs each time."""

    digests: tuple[str, ...]

    def to_row(self) -> Row:
        """Return the JSON object."""
        return {"digests": " ".join(self.digests)}

    @staticmethod
    def from_row(row: Row) -> LeaseRow:
        """Return the value of a JSON object."""
        return LeaseRow(tuple(typed(row["digests"], str).split()))
