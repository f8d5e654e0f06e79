"""What is asked for: tracks, how they are written, and where their bytes are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from xxhash import xxh3_64_hexdigest

from cachestore.authorizing import credentials_among, is_signature, lasting_path
from cachestore.errors import AddressError
from cachestore.text import is_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cachestore.version import Version

RESERVED_SOURCES = frozenset({"url", "http", "https", "file", "cachestore"})
_UNREADABLE = "(an unreadable URL)"
_SOURCE_NAME = re.compile(r"[a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Track:
    """One track of a cloud source.

    `source` names a configured source or is ``url``; `id` is the service's id, or the identity of a URL. `version` pins
    one state of the bytes: a validator verbatim or the 16 hex digits of a key. `url` is set for URL tracks that are to
    be fetched; it may carry a signature and is never stored or shown. `address` is ``source:id`` with ``%`` and ``@``
    escaped, as it can be typed again.
    """

    source: str
    id: str
    version: str | None = None
    title: str = ""
    artist: str = ""
    album: str = ""
    url: str | None = field(default=None, repr=False, compare=False)
    address: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Put the address together once: it is asked for many times. Somebody else's source may give any id."""
        object.__setattr__(self, "address", f"{self.source}:{escape_id(str(self.id))}")

    @property
    def label(self) -> str:
        """Return "Artist - Title", or as much of it as is known, else the address."""
        return " - ".join(part for part in (self.artist, self.title) if part) or self.address


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a track's bytes are: a URL and headers, both secret, and the provider's word for the version, if any."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    version: Version | None = None


def escape_id(text: str) -> str:
    """Return an id as it stands in addresses and keys: ``%`` as ``%25`` and ``@`` as ``%40``."""
    return text.replace("%", "%25").replace("@", "%40")


def is_source_name(text: str) -> bool:
    """Return whether `text` may name a configured source."""
    return _SOURCE_NAME.fullmatch(text) is not None and text not in RESERVED_SOURCES


def parse_address(text: str) -> Track:
    """Return the track that a command-line address names.

    ``source:id``, ``source:id@hex`` (one version) or a bare ``http(s)://`` URL. Raise AddressError.
    """
    if text.lower().startswith(("http://", "https://")):
        return url_track(text)
    source, colon, rest = text.partition(":")
    if not colon or _SOURCE_NAME.fullmatch(source) is None or source in RESERVED_SOURCES - {"url"}:
        raise AddressError(text, "it has no source name before a colon")
    escaped, _, version = rest.partition("@")
    track_id = _unescape_id(text, escaped)
    if not track_id:
        raise AddressError(text, "the id is empty")
    if version and re.fullmatch(r"[0-9a-f]{16}", version) is None:
        # It may as well be a password: before the @, or behind it.
        said = text if is_url(rest) else f"{source}:…"
        raise AddressError(said, "the version after @ is not 16 hex digits (an @ within an id is written %40)")
    if source == "url" and not _is_identity(track_id):
        raise AddressError(
            text if is_url(rest) else "url:…", "what is behind url: is no identity as ls shows it; give the URL itself"
        )
    return Track(source, track_id, version or None, url=_refetchable_url(source, track_id))


def url_track(url: str, track_id: str | None = None, *, title: str = "", artist: str = "", album: str = "") -> Track:
    """Return the track of a bare URL.

    Its id is ``host#track_id`` if one is given: two servers may well use the same ids. Else it is the URL without
    userinfo, fragment, credentials in its path and query, followed by ``#`` and the xxh3-64 of its non-credential query
    parameters, if there are any. Raise AddressError.
    """
    try:
        identity = _url_identity(url)
    except ValueError:  # urllib's text quotes parts of the URL, which may be secret
        raise AddressError(url, "the URL does not parse as http(s)://host/path") from None
    if track_id:
        identity = f"{urlsplit(identity).netloc}#{track_id}"
    return Track("url", identity, url=url, title=title, artist=artist, album=album)


def redact_url(url: str) -> str:
    """Return `url` without userinfo, credentials in its path, query and fragment, fit to be shown."""
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:  # a password with a slash in it ends in the place of a port
            return _UNREADABLE
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], lasting_path(parts.path), "", ""))
    except ValueError:
        return _UNREADABLE


def lasting_query(url: str) -> str:
    """Return what the query of a URL says of which file it is, without what authorizes; it is not to be shown."""
    try:
        lasting = _lasting_parameters(_parameters(urlsplit(url).query))
    except ValueError:
        return ""
    return repr(lasting) if lasting else ""


def alike(tracks: Sequence[Track]) -> tuple[int, int] | None:
    """Return the places of two tracks that are one but for a credential in their URLs, None if there are none.

    A share link may say by its token which track it is. Tracks that were given one id are meant to be one.
    """
    asked: dict[tuple[str, str | None], tuple[int, object]] = {}
    for place, track in enumerate(tracks):
        if track.url is None or not track.id.startswith(("http://", "https://")):
            continue
        request = _request(track.url)
        first, other = asked.setdefault((track.id, track.version), (place, request))
        if request != other:
            return first, place
    return None


def _request(url: str) -> object:
    """Return all of a URL that a server may answer to, beyond its scheme and host, and what a signature is made of."""
    parts = urlsplit(url)
    asked = [(name, value) for name, value in _parameters(parts.query) if not is_signature(name)]
    return parts.netloc.rpartition("@")[0], parts.path or "/", asked


def _parameters(query: str) -> list[tuple[str, str]]:
    """Return the parameters of a query sorted by name: those of one name in their order, and every byte told apart."""
    return sorted(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"), key=itemgetter(0))


def _url_identity(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected http(s)://host/path")
    _ = parts.port  # raises ValueError when it is no number
    identity = urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2].lower(), lasting_path(parts.path) or "/", "", "")
    )
    lasting = _lasting_parameters(_parameters(parts.query))
    return f"{identity}#{xxh3_64_hexdigest(repr(lasting).encode())}" if lasting else identity


def _is_identity(text: str) -> bool:
    """Return whether `text` is the id that some URL has: no other may be stored, since it could hold a credential."""
    place, mark, rest = text.partition("#")
    is_whole = place.startswith(("http://", "https://"))
    url = place if is_whole else f"http://{place}/"
    try:
        is_told = _url_identity(url) == url
    except ValueError:
        return False
    if is_whole:
        return is_told and (not mark or re.fullmatch(r"[0-9a-f]{16}", rest) is not None)
    return is_told and "/" not in place and bool(rest)


def _lasting_parameters(query: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the parameters that say which track it is, without those that say who asks."""
    credentials = credentials_among(name for name, _ in query)
    return [(name, value) for name, value in query if name not in credentials]


def _refetchable_url(source: str, track_id: str) -> str | None:
    """Return the URL of a pasted ``url:`` address, unless its query was part of the identity and is lost."""
    fetchable = source == "url" and track_id.startswith(("http://", "https://")) and "#" not in track_id
    return track_id if fetchable else None


def _unescape_id(text: str, escaped: str) -> str:
    if re.search(r"%(?!25|40)", escaped):
        raise AddressError(text, "a % in an id is written %25 and an @ is written %40")
    return escaped.replace("%40", "@").replace("%25", "%")
