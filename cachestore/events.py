"""What a run tells while it works: frozen values, in the order in which things happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cachestore.errors import TrackError


class State(StrEnum):
    """Where a row of the mix stands; each row reaches exactly one of the last four."""

    QUEUED = "queued"
    CHECKING = "checking"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    LINKING = "linking"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Return whether nothing follows this state."""
        return self in _TERMINAL


_TERMINAL = frozenset({State.DONE, State.SKIPPED, State.FAILED, State.CANCELLED})


class Provenance(StrEnum):
    """Where the bytes of a row came from in this run (`origin` in NDJSON)."""

    CACHE = "cache"
    NETWORK = "network"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class TrackEvent:
    """A row of the mix changed its state, or made progress.

    `index` is the 0-based row, `track` its address (or the path of a local track), `received` and `total` are bytes
    (total None when unknown), `error` is set when the row failed or was skipped. When `elsewhere`, another process
    downloads this track: `received` and `total` are its figures. `stale` says of a row that is done that no server has
    confirmed its version in this run.
    """

    index: int
    track: str
    label: str
    state: State
    origin: Provenance | None = None
    received: int | None = None
    total: int | None = None
    error: TrackError | None = None
    elsewhere: bool = False
    stale: bool = False


@dataclass(frozen=True, slots=True)
class WarningEvent:
    """Something a person should know that fails nothing; `code` is documented."""

    code: str
    message: str


Event = TrackEvent | WarningEvent

OnEvent = Callable[[Event], None]
