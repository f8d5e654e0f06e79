"""Which playlist an address means, and which address means a playlist."""

from __future__ import annotations

import unicodedata
from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING

from cachestore.errors import MixError
from cachestore.playlists.address import PlaylistAddress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cachestore.sources.base import Playlist


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


def addresses(source: str, playlists: Sequence[Playlist]) -> Mapping[str, PlaylistAddress]:
    """Return the address of each playlist by its id: with its name, if `choose` finds it by that, else with its id."""
    ids = {playlist.id for playlist in playlists}
    names = Counter(playlist.name for playlist in playlists)

    def is_enough(name: str) -> bool:
        return bool(name) and names[name] == 1 and name not in ids and name.isprintable()

    return {one.id: PlaylistAddress(source, one.name if is_enough(one.name) else one.id) for one in playlists}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
