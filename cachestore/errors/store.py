"""What goes wrong with the store, a blob, or a run as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.errors.base import CacheStoreError
from cachestore.text import redacted

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(eq=False)
class Busy(CacheStoreError):
    """Another process holds what is needed; trying again later can succeed."""

    exit_code = 75

    what: str

    def __str__(self) -> str:
        return f"{self.what} is busy with another command; try again in a moment"


@dataclass(eq=False)
class IndexDamaged(CacheStoreError):
    """The index, or one row of it, cannot be trusted."""

    where: str
    problem: str

    def __str__(self) -> str:
        return f"the index is damaged at {self.where}: {self.problem}; run: cachestore repair"


@dataclass(eq=False)
class BlobDamaged(CacheStoreError):
    """A blob is missing or its bytes are not those of its digest; `bundles` share the file, or it is `quarantined`."""

    digest: str
    label: str
    bundles: tuple[str, ...] = ()
    quarantined: Path | None = None

    def __str__(self) -> str:
        shared = f" (shared with {', '.join(self.bundles)})" if self.bundles else ""
        kept = f"; it is kept at {self.quarantined}" if self.quarantined else ""
        problem = f"the cached file of {self.label} is missing or was changed{shared}{kept}"
        return f"{problem}; it is downloaded again at the next fetch"


@dataclass(eq=False)
class LinkError(CacheStoreError):
    """A file could not be given another name in the mode that was asked for."""

    dest: Path
    mode: str
    reason: str

    def __str__(self) -> str:
        refused = f"{self.dest.name} cannot be made as a {self.mode}: {self.reason}"
        return f"{refused}; the link mode auto copies where no link is possible"


@dataclass(eq=False)
class DigestCollision(CacheStoreError):
    """Two different bodies have one digest; nothing was stored."""

    digest: str

    def __str__(self) -> str:
        return f"other bytes with the digest {self.digest} are already stored; this body was not stored"


@dataclass(eq=False)
class NotInCache(CacheStoreError):
    """An address names no entry of the store."""

    address: str

    def __str__(self) -> str:
        # Nothing shows that what stands behind url: was ever a host and an id.
        is_plain = self.address.startswith("url:") and "://" not in self.address
        return f"{'url:…' if is_plain else self.address} is not in the cache; cachestore ls shows what is"


@dataclass(eq=False)
class NotInBundle(CacheStoreError):
    """A path names no file that a registered bundle has from the cache; `address` is that of a track, if it is one."""

    path: Path
    address: str = ""

    def __str__(self) -> str:
        expected = "expected a cloud track's file in a bundle"
        instead = f"; of a track you are told by: cachestore show {redacted(self.address)}" if self.address else ""
        return f"{redacted(str(self.path))} is no file that an export took from this cache; {expected}{instead}"


@dataclass(eq=False)
class PluginBroken(CacheStoreError):
    """An entry point of another package cannot be used; `target` is its ``module:attribute``."""

    name: str
    target: str
    reason: str

    def __str__(self) -> str:
        return f"the plugin {self.name} ({self.target}) does not load: {self.reason}; mend or uninstall its package"


class Cancelled(CacheStoreError):
    """The run was cancelled: nothing is published, what was finished is kept."""

    exit_code = 130

    def __str__(self) -> str:
        return "cancelled; what was finished stays in the cache"
