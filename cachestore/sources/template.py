"""URLs with ``{id}`` in them, and which other URLs are below them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, unquote, urlsplit

from cachestore.config import expand
from cachestore.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cachestore.track import Track

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, repr=False)
class Template:
    """A URL with ``{id}`` in its path or query; its variables are expanded, so it may be secret."""

    text: str

    @classmethod
    def parse(cls, where: str, raw: str, environ: Mapping[str, str]) -> Self:
        """Return the template in the option at `where`. Raise ConfigError."""
        text = expand(raw, where, environ)
        try:
            parts = urlsplit(text)
            complete = parts.scheme in PORTS and all(server_of(text))
        except ValueError:
            complete = False
        if not complete:
            raise ConfigError(where, "expected an http(s) URL such as https://music.example/api/tracks/{id}/stream")
        if "{id}" not in parts.path + parts.query or set(re.findall(r"\{[^{}]*\}", text)) != {"{id}"}:
            raise ConfigError(where, "expected {id} in the path or the query, and nothing else in {}")
        return cls(text)

    @property
    def reach(self) -> str:
        """Return the path up to ``{id}``, decoded."""
        return _decoded(urlsplit(self.text).path.partition("{id}")[0])

    def fill(self, track: Track) -> str:
        """Return the URL of `track`: its id is percent-encoded to the last slash. Raise SourceError."""
        if _steps(track.id):
            # Servers decode %2F and %2E before they take the steps, and would leave the template's path.
            raise SourceError(track.address, track.label, "its id has . or .. as a step of a path")
        try:
            encoded = quote(track.id, safe="", errors="surrogateescape")
        except UnicodeEncodeError:
            raise SourceError(track.address, track.label, "its id is no valid Unicode") from None
        return self.text.replace("{id}", encoded)

    def covers(self, url: str) -> bool:
        """Return whether `url` is on the template's server and its path begins as the template's does up to ``{id}``.

        If the id stands in the query, the paths must be equal. A path with a step ``..``, however encoded, is never
        covered: it could end anywhere.
        """
        try:
            is_same = server_of(url) == server_of(self.text)
        except ValueError:
            return False
        path = _decoded(urlsplit(url).path)
        if not is_same or _steps(path):
            return False
        return path.startswith(self.reach) if "{id}" in urlsplit(self.text).path else path == self.reach


def server_of(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of `url`. Raise ValueError."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)


def _decoded(path: str) -> str:
    """Return `path` without percent-encoding, however often it was encoded; an empty one is ``/``."""
    while (decoded := unquote(path)) != path:
        path = decoded
    return path or "/"


def _steps(path: str) -> bool:
    """Return whether `path` has a step ``.`` or ``..``, as any server may read it (Tomcat ends a step at ``;``)."""
    return not {".", ".."}.isdisjoint(re.split(r"[/\\;]", path))
