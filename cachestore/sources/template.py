"""URLs with ``{id}`` in them, and which other URLs are below them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from cachestore.authorizing import credential_parameters, url_secrets
from cachestore.errors import ConfigError, SourceError
from cachestore.sources.secret_urls import expand_url
from cachestore.web.authority import authority_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cachestore.track import Track
    from cachestore.web.authority import Authority


@dataclass(frozen=True, slots=True, repr=False)
class Template:
    """A URL with ``{id}`` in its path or query; its variables are expanded, so it may be secret.

    `reach` is its path up to ``{id}``, decoded; where the id stands in the query (`is_whole`) that is all of its path.
    """

    text: str
    authority: Authority
    reach: str
    is_whole: bool

    @classmethod
    def parse(cls, where: str, raw: str, environ: Mapping[str, str]) -> Self:
        """Return the template in the option at `where`. Raise ConfigError."""
        text = expand_url(raw, where, environ)
        try:
            authority, parts = authority_of(text), urlsplit(text)
        except ValueError:  # its words quote the URL
            expected = "expected an http(s) URL such as https://music.example/api/tracks/{id}/stream"
            raise ConfigError(where, expected) from None
        if "{id}" not in parts.path + parts.query or set(re.findall(r"\{[^{}]*\}", text)) != {"{id}"}:
            raise ConfigError(where, "expected {id} in the path or the query, and nothing else in {}")
        reach, mark, _ = parts.path.partition("{id}")
        return cls(text, authority, _decoded(reach), is_whole=not mark)

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

    def lend(self, url: str) -> str:
        """Return a covered `url` with the template's userinfo and credentials in its query, if it has none itself."""
        its, ours = urlsplit(url), urlsplit(self.text)
        userinfo = "".join(ours.netloc.rpartition("@")[:2])
        parameters = [each for each in credential_parameters(ours.query) if "{id}" not in each]
        if url_secrets(url) or not (userinfo or parameters):
            return url
        query = "&".join(filter(None, [its.query, *parameters]))
        return urlunsplit(its._replace(netloc=userinfo + its.netloc.rpartition("@")[2], query=query))

    def covers(self, url: str) -> bool:
        """Return whether `url` is on the template's server and its path begins as the template's does up to ``{id}``.

        If the id stands in the query, the paths must be equal. A path with a step ``..``, however encoded, is never
        covered: it could end anywhere.
        """
        try:
            if authority_of(url) != self.authority:
                return False
        except ValueError:
            return False
        path = _decoded(urlsplit(url).path)
        is_below = path == self.reach if self.is_whole else path.startswith(self.reach)
        return is_below and not _steps(path)


def _decoded(path: str) -> str:
    """Return `path` without percent-encoding, however often it was encoded; an empty one is ``/``."""
    while (decoded := unquote(path)) != path:
        path = decoded
    return path or "/"


def _steps(path: str) -> bool:
    """Return whether `path` has a step ``.`` or ``..``, as any server may read it (Tomcat ends a step at ``;``)."""
    return not {".", ".."}.isdisjoint(re.split(r"[/\\;]", path))
