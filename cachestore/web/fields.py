"""What header fields say (RFC 9110). Pure; a field that breaks its grammar says nothing."""

from __future__ import annotations

import re
from datetime import UTC
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_OF_TAGS = 4000  # bytes
_LONGEST_DISPOSITION = 4000
_TAGS = frozenset({VersionKind.STRONG, VersionKind.WEAK})
# Also without its quotes; no list, and not the asterisk, which stands for any tag (RFC 9110 §8.8.3, §13.1.2).
_TAG = re.compile(r'(?!(?:W/)?\*?\Z)(?:W/)?(?:"(?! *")([^"]+)"|([^",\s]+))', re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,15}")
_DIGITS = re.compile(r"[0-9]+")
_LONGEST_WAIT = 10.0**15 - 1  # seconds
_UNKNOWN_DATES = 365 * 86400.0  # in 1970, which stands for a date that nobody knows
# The three forms of RFC 9110 §5.6.7; the last one has no zone, which is GMT.
_HTTP_DATE = re.compile(
    r"[a-z]+, \d\d[ -][a-z]{3}[ -]\d{2,4} \d\d:\d\d:\d\d GMT|[a-z]{3} [a-z]{3} [ \d]\d \d\d:\d\d:\d\d \d{4}",
    re.IGNORECASE | re.ASCII,
)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/(?:([0-9]{1,15})|\*)", re.IGNORECASE)


class ContentRange(NamedTuple):
    """Which bytes of how many an answer holds; `end` is the last one, `total` None if the server does not know it."""

    start: int
    end: int
    total: int | None


def version_of(headers: Mapping[str, str]) -> Version | None:
    """Return what the headers call the bytes, or None.

    An ETag is kept verbatim, also without its quotes; an empty one, an asterisk and several name nothing. Last-Modified
    counts together with a length only, and not when it is no date or of 1970: that stays when the bytes change.
    """
    tag, modified = headers.get("etag", "").strip(), headers.get("last-modified", "").strip()
    if _TAG.fullmatch(tag):
        return Version(VersionKind.WEAK if _is_weak(tag) else VersionKind.STRONG, tag)
    length = content_length(headers)
    if length is None or (_moment(modified) or 0.0) < _UNKNOWN_DATES:
        return None
    return Version(VersionKind.MODIFIED, f"{modified} {length}")


def conditions(known: Sequence[Version]) -> dict[str, str]:
    """Return the request fields that ask for bytes only if they are none of the known versions (RFC 9110 §13.1)."""
    tagged = _asked_by_tag(known)
    if tagged:
        return {"If-None-Match": ", ".join(dict.fromkeys(version.value for version in tagged))}
    dated = _asked_by_date(known)
    return {"If-Modified-Since": date_of(dated)} if dated else {}


def confirmed(known: Sequence[Version], headers: Mapping[str, str]) -> Version | None:
    """Return which version a 304 to the `conditions` of these confirms, None when it could be any or names another.

    The one with the very ETag of the 304 counts, or the only one that has it in another dress: proxies change that.
    """
    tagged = _asked_by_tag(known)
    if tagged and "etag" in headers:
        tag = headers["etag"].strip()
        exact = [version for version in tagged if version.value == tag]
        return _only(exact or [version for version in tagged if _opaque(version.value) == _opaque(tag)])
    if tagged:
        return _only(tagged)
    dated = _asked_by_date(known)
    if dated is None or _has_tag(headers):  # it has a word now that it did not have for the bytes that are known
        return None
    # A 304 may say how long the answer would be (RFC 9110 §8.6); some say 0, which it is itself.
    if content_length(headers) not in {None, 0, _length_of(dated)}:
        return None
    return dated if headers.get("last-modified", date_of(dated)) == date_of(dated) else None


def is_strong(version: Version, headers: Mapping[str, str]) -> bool:
    """Return whether the version of a body tells it from every other one, so that parts can be put together.

    A date does when it is a minute older than the answer: what changes within a second keeps it (RFC 9110 §8.8.2.2).
    Both are in GMT, or whoever wrote them may have meant another zone.
    """
    if version.kind is VersionKind.MODIFIED:
        dates = date_of(version), headers.get("date", "")
        modified, answered = (_moment(date) if _HTTP_DATE.fullmatch(date) else None for date in dates)
        return modified is not None and answered is not None and answered - modified >= 60
    return version.kind is VersionKind.STRONG


