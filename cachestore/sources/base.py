"""What a source is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cachestore.config import SourceConfig
    from cachestore.track import Origin, Track


class Source(Protocol):
    """Turns tracks into origins; called from several threads at once."""

    def resolve(self, track: Track) -> Origin:
        """Return where the bytes of `track` are. Raise SourceError, or ConfigError for a mistake in the options."""
        ...


if TYPE_CHECKING:
    # What an entry point of the group `cachestore.sources` names: called with the source's table of the configuration
    # and the environment for `cachestore.config.expand`.
    SourceFactory = Callable[[SourceConfig, Mapping[str, str]], Source]
