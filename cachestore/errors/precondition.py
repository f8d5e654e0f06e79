"""Something outside this program must change first."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cachestore.errors.base import CacheStoreError
from cachestore.text import redacted

if TYPE_CHECKING:
    from pathlib import Path


class PreconditionError(CacheStoreError):
    """Something outside this program must change before it can go on."""

    exit_code = 4


@dataclass(eq=False)
class RootMissing(PreconditionError):
    """There is no store at ROOT and the command does not create one."""

    root: Path

    def __str__(self) -> str:
        return f"no store at {self.root}; the first fetch or export creates it (or name another with --root)"


@dataclass(eq=False)
class RootUnusable(PreconditionError):
    """ROOT cannot be trusted or written."""

    root: Path
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"the store at {self.root} cannot be used: {self.problem}; {self.remedy}"


@dataclass(eq=False)
class RootTooNew(PreconditionError):
    """ROOT was written by a newer format of this program."""

    root: Path
    folder: str

    def __str__(self) -> str:
        return (
            f"the store at {self.root} has a newer format ({self.folder}) than this version reads; "
            "upgrade cachestore or name another store with --root"
        )


@dataclass(eq=False)
class NoSpace(PreconditionError):
    """A disk is full, or the user's quota on it."""

    path: Path
    is_quota: bool = False

    @classmethod
    def of(cls, error: OSError, path: Path) -> Self:
        """Return what an error means that says so of the disk of `path`."""
        return cls(path, is_quota=error.errno == errno.EDQUOT)

    def __str__(self) -> str:
        full = f"your quota on the disk of {self.path}" if self.is_quota else f"the disk of {self.path}"
        return f"{full} is full; free space there or run: cachestore prune"


@dataclass(eq=False)
class BoundUnreachable(PreconditionError):
    """Pruning cannot reach a bound: what is left is pinned, leased, held or too young, as `accounts` says in words."""

    bound: str
    missing: int
    accounts: str

    def __str__(self) -> str:
        return (
            f"{self.bound} cannot be reached, {self.missing} bytes are missing: {self.accounts}; "
            "unpin tracks, delete bundles or change the bound"
        )


@dataclass(eq=False)
class DestinationError(PreconditionError):
    """A bundle cannot be published at its destination."""

    dest: Path
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{redacted(str(self.dest))} {self.problem}; {self.remedy}"


def is_full(error: BaseException) -> bool:
    """Return whether `error` says that a disk or quota is full."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
