"""How a playlist is written: ``source:playlist/WANTED``; WANTED is an id or a name, just as the service has it."""

from __future__ import annotations

from dataclasses import dataclass

from cachestore.track import is_source_name

_MARK = "playlist/"


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
