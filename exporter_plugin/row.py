"""What a mix says: frozen values, the same from every reader."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from cachestore.authorizing import url_secrets
from cachestore.errors import MixError
from cachestore.media import MEDIA_TYPES
from cachestore.text import is_echo, redacted

if TYPE_CHECKING:
    from cachestore.track import Track

_SECONDS = ("seconds", 0, 1_000_000)
_LIMITS = {
    "duration": _SECONDS,
    "start": _SECONDS,
    "offset": _SECONDS,
    "fade_in": _SECONDS,
    "fade_out": _SECONDS,
    "file_length": ("seconds", 0, 1_000_000_000),
    "bpm": ("beats per minute", 1, 1000),
}


def public_name(text: str, url: str | None = None) -> str:
    """Return what a mix calls something, such as the track at `url`, fit to be stored and shown.

    It is empty where it is a URL, which players write for what has no title, or holds a secret of `url`.
    """
    if text[:8].lower().startswith(("http://", "https://")) or (text and url and is_echo(text, url_secrets(url))):
        return ""
    return redacted(text)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a mix: a cloud track, or a local one, whose file is at `path`; it plays for `duration` seconds.

    A local track is of the source ``file``, and its id is the path as the mix writes it. `start` is the place on the
    timeline, None if the mix gives none; `offset` is where in the file it begins to play, and `fade_in` and `fade_out`
    are how long its fades are, all in seconds. `bpm` is in beats per minute. `file_length` is how many seconds its file
    has as a playlist tells, which asks for no less: the file itself knows better.
    """

    track: Track
    path: Path | None = None
    duration: float | None = None
    bpm: float | None = None
    musical_key: str = ""
    start: float | None = None
    offset: float = 0.0
    fade_in: float = 0.0
    fade_out: float = 0.0
    file_length: float | None = None

    def __post_init__(self) -> None:
        track = self.track
        said = (track.title, track.artist, track.album, self.musical_key)
        told = tuple(public_name(text, track.url) if text else text for text in said)
        if told != said:
            title, artist, album, musical_key = told
            object.__setattr__(self, "track", replace(track, title=title, artist=artist, album=album))
            object.__setattr__(self, "musical_key", musical_key)

    @property
    def problem(self) -> str:
        """Return which of its numbers is none that a row can have, and what was expected; empty if all are fine."""
        for name, (unit, least, end) in _LIMITS.items():
            number = getattr(self, name)
            if number is not None and not least <= number < end:
                return f'"{name}" is {number:g}; expected {unit}, from {least} and less than {end}'
        return ""

    @property
    def label(self) -> str:
        """Return "Artist - Title", or as much of it as is known, else the address: the label that `fetch` shows."""
        return self.track.label

    def called(self, label: str) -> Row:
        """Return the row under the name that its service gave the track, if the mix has none for it."""
        said = self.track.title or self.track.artist or label == self.track.address
        return self if said else replace(self, track=replace(self.track, title=label))

    @property
    def address(self) -> str:
        """Return the address of a cloud track, the path of a local one as the mix writes it."""
        return self.track.address if self.path is None else self.track.id

    @property
    def identity(self) -> str:
        """Return what tells this track from all others of any mix; rows of one identity share one file."""
        track = self.track
        if self.path is not None:
            return f"file:{track.id}"
        return f"{track.address}@{track.version}" if track.version else track.address

    @property
    def fallback(self) -> str:
        """Return how a file is called whose track has no title: like the file it is, or the last part of the id."""
        track_id = self.track.id
        if self.path is not None:
            return PurePosixPath(track_id).stem
        if self.track.source == "url" and track_id.startswith(("http://", "https://")):
            return PurePosixPath(unquote(urlsplit(track_id).path)).stem or track_id
        if self.track.source == "url":
            track_id = track_id.rpartition("#")[2]  # the host comes before it
        name = track_id.rstrip("/").rpartition("/")[2] or track_id
        stem, dot, ext = name.rpartition(".")
        return stem if stem and dot and ext.lower() in MEDIA_TYPES else name


@dataclass(frozen=True, slots=True)
class Mix:
    """An ordered list of tracks, at least one; `name` may be empty (stdin).

    Making one raises MixError, with the number of the track, if a row has a number that is out of bounds.
    """

    name: str
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", public_name(self.name))
        if not self.rows:
            raise MixError(f"the mix {self.name!r}", "", "it has no track; expected at least one")
        for number, row in enumerate(self.rows, 1):
            if problem := row.problem:
                raise MixError(f"the mix {self.name!r}", f"track {number}", problem)
