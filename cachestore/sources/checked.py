"""What a source returns, held against what it has to be: no type checker may have seen a plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import TypeVar

from cachestore.errors import ConfigError, TrackError
from cachestore.sources.base import LONGEST_URL, Description, Playlist, PlaylistTrack
from cachestore.text import is_steady
from cachestore.track import Origin, Track
from cachestore.version import Version, VersionKind

_T = TypeVar("_T")
_TEXT = (str,)
_NUMBER = (int, float, NoneType)
_VERSION = (Version, NoneType)
_LARGEST_NUMBER = 10**15  # beyond it Python may fail to print it, or to make a float of it
_SAID = dict.fromkeys(("title", "artist", "album"), _TEXT)
_FIELDS: Mapping[type, Mapping[str, tuple[type, ...]]] = {
    Origin: {"url": _TEXT, "headers": (Mapping,), "version": _VERSION},
    Version: {"kind": (VersionKind,), "value": _TEXT, "digest": _TEXT},
    Description: {**_SAID, "version": _VERSION},
    Playlist: {"id": _TEXT, "name": _TEXT, "tracks": (int, NoneType)},
    PlaylistTrack: {"track": (Track,), "duration": _NUMBER},
    TrackError: {
        **dict.fromkeys(("track", "label", "reason", "provider_code"), _TEXT),
        "status": (int, NoneType),
        "retry_after": (int, float),
    },
    ConfigError: dict.fromkeys(("where", "problem"), _TEXT),
    Track: {"source": _TEXT, "id": _TEXT, **_SAID, "version": (str, NoneType), "url": (str, NoneType)},
}


class Unfit(Exception):
    """A source returned something else than was `expected`; `found` names types and fields, no value."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found = found
        self.expected = expected


def checked(value: object, kind: type[_T]) -> _T:
    """Return `value` if it is a `kind` down to its last field. Raise Unfit."""
    if not isinstance(value, kind):
        raise Unfit(_name(value), kind.__name__)
    _check_fields(value, kind.__name__)
    return value


def checked_list(values: object, kind: type[_T]) -> Sequence[_T]:
    """Return `values` if it is a sequence of what `checked` passes. Raise Unfit."""
    if not isinstance(values, Sequence):
        raise Unfit(_name(values), f"a list of {kind.__name__}")
    return [checked(value, kind) for value in values]


def is_whole(error: BaseException) -> bool:
    """Return whether `error` is a TrackError or ConfigError with the fields that it has to have."""
    try:
        _check_fields(error, "")
    except Unfit:
        return False
    return isinstance(error, TrackError | ConfigError)


def check_sources(rows: Sequence[PlaylistTrack], name: str) -> None:
    """Raise Unfit if a row is of another source than the one of that `name`, whose row it is, or ``url``."""
    if any(row.track.source not in {name, "url"} for row in rows):
        raise Unfit("another name as PlaylistTrack.track.source", f"{name} or url")


def _check_fields(value: object, place: str) -> None:
    fields = next((fields for kind, fields in _FIELDS.items() if isinstance(value, kind)), {})
    for name, expected in fields.items():
        _check(getattr(value, name, None), expected, f"{place}.{name}")
    match value:
        case Origin():
            if len(value.url) > LONGEST_URL:
                raise Unfit(f"too long a text as {place}.url", f"one of up to {LONGEST_URL:,} characters")
            for text in [*value.headers, *value.headers.values()]:
                _check(text, _TEXT, f"a part of {place}.headers")
            _check_version(value.version, VersionKind.PROVIDER, place)
        case Description():
            _check_version(value.version, VersionKind.DESCRIBED, place)


def _check_version(version: Version | None, kind: VersionKind, place: str) -> None:
    if version is None:
        return
    if version.kind is not kind:
        raise Unfit(f"{version.kind.name} as {place}.version.kind", kind.name)
    if not version.value or not is_steady(version.value):
        raise Unfit(f"an empty or broken text as {place}.version.value", "one without control characters")
    if version.digest:
        raise Unfit(f"a text as {place}.version.digest", "an empty one")


def _check(value: object, expected: tuple[type, ...], place: str) -> None:
    if not isinstance(value, expected):
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in expected)
        raise Unfit(f"{_name(value)} as {place}", names)
    if isinstance(value, int | float) and abs(value) > _LARGEST_NUMBER:
        raise Unfit(f"too large a number as {place}", "one of up to 15 digits")
    if value is not None and not isinstance(value, str):
        _check_fields(value, place)


def _name(value: object) -> str:
    return "None" if value is None else type(value).__name__
