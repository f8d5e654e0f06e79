"""What the asking thread and the workers say to each other; `number` is the asker's name for a track."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from cachestore.fetching.wanted import Stored
    from cachestore.partials import Partial
    from cachestore.store.publish import Incoming
    from cachestore.track import Track
    from cachestore.version import Version


class Question(NamedTuple):
    """Ask for a track, on condition that the server has none of the `known` versions, each with its entry's place.

    `stored` is what the store had of it before: when there is something else by now, the question is settled.
    """

    number: int
    track: Track
    known: Mapping[Version, str]
    stored: Stored


class Progress(NamedTuple):
    """So many bytes have arrived; `total` is None when the server did not say."""

    number: int
    received: int
    total: int | None


class Verifying(NamedTuple):
    """The body is here, all `size` bytes of it, and is being examined."""

    number: int
    size: int


class Waiting(NamedTuple):
    """Another process downloads the track, and has got so far; `total` is None when it does not know."""

    number: int
    received: int
    total: int | None


class Elsewhere(NamedTuple):
    """Another process has just downloaded the track, or given it up: the store tells."""

    number: int


class Arrived(NamedTuple):
    """The body is good and may enter the store; other processes may wait for its `partial` to be released."""

    number: int
    incoming: Incoming
    partial: Partial


class Unchanged(NamedTuple):
    """The server, or its provider, confirms a known version."""

    number: int
    version: Version


class RoomWanted(NamedTuple):
    """The thread that downloads the track waits for `need` bytes of disk, or `least` of them for a beginning.

    `answer` is whether it may have some.
    """

    number: int
    need: int
    least: int
    answer: Future[bool]


class Postponed(NamedTuple):
    """There was no room for the track, which needs `need` bytes of disk besides `kept`: it is to be asked for later."""

    number: int
    need: int
    kept: int


class Failed(NamedTuple):
    """Nothing came of the question."""

    number: int
    error: BaseException


Report = Progress | Verifying | Waiting | Elsewhere | Arrived | Unchanged | RoomWanted | Postponed | Failed
ON_THE_WAY = Progress | Verifying | Waiting | RoomWanted  # any other ends its question
