"""Where a playlist says a track is: a URL, a file:// address or a path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from cachestore.text import is_steady

if TYPE_CHECKING:
    from exporter_plugin.readers.document import Document, Said
    from exporter_plugin.row import Row

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE | re.ASCII)  # one letter is a drive
# A scheme with two slashes, or with what in URLs is or precedes a secret; docs/mix.schema.json has the same.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:/(/|.*[@?;]|.*%40)|[Hh][Tt][Tt][Pp][Ss]?//.*([@?;]|%40)|//[^/]*(@|%40))")

_LONGEST = 8192  # characters: no system has such paths, no service such ids, and errors repeat them


def flaw(text: str) -> str:
    """Return what keeps `text` from being an id, a path or a URL; empty if nothing does."""
    if len(text) > _LONGEST:
        return f"has {len(text)} characters, more than {_LONGEST}"
    return "" if is_steady(text) else "holds control or broken characters"


def located(document: Document, place: str, location: str, said: Said) -> Row:
    """Return the row of the track at a `location` that was found at `place`. Raise MixError."""
    if found := flaw(location):
        raise document.error(place, f"it {found}; expected a path or a URL")
    scheme = _SCHEME.match(location)
    match scheme[1].lower() if scheme else "":
        case "http" | "https":
            return said.of(document.url_track(place, location))
        case "file":
            path = _file_path(document, place, location)
            return said.of_file(path, document.local_path([path]))
        case other if looks_like_url(location):
            found = f"{other}:// is not supported" if other else "it looks like a URL without a scheme"
            raise document.error(place, f"{found}; expected a path, file:// or http(s)://")
    spellings = [location, unquote(location), location.replace("\\", "/")]
    return said.of_file(location, document.local_path(s for s in spellings if is_steady(s)))


def looks_like_url(path: str) -> bool:
    """Return whether a path is a URL, or may be one with a secret: that would stand in bundles."""
    return _URL.match(path) is not None


def _file_path(document: Document, place: str, url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    path = unquote(parts.path) if parts else ""
    if parts is None or parts.netloc not in {"", "localhost"} or not path or not is_steady(path):
        raise document.error(place, "the file:// address is wrong; expected file:///absolute/path on this machine")
    return path
