"""What of a URL says who asks, and not which track it is: parameters of its query or path, by their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_plus, urlsplit

from cachestore.text import SHORTEST_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# A name that could as well identify the track (``key``, ``t``, ``p``) counts as a credential only in the company that
# makes it one: dropping it wrongly would let two tracks meet, keeping it wrongly costs a download. Of a name in several
# words, as ``X-Plex-Token`` or ``accessKeyId``, the last ones count: ``token_type`` is none. Nor is ``session``,
# which a DJ may have played, ``sid``, which may be a song's, or ``pass``.
_CREDENTIAL = re.compile(
    r"(?:.* )?(?:[a-z]*token|[a-z]*secret|sig(?:nature)?|hmac|jwt|bearer|credentials?|o?auth(?:orization)?|hdne?[at]s?"
    r"|pass(?:word|wd|phrase|code)|pwd|[a-z]*sess(?:ion)?id"
    r"|(?:api|access|auth|secret|private|shared|client|app|account|subscription|license) ?key)(?: id)?"
)
_MAY_HIDE = re.compile("[@=%]")  # a credential has a name and a value, or is userinfo
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SIGNATURE = re.compile(r"x-(amz|goog|ms)-.*", re.IGNORECASE)
_CREDENTIAL_IN_COMPANY = (
    ({"expires", "signature"}, {"expires", "awsaccesskeyid", "googleaccessid", "policy", "key-pair-id"}),
    ({"policy", "signature"}, {"policy", "key-pair-id"}),
    ({"expires", "md5"}, {"expires", "md5"}),
    ({"exp", "hmac"}, {"exp", "st", "acl", "ip", "data"}),
    ({"se", "sig"}, {"se", "sp", "sr", "sv", "st", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv"}),
    ({"u", "t", "s", "c", "v"}, {"u", "t", "s"}),
    ({"u", "p", "c", "v"}, {"u", "p"}),
)
# What begins a parameter in a path, and what ends its name: as it is, or encoded, however often. Links that went
# through other programs have "?" and "&" in their path like that. Other marks begin one only where a name and a value
# follow: a token may have them in it, and the padding of base64 at its end.
_HARD = "[;&]|%(?:25)*(?:3B|26|3F)"
_SOFT = r"[,~|()\\]|%(?:25)*(?:2C|7E|7C|28|29|5C|2F|23)"
_EQUAL = "=|%(?:25)*3D"
_NAMED = rf"(?:(?!{_HARD}|{_SOFT}|{_EQUAL})[^/]){{1,99}}(?:{_EQUAL})(?!{_HARD}|{_SOFT}|{_EQUAL}|/|\Z)"
_PARTS = re.compile(rf"(?={_HARD}|(?:{_SOFT}){_NAMED})", re.IGNORECASE)
_MARK = re.compile(f"{_HARD}|{_SOFT}", re.IGNORECASE)
_MARKS = "/;&?,~|()\\#[]"
_EQUALS = re.compile(_EQUAL, re.IGNORECASE)
_QUERY = re.compile(r"(?=%(?:25)*3F)", re.IGNORECASE)
_SLASH = re.compile("(?=/)")
# The userinfo of a URL within a path, whose slashes may have become one.
_INNER = re.compile(
    r"((?:[a-z][a-z0-9+.-]+(?::|%(?:25)*3A)(?:/|%(?:25)*2F)|https?(?::|%(?:25)*3A))(?:/|%(?:25)*2F))"
    r"((?:(?!%(?:25)*2F)[^/])*)(?:@|%(?:25)*40)",
    re.IGNORECASE,
)


def is_signature(name: str) -> bool:
    """Return whether a parameter is one of those that a cloud's signature is made of."""
    return _SIGNATURE.fullmatch(name) is not None


def credentials_among(names: Iterable[str]) -> set[str]:
    """Return which of the names of parameters are those of credentials."""
    names = set(names)
    present = {name.lower() for name in names}
    dropped = {name for company, those in _CREDENTIAL_IN_COMPANY if company <= present for name in those}
    return {name for name in names if name.lower() in dropped or _is_credential(name)}


def lasting_path(path: str) -> str:
    """Return a path without what says who asks, be it parameters (RFC 3986 §3.3: ``;name=value``) or whole segments.

    Nor the userinfo of a URL within it. What is left is what would be left of it.
    """
    if not _MAY_HIDE.search(path):
        return path
    while (kept := _INNER.sub(r"\1", "".join(_lasting_parts(path)))) != path:
        path = kept
    return path


def url_secrets(url: str) -> set[str]:
    """Return what a URL hides, as it is sent and decoded: its password, or user if there is none, and its credentials.

    A user's name beside them is none: it may well be in a title.
    """
    if not _MAY_HIDE.search(url):
        return set()
    try:
        parts = urlsplit(url)
    except ValueError:
        return set()  # it is never sent
    logins = [parts.netloc.rpartition("@")[0], *(login for _, login in _INNER.findall(parts.path))]
    hidden = {login.partition(":")[2] or login.partition(":")[0] for login in logins}
    queries = {parts.query, parts.query.replace("?", "&")}  # a link that went through other programs may have two
    for parameters in (*map(_PARTS.split, queries), *_segments(parts.path)):
        rows = [(_name(parameter), _EQUALS.split(parameter, maxsplit=1)[-1]) for parameter in parameters]
        credentials = {name for name in credentials_among(name for name, _ in rows) if name.lower() != "u"}
        hidden |= {value for name, value in rows if name in credentials}
    # Nobody knows whether a mark ends a secret or is of it.
    hidden |= {first for whole in hidden if len(first := _MARK.split(whole)[0]) >= SHORTEST_SECRET}
    decoded = {unquote_plus(secret) for secret in hidden}
    return (hidden | decoded | {unquote(secret) for secret in decoded}) - {""}


def credential_parameters(query: str) -> list[str]:
    """Return the parameters of a query that authorize, as they are written."""
    names = {each: unquote_plus(each.partition("=")[0]) for each in query.split("&")}
    credentials = credentials_among(names.values())
    return [each for each, name in names.items() if name in credentials]


def _is_credential(name: str) -> bool:
    """Return whether a name is that of a credential by itself, written in whatever case."""
    spellings = (" ".join(_WORD.findall(spelt)).lower() for spelt in (name, name.lower()))
    return is_signature(name) or any(map(_CREDENTIAL.fullmatch, spellings))


def _lasting_parts(path: str) -> Iterator[str]:
    for parts in _segments(path):
        names = [_name(part) for part in parts]
        credentials = credentials_among(names)
        yield from (part for part, name in zip(parts, names, strict=True) if name not in credentials)


def _segments(path: str) -> Iterator[Sequence[str]]:
    """Yield the segments of a path, each as its name and parameters, which begin with what separates them.

    Behind an encoded question mark a slash ends one only before a credential: a token in a query may have slashes.
    """
    front, *query = _QUERY.split(path, maxsplit=1)
    segments = _SLASH.split(front)
    for one in query:
        for piece in _SLASH.split(one):
            if piece.startswith("%") or _is_credential(_name(piece)):
                segments.append(piece)
            else:
                segments[-1] += piece
    return map(_PARTS.split, segments)


def _name(part: str) -> str:
    """Return the decoded name of a parameter or segment with a value; empty if it has none."""
    name, *value = _EQUALS.split(part, maxsplit=1)
    name = unquote_plus(name) if value else ""
    while (decoded := unquote(name)) != name:
        name = decoded
    return name.strip(_MARKS)
