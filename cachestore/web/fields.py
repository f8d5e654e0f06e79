"""What header fields say (RFC 9110). Pure; a field that breaks its grammar says nothing."""

from __future__ import annotations

import re
from datetime import UTC
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MOST_OF_TAGS = 4000  # bytes
_LONGEST_DISPOSITION = 4000
_TAGS = frozenset({VersionKind.STRONG, VersionKind.WEAK})
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
    length only. A field that was sent twice, once empty, ends in a space when it is joined, which no request may have.
    """
    tag, modified = headers.get("etag", "").strip(), headers.get("last-modified", "").strip()
    if _bare(tag):
        return Version(VersionKind.WEAK if _is_weak(tag) else VersionKind.STRONG, tag)
    length = content_length(headers)
    return Version(VersionKind.MODIFIED, f"{modified} {length}") if modified and length is not None else None


def conditions(known: Sequence[Version]) -> dict[str, str]:
    """Return the request fields that ask for bytes only if they are none of the known versions (RFC 9110 §13.1).

    Of dates only one can be sent: that of the first version, the current one.
    """
    tags = _fitting(dict.fromkeys(version.value for version in known if version.kind in _TAGS))
    if tags:
        return {"If-None-Match": ", ".join(tags)}
    dated = _first_dated(known)
    return {"If-Modified-Since": date_of(dated)} if dated else {}


def confirmed(known: Sequence[Version], headers: Mapping[str, str]) -> Version | None:
    """Return the known version that a 304 confirms, or None when it could be any or names another."""
    tagged = [version for version in known if version.kind in _TAGS]
    if tagged and "etag" in headers:
        tag = _opaque(headers["etag"])
        return next((version for version in tagged if _opaque(version.value) == tag), None)
    if tagged:
        return tagged[0] if len({version.value for version in tagged}) == 1 else None
    dated = _first_dated(known)
    return dated if dated and headers.get("last-modified", date_of(dated)) == date_of(dated) else None


def is_strong(version: Version, headers: Mapping[str, str]) -> bool:
    """Return whether the version of a body tells it from every other one, so that parts can be put together.

    A date does when it is a minute older than the answer: what changes within a second keeps it (RFC 9110 §8.8.2.2).
    """
    if version.kind is VersionKind.MODIFIED:
        modified, answered = _moment(date_of(version)), _moment(headers.get("date", ""))
        return modified is not None and answered is not None and answered - modified >= 60
    return version.kind is VersionKind.STRONG


def is_of(version: Version, headers: Mapping[str, str]) -> bool:
    """Return whether a part may belong to the body of `version`: it has the same ETag, or without one the same date."""
    if version.kind is VersionKind.MODIFIED:
        return headers.get("last-modified") == date_of(version)
    return headers.get("etag") == version.value


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Return whether a body is compressed or otherwise not what it stands for."""
    return headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}


def date_of(modified: Version) -> str:
    """Return the date in a version of kind MODIFIED."""
    return modified.value.rpartition(" ")[0]


def file_name(disposition: str) -> str:
    """Return what a Content-Disposition calls the file, without folders; empty if nothing.

    ``filename*`` (RFC 8187) counts before ``filename`` (RFC 6266 §4.3), which many servers send as UTF-8.
    """
    if len(disposition) > _LONGEST_DISPOSITION:  # the parser takes the square of the length
        return ""
    message = Message()
    try:
        message["content-disposition"] = disposition
        parameters: list[tuple[str, Any]] = message.get_params([], "content-disposition")
    except (ValueError, LookupError, TypeError):  # nothing that a parser expects
        return ""
    values = sorted((value for key, value in parameters if key == "filename"), key=lambda value: isinstance(value, str))
    name = next(filter(None, map(_parameter, values)), "")
    return re.split(r"[/\\]", name)[-1]


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
    moment = _moment(text)
    return None if moment is None else max(0.0, moment - now)


def _fitting(tags: Iterable[str]) -> list[str]:
    """Return the tags, the current one first, for which servers have room: most take 8 kB of header fields."""
    chosen: list[str] = []
    room = _MOST_OF_TAGS
    for tag in tags:
        room -= len(tag) + 2
        if room < 0:
            break
        chosen.append(tag)
    return chosen


def _first_dated(known: Sequence[Version]) -> Version | None:
    return next((version for version in known if version.kind is VersionKind.MODIFIED), None)


def _parameter(value: str | tuple[str | None, str | None, str]) -> str:
    """Return the text of a parameter, or of one with charset, language and text; empty if its charset is unknown."""
    charset, text = ("utf-8", value) if isinstance(value, str) else (value[0] or "utf-8", value[2])
    try:
        return text.encode("latin-1").decode(charset).strip()
    except (ValueError, LookupError):
        return value.strip() if isinstance(value, str) else ""


def _moment(date: str) -> float | None:
    """Return an HTTP date in Unix seconds."""
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _is_weak(tag: str) -> bool:
    return tag[:2] in {"W/", "w/"}


def _bare(tag: str) -> str:
    return (tag[2:] if _is_weak(tag) else tag).strip('" ')


def _opaque(tag: str) -> str:
    """Return an ETag without its weakness and quotes: what is compared weakly (RFC 9110 §8.8.3.2).

    Without the suffix, too, by which some servers tell a compressed body, and which they put into a 304 as well.
    """
    return _bare(tag).removesuffix("-gzip")
