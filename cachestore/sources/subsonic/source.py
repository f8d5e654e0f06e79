"""Tracks of a Subsonic server, what it knows of them, and its playlists."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cachestore.sources.base import Description, Playlist, PlaylistTrack
from cachestore.sources.secret_urls import secrets_of
from cachestore.sources.subjects import all_playlists, one_playlist
from cachestore.sources.subsonic.server import Server
from cachestore.sources.subsonic.settings import read_settings
from cachestore.track import Origin, Track
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cachestore.config import SourceConfig
    from cachestore.errors import TrackError
    from cachestore.sources.subsonic.answers import Record
    from cachestore.web import Web

_NOT_ALLOWED = "50"
_SAID_OF_BYTES = ("size", "duration", "bitRate", "created")


class SubsonicSource:
    """Tracks by the ids of a Subsonic server. Raise ConfigError for options that cannot be used."""

    def __init__(self, config: SourceConfig, environ: Mapping[str, str], web: Web) -> None:
        self._name = config.name
        self._server = Server(read_settings(config, environ), web, secrets_of(config, environ))
        self._method = "download"

    def resolve(self, track: Track) -> Origin:
        """Return the URL of the original file. Raise Unauthorized or another TrackError, or Cancelled."""
        # Some servers transcode downloads, too, unless they are asked for raw bytes.
        return Origin(self._server.url(track, self._method, id=track.id, format="raw"))

    def renew(self, track: Track, refused: Origin, error: TrackError) -> bool:  # noqa: ARG002 - as in Renewing
        """Take streams for the rest of the run when the server forbids downloads: raw, they are the same bytes."""
        if error.provider_code != _NOT_ALLOWED or not urlsplit(refused.url).path.endswith("/download.view"):
            return False
        self._method = "stream"
        return True

    def describe(self, track: Track) -> Description:
        """Return title, artist, album and a version of the metadata. Raise TrackError or Cancelled."""
        song = self._server.ask(track, "getSong", id=track.id).record("song")
        return Description(song.text("title"), song.text("artist"), song.text("album"), _version(song))

    def playlists(self) -> Sequence[Playlist]:
        """Return all playlists that the user may read. Raise TrackError or Cancelled."""
        rows = self._server.ask(all_playlists(self._name), "getPlaylists").record("playlists").records("playlist")
        return [Playlist(row.id(), row.text("name"), _count(row)) for row in rows]

    def playlist(self, playlist_id: str) -> Sequence[PlaylistTrack]:
        """Return the rows of a playlist, without folders and videos. Raise TrackError or Cancelled."""
        subject = one_playlist(self._name, playlist_id)
        rows = self._server.ask(subject, "getPlaylist", id=playlist_id).record("playlist").records("entry")
        return [self._row(row) for row in rows if _is_audio(row)]

    def _row(self, row: Record) -> PlaylistTrack:
        said = {name: row.text(name) for name in ("title", "artist", "album")}
        return PlaylistTrack(Track(self._name, row.id(), **said), row.number("duration"))


def _is_audio(row: Record) -> bool:
    """Return whether a row has sound to export; a folder or video has, if its media type says so."""
    other = row.fields.get("isDir") is True or row.fields.get("isVideo") is True
    return not other or row.text("contentType").startswith("audio/")


def _count(row: Record) -> int | None:
    count = row.number("songCount")
    return None if count is None else int(count)


def _version(song: Record) -> Version | None:
    """Return what the metadata says of the bytes. ``created`` outlives their replacement: without a size, nothing."""
    if not song.number("size"):
        return None
    said = ((name, song.text(name)) for name in _SAID_OF_BYTES)
    return Version(VersionKind.DESCRIBED, " ".join(f"{name}={value}" for name, value in said if value))
