"""The kind ``subsonic``: music servers that speak the Subsonic API, or OpenSubsonic.

source     tracks, what is known of them, and playlists
server     requests, and which proof of who asks the server takes
settings   the options
answers    what the server answers, in whatever shape
"""

from __future__ import annotations

from cachestore.sources.subsonic.source import SubsonicSource

__all__ = ["SubsonicSource"]
