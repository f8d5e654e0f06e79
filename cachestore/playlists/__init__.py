"""The playlists of a source: what there is, and the rows of one.

address   how a playlist is written
choice    which playlist an address means, and which address means a playlist
asking    what the source says
"""

from __future__ import annotations

from cachestore.playlists.address import PlaylistAddress, parse_playlist
from cachestore.playlists.asking import list_playlists, read_playlist
from cachestore.playlists.choice import addresses, choose

__all__ = ["PlaylistAddress", "addresses", "choose", "list_playlists", "parse_playlist", "read_playlist"]
