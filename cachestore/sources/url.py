"""The reserved source ``url``: a track that is a URL which no configured source covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.errors import SourceError
from cachestore.track import Origin

if TYPE_CHECKING:
    from cachestore.track import Track


class UrlSource:
    """Bare URLs, asked without headers."""

    def resolve(self, track: Track) -> Origin:
        """Return the URL of the track. Raise SourceError if it was not kept: it may have held a signature."""
        if track.url is None:
            raise SourceError(track.address, track.label, "its whole URL is not stored; give the URL itself again")
        return Origin(track.url)
