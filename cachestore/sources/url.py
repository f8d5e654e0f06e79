"""The reserved source ``url``: a track that is a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.errors import SourceError
from cachestore.track import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachestore.sources.http import HttpSource
    from cachestore.track import Track


class UrlSource:
    """Bare URLs. `covering` gives the configured source that a URL is below, whose headers it then gets."""

    def __init__(self, covering: Callable[[str], HttpSource | None]) -> None:
        self._covering = covering

    def resolve(self, track: Track) -> Origin:
        """Return the URL of the track. Raise SourceError if it was not kept: it may have held a signature."""
        if track.url is None:
            raise SourceError(track.address, track.label, "its whole URL is not stored; give the URL itself again")
        source = self._covering(track.url)
        return Origin(track.url, source.headers() if source else {})
