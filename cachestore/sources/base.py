"""What a source is, and what else it may be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cachestore.config import SourceConfig
    from cachestore.errors import TrackError
    from cachestore.sources.template import Template
    from cachestore.track import Origin, Track
    from cachestore.version import Version
    from cachestore.web import Web

LONGEST_URL = 65_536  # characters; servers take less, and what looks for secrets in one takes its time


class Source(Protocol):
    """Turns tracks into origins; called from several threads at once."""

    def resolve(self, track: Track) -> Origin:
        """Return where the bytes of `track` are. Raise TrackError, or ConfigError for a mistake in the options."""
        ...


@runtime_checkable
class Renewing(Protocol):
    """A source whose origins expire."""

    def renew(self, track: Track, refused: Origin, error: TrackError) -> bool:
        """Get what replaces the origin that the server `refused`, and return whether to resolve the track again.

        When another thread has done so since `refused` was resolved, there is nothing to do but to return True.
        """
        ...


@runtime_checkable
class Covering(Protocol):
    """A kind of source of ours whose credentials are also for bare URLs, those below a source's own."""

    def covered(self, config: SourceConfig, environ: Mapping[str, str]) -> Template | None:
        """Return what a source so configured covers, None for nothing; asked before the source is made.

        Raise ConfigError, which counts as nothing: what is wrong with a source is told when it is used.
        """
        ...


@dataclass(frozen=True, slots=True)
class Description:
    """What a service's metadata says of a track; `version` is of kind DESCRIBED, or None."""

    title: str = ""
    artist: str = ""
    album: str = ""
    version: Version | None = None


@runtime_checkable
class Describing(Protocol):
    """A source that knows more of a track than where it is."""

    def describe(self, track: Track) -> Description:
        """Return what is known of `track`. Raise TrackError."""
        ...


@dataclass(frozen=True, slots=True)
class Playlist:
    """A playlist as it is listed; `tracks` is how many there are, None if unknown."""

    id: str
    name: str
    tracks: int | None = None


@dataclass(frozen=True, slots=True)
class PlaylistTrack:
    """One row of a playlist; `duration` in seconds, None if unknown."""

    track: Track
    duration: float | None = None


@runtime_checkable
class Listing(Protocol):
    """A source that has playlists."""

    def playlists(self) -> Sequence[Playlist]:
        """Return all playlists, in the service's order. Raise TrackError."""
        ...

    def playlist(self, playlist_id: str) -> Sequence[PlaylistTrack]:
        """Return the rows of a playlist, in order. Raise TrackError."""
        ...


if TYPE_CHECKING:
    # What an entry point of the group `cachestore.sources` names: called with the source's table of the configuration,
    # the environment for `cachestore.config.expand`, and what to ask servers with.
    SourceFactory = Callable[[SourceConfig, Mapping[str, str], Web], Source]
