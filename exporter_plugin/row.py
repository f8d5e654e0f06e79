"""What a mix says: frozen values, the same from every reader."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from cachestore.track import Track


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a mix: a cloud `track` or a local `path`, and what the mix says of it.

    `path` is where the file is, `typed` how the mix writes it. `start` is the place on the timeline, `offset` the
    in-point, both in seconds as are `duration` and the fades; `bpm` is beats a minute, `key` the musical key.
    """

    track: Track | None = None
    path: Path | None = None
    typed: str = ""
    title: str = ""
    artist: str = ""
    album: str = ""
    start: float | None = None
    duration: float | None = None
    offset: float | None = None
    fade_in: float | None = None
    fade_out: float | None = None
    bpm: float | None = None
    key: str | None = None

    def of_track(self, track: Track) -> Row:
        """Return this row for a cloud track, which takes over its titles."""
        return replace(self, track=replace(track, title=self.title, artist=self.artist, album=self.album))

    @property
    def address(self) -> str:
        """Return the address of a cloud track, the path of a local one as the mix writes it."""
        return self.track.address if self.track else self.typed or str(self.path)

    @property
    def identity(self) -> str:
        """Return what tells this track from all others of any mix; rows of one identity share one file."""
        if self.track is None:
            return f"file:{self.address}"
        return f"{self.address}@{self.track.version}" if self.track.version else self.address

    @property
    def label(self) -> str:
        """Return "Artist - Title", or as much of it as is known, else `fallback`."""
        return " - ".join(part for part in (self.artist, self.title) if part) or self.fallback

    @property
    def fallback(self) -> str:
        """Return a name for a track that has no title: the file's stem, or the last part of the id."""
        if self.track is None:
            return PurePosixPath(self.address).stem
        if self.track.source == "url" and "://" in self.track.id:
            return PurePosixPath(unquote(urlsplit(self.track.id).path)).stem or self.track.id
        return self.track.id.rstrip("/").rpartition("/")[2] or self.track.id


@dataclass(frozen=True, slots=True)
class Mix:
    """An ordered list of tracks. Local paths were typed relative to `folder`; `name` may be empty (stdin)."""

    name: str
    rows: tuple[Row, ...]
    folder: Path
