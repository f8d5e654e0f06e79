"""Entries: what the index says about the bytes of a version of a track."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachestore.track import escape_id

if TYPE_CHECKING:
    from cachestore.version import Version


@dataclass(frozen=True, slots=True)
class Entry:
    """The index row of a key: which bytes a version of a track has. Sizes in bytes, times in Unix seconds.

    `digest` is ``xxh3-128:<32 hex>``; `ext` is the canonical extension without a dot; `validated_at` is when the
    server last confirmed the version, `used_at` when an export last used it. `place` is a hash of the path and query
    that delivered the bytes, after redirects, empty if that is not known. `address` is ``source:id``, `key`
    ``source:id@<16 hex>``, which can be pasted back.
    """

    source: str
    id: str
    version: Version
    digest: str
    size: int
    media_type: str
    ext: str
    label: str
    stored_at: float
    validated_at: float
    used_at: float
    pinned: bool = False
    place: str = ""
    address: str = field(init=False, repr=False, compare=False)
    key: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Put the address and the key together once: each is asked for many times."""
        address = f"{self.source}:{escape_id(self.id)}"
        object.__setattr__(self, "address", address)
        object.__setattr__(self, "key", f"{address}@{self.version.hex}")
