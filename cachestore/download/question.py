"""What an origin is asked for: a track's bytes, unless they are known, or the rest of a partial."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cachestore.download.digests import WANT
from cachestore.track import lasting_query, redact_url
from cachestore.version import VersionKind
from cachestore.web import fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import httpx

    from cachestore.errors import TrackError
    from cachestore.partials import Partial
    from cachestore.track import Origin
    from cachestore.version import Version

# What only we may ask: who copies a source's headers from a browser has a Range among them.
_OURS = frozenset(
    {
        "accept-encoding",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
        "want-repr-digest",
    }
)
# Credentials, and what passes by itself.
_NOT_FOR_RANGE = frozenset({401, 408, 425, 429})
_HASH = 16  # hex digits


def asked(origin: Origin, offered: Sequence[Version], rest: dict[str, str]) -> dict[str, str]:
    """Return the fields of a request for what is none of the `offered` versions, or for the `rest`."""
    theirs = {name: value for name, value in origin.headers.items() if name.lower() not in _OURS}
    return theirs | WANT | {"Accept-Encoding": "identity"} | fields.conditions(offered) | rest


def offered(known: Iterable[Version], partial: Partial | None) -> list[Version]:
    """Return the versions that need no body: the known ones, and that of a partial that only lacks this answer."""
    return [*known, partial.version] if partial and partial.complete and partial.version else [*known]


def rest_of(partial: Partial | None, origin: Origin, *, is_fresh: bool) -> dict[str, str]:
    """Return the fields that ask for the rest of the partial, if it can be resumed (RFC 9110 §13.1.5, §14.2).

    `is_fresh` if the origin was resolved since the last byte came.
    """
    if partial is None or not partial.resumable or partial.complete:
        return {}
    validator = partial.validator
    if partial.version != (origin.version or validator):
        return {}
    rest = {"Range": f"bytes={partial.received}-"}
    if validator is None:
        # Only the provider's word says what the rest is of, and that counts while it is new.
        return rest if is_fresh else {}
    is_date = validator.kind is VersionKind.MODIFIED
    return rest | {"If-Range": fields.date_of(validator) if is_date else validator.value}


def may_refuse_range(error: TrackError) -> bool:
    """Return whether the server may have failed because a part was asked for: there are many statuses for that."""
    status = error.status or 0
    return (400 <= status <= 499 and status not in _NOT_FOR_RANGE) or status in {500, 501}


def resource_of(url: str) -> str:
    """Return two hashes in one text of what a URL names, since it is kept: of scheme, host and port, and its place.

    Without credentials in path and query, which are others whenever a URL is signed.
    """
    shown = redact_url(url)
    path = urlsplit(shown).path
    return _hashed(shown.removesuffix(path)) + _hashed((path or "/") + lasting_query(url))


def place_of(resource: str) -> str:
    """Return of a resource the hash of path and query: hosts rotate where files stay as they are."""
    return resource[_HASH:]


def known_at(known: Mapping[Version, str], response: httpx.Response) -> list[Version]:
    """Return the known versions whose bytes are from the place that answers: a validator is of one resource only.

    Where a redirect leads to another file, that may have the very ETag or date of this one (RFC 9110 §8.8.1).
    """
    if not known:
        return []
    here = place_of(resource_of(str(response.request.url)))
    return [version for version, place in known.items() if place == here]


def is_comparable(response: httpx.Response, partial: Partial, origin: Origin) -> bool:
    """Return whether an equal validator means equal bytes: it is unique for one resource only (RFC 9110 §8.8.1).

    So not where another mirror answers, or the service has moved the track, unless the provider's version stands for
    the bytes wherever they are.
    """
    is_provided = origin.version is not None and origin.version == partial.version
    return is_provided or partial.resource == resource_of(str(response.request.url))


def part_of(partial: Partial, headers: httpx.Headers) -> fields.ContentRange | None:
    """Return what a 206 holds if it goes on where the partial ends: servers ignore If-Range (RFC 9110 §13.1.5).

    It need not tell how long the whole is.
    """
    part = fields.content_range(headers.get("content-range", ""))
    if part is None or part.start != partial.received or part.end >= (partial.total or 0):
        return None
    if part.total not in {None, partial.total}:
        return None
    if fields.content_length(headers) not in {None, part.end - part.start + 1} or fields.is_encoded(headers):
        return None
    if headers.get("content-type", "").lower().startswith("multipart/"):
        return None
    said = partial.validator or partial.hint
    return part if said is None or fields.is_of(said, headers) else None


def _hashed(text: str) -> str:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=_HASH // 2).hexdigest()
