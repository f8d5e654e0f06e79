"""The playlists of a source: what there is, and the rows of one.

An address is ``source:playlist/WANTED``; WANTED is an id or a name, just as the service has it.
"""

from __future__ import annotations

import threading
import unicodedata
from collections import Counter
from concurrent.futures import Future, wait
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from cachestore.errors import Cancelled, MixError
from cachestore.track import Track, is_source_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cachestore.config import Config
    from cachestore.sources.account import Account
    from cachestore.sources.base import Playlist, PlaylistTrack

_T = TypeVar("_T")
_MARK = "playlist/"
_TICK = 0.1
_PATIENCE = 1.5


@dataclass(frozen=True, slots=True)
class PlaylistAddress:
    """What a person calls a playlist: its source, and its name or id there."""

    source: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.source}:{_MARK}{self.wanted}"


def parse_playlist(text: str) -> PlaylistAddress | None:
    """Return the address that `text` is, None if it is none."""
    source, _, rest = text.partition(":")
    wanted = rest.removeprefix(_MARK)
    return PlaylistAddress(source, wanted) if is_source_name(source) and wanted and wanted != rest else None


def addresses(source: str, playlists: Sequence[Playlist]) -> Mapping[str, PlaylistAddress]:
    """Return the address of each playlist by its id: with its name, if `choose` finds it by that, else with its id."""
    ids = {playlist.id for playlist in playlists}
    names = Counter(playlist.name for playlist in playlists)

    def is_enough(name: str) -> bool:
        return bool(name) and names[name] == 1 and name not in ids and name.isprintable()

    return {one.id: PlaylistAddress(source, one.name if is_enough(one.name) else one.id) for one in playlists}


def choose(address: PlaylistAddress, playlists: Sequence[Playlist]) -> Playlist:
    """Return the playlist of that id, else of that name, else of that name in any case and composition.

    Raise MixError when there is none, or more than one.
    """
    wanted, folded = address.wanted, _folded(address.wanted)
    found = (
        [one for one in playlists if one.id == wanted]
        or [one for one in playlists if one.name == wanted]
        or [one for one in playlists if _folded(one.name) == folded]
    )
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(str(PlaylistAddress(address.source, one.id)) for one in found)
        raise MixError(str(address), "", f"{len(found)} playlists have that name; name one by its id: {ids}")
    known = {_folded(one.name): one.name for one in playlists}
    close = get_close_matches(folded, known, n=1, cutoff=0.5)
    meant = f"; did you mean {PlaylistAddress(address.source, known[close[0]])}?" if close else ""
    raise MixError(str(address), "", f"there is no such playlist{meant} (cachestore playlists {address.source})")


def list_playlists(config: Config, source: str, *, cancel: threading.Event | None = None) -> Sequence[Playlist]:
    """Return all playlists of a source. Raise TrackError, ConfigError or, once `cancel` is set, Cancelled."""
    return _asked(config, source, lambda account: account.playlists(_everything(source)), cancel)


def read_playlist(
    config: Config, address: PlaylistAddress, *, cancel: threading.Event | None = None
) -> tuple[Playlist, Sequence[PlaylistTrack]]:
    """Return a playlist and its rows. Raise MixError as `choose` does, TrackError, ConfigError or Cancelled."""

    def read(account: Account) -> tuple[Playlist, Sequence[PlaylistTrack]]:
        playlist = choose(address, account.playlists(_everything(address.source)))
        subject = Track(address.source, f"{_MARK}{playlist.id}", title=str(address))
        return playlist, account.playlist(subject, playlist.id)

    return _asked(config, address.source, read, cancel)


def _everything(source: str) -> Track:
    return Track(source, "playlists", title=f"the playlists of {source}")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _asked(config: Config, source: str, question: Callable[[Account], _T], cancel: threading.Event | None) -> _T:
    """Return what `question` gets to know with the account of a source.

    It is asked on a thread, which a cancel leaves behind: not every wait for the network can be ended.
    """
    from cachestore.sources.registry import Sources
    from cachestore.web import open_web

    stopping = threading.Event()
    web = open_web(config, jobs=1, cancel=stopping)

    def ask() -> _T:
        with web.one_deadline():
            return question(Sources(config, web).account(source))

    answer: Future[_T] = Future()
    asking = threading.Thread(target=_settle, args=(answer, ask), name="playlists", daemon=True)
    asking.start()
    try:
        while not wait([answer], _TICK).done:
            if cancel is not None and cancel.is_set():
                raise Cancelled
        return answer.result()
    finally:
        stopping.set()
        web.abort()
        asking.join(_PATIENCE)
        web.close()


def _settle(answer: Future[_T], ask: Callable[[], _T]) -> None:
    try:
        answer.set_result(ask())
    except BaseException as error:  # noqa: BLE001 - raised again where the answer is waited for
        answer.set_exception(error)
