"""Where a track's stream is, as a JSON document of its service says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin, urlsplit, urlunsplit

from cachestore.sources.base import LONGEST_URL
from cachestore.sources.options import text
from cachestore.sources.pointer import Pointer
from cachestore.text import is_echo
from cachestore.track import Origin
from cachestore.version import Version, VersionKind
from cachestore.web.authority import authority_of
from cachestore.web.echoes import sent_secrets

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cachestore.track import Track

_LONGEST_VERSION = 256


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """Where in a service's documents the URL of a track's stream stands, and its version, if the service has any."""

    url: Pointer
    version: Pointer | None

    @classmethod
    def parse(cls, where: str, options: Mapping[str, object]) -> Self:
        """Return what the options of the source at `where` say. Raise ConfigError."""
        url = Pointer.parse(f"{where}.stream_pointer", text(where, options, "stream_pointer"))
        if "version_pointer" not in options:
            return cls(url, None)
        return cls(url, Pointer.parse(f"{where}.version_pointer", text(where, options, "version_pointer")))

    def origin(
        self,
        track: Track,
        asked: str,
        headers: Mapping[str, str],
        document: object,
        secrets: Collection[str] = frozenset(),
    ) -> Origin:
        """Return the origin that the `document` found at the URL `asked` names. Raise SourceError.

        The `headers` it was asked with go to the same scheme, host and port only: anyone else must not see them, and
        signed URLs are refused with another authorization beside their own. A version that says one of the `secrets`
        back, or of what was sent or the stream's own URL hides, is none.
        """
        url = self._url(track, asked, document)
        hidden = sent_secrets(asked, headers) | sent_secrets(url, {})
        version = self._version(track, document, hidden.union(secrets))
        if authority_of(url) != authority_of(asked):
            return Origin(url, {}, version)
        return Origin(_with_userinfo(url, asked), headers, version)

    def _url(self, track: Track, asked: str, document: object) -> str:
        value = self.url.value(document)
        url = _joined(asked, value) if isinstance(value, str) and value else ""
        if not url:
            raise self.url.mistake(track, value, f"the http(s) URL of a stream, of up to {LONGEST_URL:,} characters")
        if (authority_of(asked).scheme, authority_of(url).scheme) == ("https", "http"):
            raise self.url.mistake(track, value, "an https URL, since resolve_url is one")
        return url

    def _version(self, track: Track, document: object, secrets: Collection[str]) -> Version | None:
        """Return the version, None where the service says with a null that it has none, or says a secret back."""
        if self.version is None:
            return None
        value = self.version.value(document)
        if value is None:
            return None
        if not _is_version(value):
            expected = f"a number or a text of up to {_LONGEST_VERSION} characters"
            raise self.version.mistake(track, value, expected)
        return None if is_echo(str(value), secrets) else Version(VersionKind.PROVIDER, str(value))


def _joined(base: str, reference: str) -> str:
    """Return the URL that `reference` means at `base` (RFC 3986 §5), empty if it is none of http(s) or too long."""
    if len(base) + len(reference) > LONGEST_URL:
        return ""
    if not reference.isprintable() or "\\" in reference:
        return ""  # parsers differ on which server this means
    try:
        url = urljoin(base, reference)
        authority_of(url)
    except ValueError:
        return ""
    return url


def _with_userinfo(url: str, asked: str) -> str:
    """Return `url` with the userinfo of `asked`, unless it has its own."""
    userinfo = "".join(urlsplit(asked).netloc.rpartition("@")[:2])
    parts = urlsplit(url)
    if not userinfo or "@" in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=userinfo + parts.netloc))


def _is_version(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return 0 < len(str(value)) <= _LONGEST_VERSION and (is_number or (isinstance(value, str) and value.isprintable()))
