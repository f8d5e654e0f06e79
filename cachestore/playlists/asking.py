"""What a source says of its playlists; what asks servers is loaded when one is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cachestore.errors import Cancelled
from cachestore.playlists.choice import choose

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from cachestore.config import Config
    from cachestore.playlists.address import PlaylistAddress
    from cachestore.sources.account import Account
    from cachestore.sources.base import Playlist, PlaylistTrack

_T = TypeVar("_T")
_PATIENCE = 1.5


def list_playlists(config: Config, source: str, *, cancel: threading.Event | None = None) -> Sequence[Playlist]:
    """Return all playlists of a source. Raise TrackError, ConfigError or, once `cancel` is set, Cancelled."""
    from cachestore.sources.subjects import all_playlists

    return _asked(config, source, lambda account: account.playlists(all_playlists(source)), cancel)


def read_playlist(
    config: Config, address: PlaylistAddress, *, cancel: threading.Event | None = None
) -> tuple[Playlist, Sequence[PlaylistTrack]]:
    """Return a playlist and its rows. Raise MixError as `choose` does, TrackError, ConfigError or Cancelled."""
    from cachestore.sources.subjects import all_playlists, one_playlist

    def read(account: Account) -> tuple[Playlist, Sequence[PlaylistTrack]]:
        playlist = choose(address, account.playlists(all_playlists(address.source)))
        return playlist, account.playlist(one_playlist(address.source, playlist.id), playlist.id)

    return _asked(config, address.source, read, cancel)


def _asked(config: Config, source: str, question: Callable[[Account], _T], cancel: threading.Event | None) -> _T:
    """Return what `question` gets to know with the account of a source.

    It is asked on a thread, which a cancel leaves behind: not every wait for the network can be ended.
    """
    from cachestore.aside import awaited, begun
    from cachestore.sources.crew import Crew

    crew = Crew(config, jobs=1)

    def ask() -> _T:
        with crew.web.one_deadline():
            return question(crew.sources.account(source))

    def raise_if_cancelled() -> None:
        if cancel is not None and cancel.is_set():
            raise Cancelled

    try:
        return awaited(begun(ask), raise_if_cancelled)
    finally:
        crew.stop(patience=_PATIENCE)
