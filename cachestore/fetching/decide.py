"""What a track needs: nothing, a question to the server, or an error. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cachestore.errors import BadStatus, NotCached, NotFound, TimedOut, TrackError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cachestore.entry import Entry
    from cachestore.track import Track
    from cachestore.version import Version


@dataclass(frozen=True, slots=True)
class Policy:
    """How eagerly servers are asked; durations in seconds."""

    offline: bool
    refresh: bool
    fresh_for: float
    stale_if_error: float


class Hit(NamedTuple):
    """The entry is used as it is; `stale` when no server confirmed it recently."""

    entry: Entry
    stale: bool = False


class Ask(NamedTuple):
    """The server is asked, on condition that it has none of the `known` versions, each with its entry's place."""

    known: Mapping[Version, str]


def candidates(track: Track, kept: Sequence[Entry]) -> list[Entry]:
    """Return the kept entries that may serve `track`: those of the version it pins, else all, the current one first."""
    return [entry for entry in kept if track.version is None or entry.version.matches(track.version)]


def decide(track: Track, whole: Sequence[Entry], policy: Policy, now: float) -> Hit | Ask | TrackError:
    """Return what `track` needs, given its candidates whose blobs are whole, the current one first."""
    current = whole[0] if whole else None
    if current is not None and not policy.refresh:
        if track.version is not None or _is_within(policy.fresh_for, current, now):
            return Hit(current)
        if policy.offline:
            return Hit(current, stale=True)
    if policy.offline:
        return not_cached(track)
    is_plain = not policy.refresh and track.version is None
    return Ask({entry.version: entry.place for entry in whole} if is_plain else {})


def not_cached(track: Track) -> NotCached:
    """Return the error of a track that has to be downloaded, and may not be."""
    return NotCached(track.address, track.label, "it is not in the cache, and --offline makes no request")


def fallback(whole: Sequence[Entry], error: TrackError, policy: Policy, now: float) -> Hit | None:
    """Return the stale entry that stands in when the server cannot be reached or is broken, None if none may."""
    is_servers_fault = isinstance(error, Unreachable | TimedOut) or (
        isinstance(error, BadStatus) and (error.status or 0) >= 500
    )
    if whole and is_servers_fault and _is_within(policy.stale_if_error, whole[0], now):
        return Hit(whole[0], stale=True)
    return None


def check_pin(track: Track, version: Version | None) -> None:
    """Raise NotFound when the server's current version is not the one that the track pins."""
    if track.version is not None and (version is None or not version.matches(track.version)):
        reason = f"the pinned version {track.version} is neither in the cache nor on the server any more"
        raise NotFound(track.address, track.label, reason)


def _is_within(seconds: float, entry: Entry, now: float) -> bool:
    """Return whether the entry was confirmed in the last `seconds`; a clock that was set back confirms nothing."""
    return 0 <= now - entry.validated_at < seconds
