"""What becomes of a download, and who is told on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from cachestore.media import Media
    from cachestore.partials import Partial
    from cachestore.version import Version

# Lets a body that will have one size, as far as is known, grow to another, of which so many bytes are written; called
# before every chunk. Raises Postponed or NoRoom.
Room = Callable[[int, int, int], None]


class Postponed(Exception):
    """There is no room for a body of `size` bytes now; of these, `kept` are written and will be gone on with."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size
        self.kept = 0


class Watch(Protocol):
    """Who is told how a download goes; sizes in bytes, `total` None if unknown."""

    def received(self, received: int, total: int | None) -> None:
        """Take how much has come: at the start of a body, then for every chunk."""

    def verifying(self, size: int) -> None:
        """Take that the body is here and is being examined."""

    def elsewhere(self, received: int, total: int | None) -> None:
        """Take how far another process is, which downloads the track."""


class NotModified(NamedTuple):
    """The server confirmed a known version."""

    version: Version


@dataclass(frozen=True, slots=True)
class BodyNeeded:
    """The server has a version that is not known, and there is no partial to download it into."""


class Body(NamedTuple):
    """A whole body of `size` bytes that has passed the gate; the file at `path` is the caller's.

    `version` is None if the server has no word for it, `name` is what the server would call the file, if anything,
    `place` a hash of the path and query that delivered it. `partial` is to be released when the body is published, or
    dropped.
    """

    path: Path
    digest: str
    size: int
    version: Version | None
    media: Media
    name: str
    place: str
    partial: Partial
