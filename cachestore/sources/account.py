"""A source as one run uses it: whatever it raises fails its track only, and refused credentials are not used on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cachestore.errors import CacheStoreError, Forbidden, SourceError, TrackError, Unauthorized
from cachestore.sources.base import Describing, Description, Listing, Playlist, Renewing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cachestore.sources.base import PlaylistTrack, Source
    from cachestore.track import Origin, Track


class Account:
    """One configured source; used by several threads.

    Once its credentials are refused without having been accepted since they were new, nothing more is asked with them
    in this run: a hundred refusals would lock the account, and bring nothing.
    """

    def __init__(self, name: str, source: Source) -> None:
        self.validating = False  # whether the server was seen to have its own words for versions
        self._name = name
        self._source = source
        self._accepted = False
        self._refused = ""

    @contextmanager
    def asking(self, track: Track) -> Iterator[None]:
        """Ask within the block. Raise Unauthorized at once when the credentials were refused before."""
        if self._refused:
            reason = f"{self._refused}; the source {self._name} is not asked again in this run"
            raise Unauthorized(track.address, track.label, reason)
        try:
            yield
        except Unauthorized as error:
            self._note(error)
            raise
        self._accepted = True

    def resolve(self, track: Track) -> Origin:
        """Return where the bytes of `track` are. Raise TrackError or ConfigError."""
        with self._guarded(track):
            return self._source.resolve(track)

    def renew(self, track: Track, refused: Origin, error: TrackError) -> Origin | None:
        """Return another origin to try once after the server `refused` one, None when there is none to be had."""
        with self._guarded(track):
            if isinstance(self._source, Renewing) and self._source.renew(track, refused, error):
                return self._source.resolve(track)
        return None

    def describe(self, track: Track) -> Description:
        """Return what the source knows of `track`, which may be nothing. Raise TrackError."""
        with self._guarded(track):
            return self._source.describe(track) if isinstance(self._source, Describing) else Description()

    def playlists(self, subject: Track) -> Sequence[Playlist]:
        """Return all playlists; an error is that of `subject`. Raise SourceError when the source has none."""
        with self._guarded(subject):
            return self._listing(subject).playlists()

    def playlist(self, subject: Track, playlist_id: str) -> Sequence[PlaylistTrack]:
        """Return the rows of a playlist; an error is that of `subject`. Raise SourceError when there are none."""
        with self._guarded(subject):
            return self._listing(subject).playlist(playlist_id)

    def _listing(self, subject: Track) -> Listing:
        if isinstance(self._source, Listing):
            return self._source
        raise SourceError(subject.address, subject.label, f"the source {self._name} has no playlists")

    def _note(self, error: Unauthorized) -> None:
        if isinstance(error, Forbidden):
            return  # this track only
        if not self._accepted:
            self._refused = error.reason
        self._accepted = False

    @contextmanager
    def _guarded(self, track: Track) -> Iterator[None]:
        """Make whatever a source raises the error of its track: it may be a plugin, and its text may hold a secret."""
        try:
            yield
        except CacheStoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a plugin may do anything
            reason = f"the source {self._name} failed ({type(error).__name__})"
            raise SourceError(track.address, track.label, reason) from None
