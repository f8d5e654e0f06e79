"""The text of a mix, and what all readers do with it in the same way."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.errors import AddressError, MixError
from cachestore.track import Track, url_track
from exporter_plugin.row import Row, public_name

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Document:
    """A mix as text. `file` names it in errors, local paths are relative to `folder`, `name` is what to call it."""

    file: str
    text: str
    folder: Path
    name: str

    def error(self, place: str, problem: str) -> MixError:
        """Return the error of this document."""
        return MixError(self.file, place, problem)

    def url_track(self, place: str, url: str, track_id: str | None = None) -> Track:
        """Return the track of a URL that was found at `place`. Raise MixError, which shows no query."""
        try:
            return url_track(url, track_id)
        except AddressError as error:
            problem = f'"url" {error.text!r} is wrong: {error.problem}; expected http(s)://host/path'
            raise self.error(place, problem) from None

    def local_path(self, spellings: Iterable[str]) -> Path:
        """Return the first of `spellings` that exists in `folder`, composed or decomposed, else the first.

        macOS hands out decomposed names (NFD), and playlists move between machines.
        """
        candidates = [self.folder / spelling for spelling in spellings]
        for candidate in candidates:
            for form in (str(candidate), *(unicodedata.normalize(form, str(candidate)) for form in ("NFC", "NFD"))):
                if os.path.lexists(form):
                    return Path(form)
        return candidates[0]


@dataclass(frozen=True, slots=True)
class Said:
    """What every mix can say of a track beside where it is; `file_length` as in Row."""

    title: str = ""
    artist: str = ""
    album: str = ""
    file_length: float | None = None

    def of(self, track: Track) -> Row:
        """Return the row of a cloud track."""
        return Row(self.titled(track), file_length=self.file_length)

    def titled(self, track: Track) -> Track:
        """Return a cloud track with its titles."""
        return replace(track, title=self.title, artist=self.artist, album=self.album)

    def of_file(self, typed: str, path: Path) -> Row:
        """Return the row of a local file."""
        return Row(self.track_of_file(typed, path), path, file_length=self.file_length)

    def track_of_file(self, typed: str, path: Path) -> Track:
        """Return the track of the file at `path`, which the mix writes as `typed`: without titles, it has its name."""
        title = public_name(self.title) or ("" if self.artist else path.stem)
        return Track("file", typed, title=title, artist=self.artist, album=self.album)
