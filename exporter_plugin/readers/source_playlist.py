"""A playlist that a source has, as a mix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.errors import MixError
from cachestore.playlists import read_playlist
from cachestore.text import is_steady, shown
from exporter_plugin.readers.document import Said
from exporter_plugin.row import Mix

if TYPE_CHECKING:
    import threading

    from cachestore.config import Config
    from cachestore.playlists import PlaylistAddress
    from cachestore.sources.base import PlaylistTrack
    from exporter_plugin.row import Row


def read(address: PlaylistAddress, config: Config, *, offline: bool, cancel: threading.Event | None) -> Mix:
    """Ask the source for the mix. Raise MixError, ConfigError, TrackError or, once `cancel` is set, Cancelled."""
    if offline:
        raise MixError(str(address), "", "offline, no server is asked what is in it; export it online, or a mix file")
    playlist, tracks = read_playlist(config, address, cancel=cancel)
    if not tracks:
        raise MixError(str(address), "", "the playlist is empty; expected at least one track")
    return Mix(shown(playlist.name), tuple(_row(address, number, track) for number, track in enumerate(tracks, 1)))


def _row(address: PlaylistAddress, number: int, listed: PlaylistTrack) -> Row:
    track, seconds = listed.track, listed.duration or 0.0
    if not track.id or not is_steady(track.id):
        raise MixError(str(address), f"track {number}", "its id is empty or holds control or broken characters")
    length = seconds if 0 < seconds < 1e9 else None
    return Said(shown(track.title), shown(track.artist), shown(track.album), file_length=length).of(track)
