"""Text from outside, such as titles: how it can be shown, and whether it can be part of an id."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

# A scheme of one letter is a drive. Where one begins is not searched for: in a long word that would be once a letter.
_LIKE_A_URL = re.compile(r"^//|^https?[:/]+|^url:(?:https?[:/]+)?|(?<=[a-z0-9+.-]{2}):/+", re.IGNORECASE | re.ASCII)
# Each as it is, or percent-encoded, however often.
_QUERY = re.compile(r"((?:(?!%(?:25)*3F)[^?#])*)(.*)", re.DOTALL | re.IGNORECASE)
_AT = re.compile("@|%(?:25)*40")
_PARAMETER = re.compile(r"([;&=]|%(?:25)*(?:3B|26|3D))[^/]*", re.IGNORECASE)
_URL_AS_PATH = re.compile(r"[a-z][a-z0-9+.-]+:/|https?:", re.IGNORECASE | re.ASCII)
_HIDDEN = "(hidden)"
SHORTEST_SECRET = 6  # what is shorter may be in a title by accident
_ALPHABET = str.maketrans("+/", "-_")
_LONGEST = 1000  # characters; a title of megabytes would be in every line that names its track


def shown(text: str) -> str:
    """Return `text` on one line, without control characters and halves of surrogate pairs, and not without an end."""
    return _readable(text)[:_LONGEST]


def is_steady(text: str) -> bool:
    """Return whether `text` can be part of an id, a path or a URL: Unicode without control characters."""
    return text.isprintable() or not any(unicodedata.category(c) in {"Cc", "Cs"} for c in text)


def is_echo(text: str, secrets: Iterable[str]) -> bool:
    """Return whether a server says one of the `secrets` back to us in `text`, or as `text` is shown.

    Or percent-encoded, in the other alphabet of base64 (RFC 4648 §5), or without the padding of base64.
    """
    plain = [_unpadded(said) for said in secrets if len(said) >= SHORTEST_SECRET]
    if not plain:
        return False
    told = {text, _readable(text)}
    for _ in range(2):
        told |= {unquote(one) for one in told if "%" in one}
    spelt = [_unpadded(one) for one in told]
    return any(said in one for said in plain for one in spelt)


def is_url(path: str) -> bool:
    """Return whether somebody gave a URL, perhaps with a secret, for a path; two slashes may have become one."""
    return _URL_AS_PATH.match(path) is not None


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return `text` as `shown`, with ``(hidden)`` for each of the `secrets` and every URL `redacted`.

    A secret that may be in a text by accident is left out where it is a whole word.
    """
    secrets = {spelt for secret in secrets for spelt in (secret, _readable(secret), repr(secret)[1:-1]) if spelt}
    longest_first = "|".join(map(_pattern, sorted(secrets, key=len, reverse=True)))
    for read in (str, _readable):  # a secret may have been broken into lines, or have had them itself
        text = re.sub(longest_first, _HIDDEN, read(text)) if secrets else read(text)
    return shown(" ".join(_HIDDEN if is_echo(unquote(word), secrets) else redacted(word) for word in text.split(" ")))


def redacted(text: str) -> str:
    """Return `text` without what follows a scheme in it as userinfo, parameters or query would, fit for an error.

    It is for what is no URL, or none of ours: any scheme, any number of slashes, and marks that are percent-encoded.
    Rather too much is left out than too little.
    """
    found = _LIKE_A_URL.search(text)
    if found is None:
        return text
    front, (place, query) = text[: found.end()], _QUERY.findall(text, found.end())[0]
    if _AT.search(query):  # of a password with a question mark in it, or of the query: nobody can tell
        return f"{front}…"
    *userinfo, place = _AT.split(place)
    host, slash, path = place.partition("/")
    name, colon, port = host.partition(":")
    if colon and not port.isdecimal():  # where a password stands that has a slash in it
        host = f"{name}:…"
    path = _PARAMETER.sub(r"\1…", path)
    return f"{front}{'…@' if userinfo else ''}{host}{slash}{path}{query[:1]}{'…' if query else ''}"


def _pattern(secret: str) -> str:
    return re.escape(secret) if len(secret) >= SHORTEST_SECRET else rf"(?<!\w){re.escape(secret)}(?!\w)"


def _unpadded(text: str) -> str:
    """Return `text` in one alphabet of base64, without the padding, if there is something besides."""
    bare = text.rstrip("=")
    return (bare if len(bare) >= SHORTEST_SECRET else text).translate(_ALPHABET)


def _readable(text: str) -> str:
    if text.isprintable():  # as most are
        return " ".join(text.split())
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(c for c in " ".join(whole.split()) if unicodedata.category(c) != "Cc")
