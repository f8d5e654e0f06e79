"""Our own mix format: a JSON object with a list of `tracks` and perhaps a `name`.

A track has a `source` and an `id`; or a `url`, and an `id` if that is to stand for the track in its place; or a `path`,
relative to the mix. It may have a `version` (a cloud track), `title`, `artist`, `album`, `key`, `bpm`, and in seconds
`duration`, `start`, `offset`, `fade_in` and `fade_out`. Unknown fields are ignored, null is a field that is not there.
docs/mix.schema.json says the same to programs.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cachestore.text import redacted, shown
from cachestore.track import RESERVED_SOURCES, Track, is_source_name
from exporter_plugin.readers.document import Said
from exporter_plugin.readers.location import flaw, looks_like_url
from exporter_plugin.row import Mix, Row

if TYPE_CHECKING:
    from pathlib import Path

    from cachestore.errors import MixError
    from exporter_plugin.readers.document import Document

_KINDS = "one of source and id, url, path"


def read(document: Document) -> Mix:
    """Return the mix of a JSON document. Raise MixError with the line and column, or the number of the track."""
    top = _Fields(document, "", _top(document))
    tracks = top.value("tracks")
    if not isinstance(tracks, list):
        found = f"is {_kind(tracks)}" if "tracks" in top.fields else "is missing"
        raise document.error("", f'"tracks" {found}; expected a list of tracks')
    if not tracks:
        raise document.error("", '"tracks" is empty; expected at least one track')
    rows = tuple(_row(document, f"track {number}", track) for number, track in enumerate(tracks, 1))
    return Mix(top.shown("name") or document.name, rows)


def _top(document: Document) -> dict[str | None, Any]:
    try:
        top = json.loads(
            document.text, parse_int=float, object_pairs_hook=_object
        )  # Python refuses integers of many digits
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise document.error(place, f"this is no JSON ({error.msg}); expected a mix in JSON or a playlist") from None
    except RecursionError:
        raise document.error("", "its lists are nested too deeply; expected a mix") from None
    if not isinstance(top, dict):
        raise document.error("", f'the top level is {_kind(top)}; expected an object with "tracks"')
    return top


def _object(pairs: list[tuple[str, Any]]) -> dict[str | None, Any]:
    """Return the fields of an object, and as None, which is the name of no field, those that it has more than once."""
    fields: dict[str | None, Any] = dict(pairs)
    if len(fields) < len(pairs):
        fields[None] = {name for name, number in Counter(name for name, _ in pairs).items() if number > 1}
    return fields


def _row(document: Document, place: str, value: object) -> Row:
    if not isinstance(value, dict):
        raise document.error(place, f"it is {_kind(value)}; expected an object with {_KINDS}")
    fields = _Fields(document, place, value)
    track, path = _found(fields)
    row = Row(
        track,
        path,
        duration=fields.number("duration") or None,  # 0 stands for an unknown one, as in playlists
        bpm=fields.number("bpm"),
        musical_key=fields.shown("key"),
        start=fields.number("start"),
        offset=fields.number("offset") or 0.0,
        fade_in=fields.number("fade_in") or 0.0,
        fade_out=fields.number("fade_out") or 0.0,
    )
    if row.problem:
        raise fields.error(row.problem)
    return row


def _found(fields: _Fields) -> tuple[Track, Path | None]:
    """Return the track of a row with its titles, and where the file of a local one is."""
    said = Said(fields.shown("title"), fields.shown("artist"), fields.shown("album"))
    path, track = fields.exact("path"), _track(fields)
    if path is not None and looks_like_url(path):
        raise fields.error(f'"path" {redacted(path)!r} is a URL; expected a path, or "url" for one of http(s)')
    if path is not None and track is None:
        place = fields.document.local_path([path])
        return said.track_of_file(path, place), place
    if path is None and track is not None:
        return said.titled(track), None
    found = "both a path and a cloud track" if track else "neither source and id nor url nor path"
    raise fields.error(f"it has {found}; expected {_KINDS}")


def _track(fields: _Fields) -> Track | None:
    """Return the cloud track of a row, None if it names none."""
    source, url = fields.exact("source"), fields.exact("url")
    track_id, version = fields.exact("id"), fields.exact("version")
    if source is not None and url is not None:
        raise fields.error(f"it has both source and url; expected {_KINDS}")
    if url is not None:
        return replace(fields.document.url_track(fields.place, url, track_id), version=version)
    if source is None:
        return None
    if not is_source_name(source):
        why = "is reserved" if source in RESERVED_SOURCES else "is no name of a source"
        raise fields.error(
            f'"source" {redacted(source)!r} {why}; expected the name of a configured source ([a-z0-9_-]+)'
        )
    if track_id is None:
        raise fields.error('it has a source without an id; expected "id" with the service\'s id of the track')
    return Track(source, track_id, version)


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of one JSON object, checked as they are asked for. Each raises MixError."""

    document: Document
    place: str
    fields: dict[str | None, Any]

    def error(self, problem: str) -> MixError:
        """Return the error of this object."""
        return self.document.error(self.place, problem)

    def value(self, name: str) -> Any:  # noqa: ANN401 - whatever JSON has
        """Return a field as it is, None if it is not there; those that nobody asks for may be there twice."""
        if name in self.fields.get(None, ()):
            raise self.error(f'it has "{name}" more than once; expected each field once')
        return self.fields.get(name)

    def exact(self, name: str) -> str | None:
        """Return text that is used as it stands, None if it is not there."""
        text = self._text(name)
        if text is not None and (found := flaw(text) if text else "is empty"):
            raise self.error(f'"{name}" {found}; expected text')
        return text

    def shown(self, name: str) -> str:
        """Return text for people, empty if it is not there."""
        return shown(self._text(name) or "")

    def number(self, name: str) -> float | None:
        """Return a number, None if it is not there."""
        number = self.value(name)
        if number is None:
            return None
        if not isinstance(number, float):
            raise self.error(f'"{name}" is {_kind(number)}; expected a number')
        return number

    def _text(self, name: str) -> str | None:
        value = self.value(name)
        if value is not None and not isinstance(value, str):
            raise self.error(f'"{name}" is {_kind(value)}; expected text')
        return value


def _kind(value: object) -> str:
    """Return what `value` is in the words of JSON."""
    words = {dict: "an object", list: "a list", str: "text", bool: "true or false", float: "a number"}
    return words.get(type(value), "null")
