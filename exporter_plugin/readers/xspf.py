"""XSPF, the "spiff" playlist in XML (https://xspf.org/spec, version 0 and 1).

Read with expat itself, which knows the line of each element. A document type is refused, and with it all entities: one
of a few lines can grow to gigabytes or name a file of this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.parsers import expat

from cachestore.text import shown
from exporter_plugin.readers.document import Said
from exporter_plugin.readers.location import located
from exporter_plugin.row import Mix

if TYPE_CHECKING:
    from exporter_plugin.readers.document import Document
    from exporter_plugin.row import Row

_NAMESPACES = {"", "http://xspf.org/ns/0/"}
_TITLE = ("playlist", "title")
_TRACK = ("playlist", "trackList", "track")
_DEEPEST = len(_TRACK) + 1  # no element that is read has more around it


def read(document: Document) -> Mix:
    """Return the mix of an XSPF document. Raise MixError with the number of the track and the line."""
    reading = _Reading(document)
    try:
        reading.parser.Parse(document.text, True)  # noqa: FBT003 - the name of the argument is not expat's to take
    except expat.ExpatError as error:
        place = f"line {error.lineno}, column {error.offset + 1}"
        raise document.error(place, f"this is no XML ({expat.ErrorString(error.code)}); expected XSPF") from None
    if not reading.rows:
        raise document.error("", "the playlist names no track; expected at least one <track> with a <location>")
    return Mix(reading.name or document.name, tuple(reading.rows))


class _Reading:
    """The rows of a document as far as it has been read."""

    def __init__(self, document: Document) -> None:
        self.name = ""
        self.rows: list[Row] = []
        self.parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self.parser.StartElementHandler = self._start
        self.parser.CharacterDataHandler = self._hear
        self.parser.EndElementHandler = self._end
        self._document = document
        self._path: list[str] = []  # down to the deepest that is read
        self._depth = 0
        self._text: list[str] = []
        self._said: dict[str, str] = {}
        self._line = 0

    def _refuse_doctype(self, *_: object) -> None:
        place = f"line {self.parser.CurrentLineNumber}"
        raise self._document.error(place, "it has a document type (<!DOCTYPE); expected XSPF, which has none")

    def _start(self, tag: str, _: object) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            return
        namespace, _, name = tag.rpartition(" ")
        self._path.append(name if namespace in _NAMESPACES else "")
        self._text.clear()
        if self._depth == 1 and self._path != ["playlist"]:
            place = f"line {self.parser.CurrentLineNumber}"
            raise self._document.error(place, f"the top level is <{shown(name)}>; expected <playlist> of XSPF")
        if self._path == [*_TRACK]:
            self._said, self._line = {}, self.parser.CurrentLineNumber

    def _hear(self, text: str) -> None:
        if self._depth <= _DEEPEST:
            self._text.append(text)

    def _end(self, _: str) -> None:
        self._depth -= 1
        if self._depth >= _DEEPEST:
            return
        path, text = tuple(self._path), "".join(self._text).strip()
        if path == _TITLE:
            self.name = shown(text)
        elif path == _TRACK:
            self.rows.append(self._row())
        elif path[:-1] == _TRACK:
            self._said.setdefault(path[-1], text)  # of several locations the first is the preferred one
        self._path.pop()

    def _row(self) -> Row:
        place = f"track {len(self.rows) + 1}, line {self._line}"
        location = self._said.get("location")
        if not location:
            raise self._document.error(place, "it has no <location>; expected one with a URL or a path")
        title, artist, album = (shown(self._said.get(name, "")) for name in ("title", "creator", "album"))
        return located(self._document, place, location, Said(title, artist, album, file_length=_seconds(self._said)))


def _seconds(said: dict[str, str]) -> float | None:
    """Return the duration of a track, which XSPF gives in milliseconds; 0 stands for an unknown one."""
    milliseconds = said.get("duration", "")
    known = milliseconds.isascii() and milliseconds.isdecimal() and len(milliseconds) < 12
    return int(milliseconds) / 1000 or None if known else None
