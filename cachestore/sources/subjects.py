"""What a request for playlists is about, as a track, so that its errors can say so."""

from __future__ import annotations

from cachestore.text import shown
from cachestore.track import Track


def all_playlists(source: str) -> Track:
    """Return the subject of a request for all playlists of a source."""
    return Track(source, "playlists", title=f"the playlists of {source}")


def one_playlist(source: str, playlist_id: str) -> Track:
    """Return the subject of a request for the rows of a playlist."""
    return Track(source, f"playlist/{playlist_id}", title=f"the playlist {shown(playlist_id)} of {source}")