def is_of(version: Version, headers: Mapping[str, str]) -> bool:
    """Return whether a part may belong to the body of `version`: the same ETag, or none and the same date."""
    if version.kind is VersionKind.MODIFIED:
        return not _has_tag(headers) and headers.get("last-modified") == date_of(version)
    return headers.get("etag") == version.value


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Return whether a body is compressed or otherwise not what it stands for."""
    return headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}


def is_whole(headers: Mapping[str, str]) -> bool:
    """Return whether a 200 has no Content-Range, or one of all bytes: some scripts answer a Range so."""
    if "content-range" not in headers:
        return True
    part = content_range(headers["content-range"])
    return part is not None and (part.start, part.end + 1) == (0, part.total) and content_length(headers) == part.total


def is_told_by_tag(found: Version, known: Sequence[Version]) -> bool:
    """Return whether a version is one of the `known` whose strong ETag is asked for, and the only one that has it."""
    return found.kind is VersionKind.STRONG and [one for one in _asked_by_tag(known) if one.value == found.value] == [
        found
    ]


def is_told_by_date(found: Version, known: Sequence[Version]) -> bool:
    """Return whether a version of kind MODIFIED is one of the `known`, and its date not that of other bytes as well."""
    if found.kind is not VersionKind.MODIFIED:
        return False
    dated = [version for version in known if version.kind is VersionKind.MODIFIED]
    return [version for version in dated if date_of(version) == date_of(found)] == [found]


def date_of(modified: Version) -> str:
    """Return the date in a version of kind MODIFIED."""
    return modified.value.rpartition(" ")[0]


def _length_of(modified: Version) -> int:
    return int(modified.value.rpartition(" ")[2])


def file_name(disposition: str) -> str:
    """Return what a Content-Disposition calls the file, without folders and a query; empty if nothing.

    ``filename*`` (RFC 8187) counts before ``filename`` (RFC 6266 §4.3), which many servers send as UTF-8.
    """
    if len(disposition) > _LONGEST_DISPOSITION or "filename" not in disposition.lower():
        return ""  # the parser takes the square of the length
    message = Message()
    try:
        message["content-disposition"] = disposition
        parameters: list[tuple[str, Any]] = message.get_params([], "content-disposition")
    except (ValueError, LookupError, TypeError):  # nothing that a parser expects
        return ""
    values = sorted((value for key, value in parameters if key == "filename"), key=lambda value: isinstance(value, str))
    name = next(filter(None, map(_parameter, values)), "")
    return re.split(r"[/\\]", name.partition("?")[0])[-1].strip()


def content_length(headers: Mapping[str, str]) -> int | None:
    """Return the length of the body in bytes; a Transfer-Encoding overrides a Content-Length (RFC 9112 §6.3)."""
    length = headers.get("content-length", "")
    return int(length) if _NUMBER.fullmatch(length) and "transfer-encoding" not in headers else None


def content_range(text: str) -> ContentRange | None:
    """Return what a Content-Range says, None when it is no possible range (RFC 9110 §14.4)."""
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        return None
    start, end, total = int(match[1]), int(match[2]), int(match[3]) if match[3] else None
    return ContentRange(start, end, total) if start <= end and (total is None or end < total) else None


def retry_after(text: str, now: float, date: str) -> float | None:
    """Return in how many seconds a server wants to be asked again: a number of them, or a date.

    That is seen from the `date` of the answer, which has the server's clock, or without one from Unix time `now`.
    """
    if _DIGITS.fullmatch(text.strip()):
        return min(float(text), _LONGEST_WAIT)
    moment, answered = _moment(text), _moment(date)
    return None if moment is None else max(0.0, moment - (now if answered is None else answered))


def _asked_by_tag(known: Sequence[Version]) -> list[Version]:
    """Return the versions whose tags are asked for: the current ones, as many as most servers' 8 kB of fields hold."""
    chosen: set[str] = set()
    room = _MOST_OF_TAGS
    tagged = [version for version in known if version.kind in _TAGS and _TAG.fullmatch(version.value)]
    for value in dict.fromkeys(version.value for version in tagged):
        room -= len(value) + 2
        if room < 0:
            break
        chosen.add(value)
    return [version for version in tagged if version.value in chosen]


def _asked_by_date(known: Sequence[Version]) -> Version | None:
    """Return the version whose date is asked for, if it is the only date, and no tag is known.

    Many servers answer 304 to any date that is not earlier than theirs, and do not say theirs: after a rollback to one
    kept version that would confirm the other. Asked for the bytes, they tell in the header.
    """
    dated = [version for version in known if version.kind is VersionKind.MODIFIED]
    return None if any(version.kind in _TAGS for version in known) else _only(dated)


def _only(versions: Sequence[Version]) -> Version | None:
    """Return the current one of versions with one validator, None if there are several, or none."""
    return versions[0] if len({version.value for version in versions}) == 1 else None


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


def _has_tag(headers: Mapping[str, str]) -> bool:
    return _TAG.fullmatch(headers.get("etag", "").strip()) is not None


def _is_weak(tag: str) -> bool:
    return tag[:2] in {"W/", "w/"}


def _opaque(tag: str) -> str | None:
    """Return an ETag without its weakness and quotes: what is compared weakly (RFC 9110 §8.8.3.2); None if it is none.

    Without the suffix, too, by which some servers tell a compressed body, and which they put into a 304 as well.
    """
    match = _TAG.fullmatch(tag)
    return (match[1] or match[2]).removesuffix("-gzip") if match else None
