"""What header fields say (RFC 9110). Pure; a field that breaks its grammar says nothing."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NUMBER = re.compile(r"[0-9]{1,15}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})", re.IGNORECASE)


class ContentRange(NamedTuple):
    """Which bytes of how many an answer holds; `end` is the last one."""

    start: int
    end: int
    total: int


def version_of(headers: Mapping[str, str]) -> Version | None:
    """Return what the headers call the bytes, or None.

    An ETag is kept verbatim, also without its quotes; an empty one names nothing. Last-Modified counts together with a
    length only.
    """
    tag = headers.get("etag", "")
    if _opaque(tag):
        return Version(VersionKind.WEAK if _is_weak(tag) else VersionKind.STRONG, tag)
    modified, length = headers.get("last-modified"), content_length(headers)
    return Version(VersionKind.MODIFIED, f"{modified} {length}") if modified and length is not None else None


def conditions(known: Sequence[Version]) -> dict[str, str]:
    """Return the request fields that ask for bytes only if they are none of the known versions (RFC 9110 §13.1)."""
    tags = dict.fromkeys(version.value for version in _tagged(known))
    if tags:
        return {"If-None-Match": ", ".join(tags)}
    if len(known) == 1 and known[0].kind is VersionKind.MODIFIED:
        return {"If-Modified-Since": _date_of(known[0])}
    return {}


def confirmed(known: Sequence[Version], headers: Mapping[str, str]) -> Version | None:
    """Return the known version that a 304 confirms, or None when it could be any or names another."""
    tagged = _tagged(known)
    asked = {version.value: version for version in tagged or known}
    if tagged and "etag" in headers:
        tag = _opaque(headers["etag"])
        return next((version for version in tagged if _opaque(version.value) == tag), None)
    if not tagged and len(asked) == 1:
        date = _date_of(known[0])
        return known[0] if headers.get("last-modified", date) == date else None
    return next(iter(asked.values())) if len(asked) == 1 else None


def content_length(headers: Mapping[str, str]) -> int | None:
    """Return the length of the body in bytes; a Transfer-Encoding overrides a Content-Length (RFC 9112 §6.3)."""
    length = headers.get("content-length", "")
    return int(length) if _NUMBER.fullmatch(length) and "transfer-encoding" not in headers else None


def content_range(text: str) -> ContentRange | None:
    """Return what a Content-Range says, None when it is no possible range of a known total."""
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        return None
    start, end, total = (int(number) for number in match.groups())
    return ContentRange(start, end, total) if start <= end < total else None


def retry_after(text: str, now: float) -> float | None:
    """Return in how many seconds a server wants to be asked again: a number, or a date seen from Unix time `now`."""
    if _NUMBER.fullmatch(text.strip()):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _tagged(known: Sequence[Version]) -> list[Version]:
    return [version for version in known if version.kind in {VersionKind.STRONG, VersionKind.WEAK}]


def _date_of(modified: Version) -> str:
    return modified.value.rpartition(" ")[0]


def _is_weak(tag: str) -> bool:
    return tag[:2] in {"W/", "w/"}


def _opaque(tag: str) -> str:
    """Return an ETag without its weakness and quotes: what is compared weakly (RFC 9110 §8.8.3.2)."""
    return (tag[2:] if _is_weak(tag) else tag).strip('" ')
