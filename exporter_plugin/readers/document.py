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
        titled = replace(track, title=self.title, artist=self.artist, album=self.album)
        return Row(titled, file_length=self.file_length)

    def of_file(self, typed: str, path: Path) -> Row:
        """Return the row of the local file at `path`, which the mix writes as `typed`: without titles, its own name."""
        title = public_name(self.title) or ("" if self.artist else path.stem)
        track = Track("file", typed, title=title, artist=self.artist, album=self.album)
        return Row(track, path, file_length=self.file_length)
