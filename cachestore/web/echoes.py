"""What servers say back of our own credentials: in names and versions it would be stored and shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cachestore.text import is_echo
from cachestore.track import url_secrets
from cachestore.web.fields import file_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, MutableMapping

_PLAIN = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "host",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "range",
        "user-agent",
        "want-repr-digest",
    }
)
_KEPT = ("etag", "last-modified", "content-disposition")


def sent_secrets(url: str, headers: Mapping[str, str]) -> set[str]:
    """Return what a request hides: the credentials of its URL, and its headers, whole and in parts."""
    said = [value for name, value in headers.items() if name.lower() not in _PLAIN]
    return url_secrets(url).union(said, *map(_parts, said))


def drop_echoes(headers: MutableMapping[str, str], secrets: Collection[str]) -> None:
    """Take out of an answer the fields that are kept and hold one of the secrets that were sent."""
    for name in _KEPT:
        said = headers.get(name, "")
        if is_echo(said, secrets) or is_echo(file_name(said), secrets):
            del headers[name]


def _parts(value: str) -> Iterator[str]:
    """Yield the words of a header, and what is behind an equals sign, but not the name of a scheme in front."""
    words = re.split(r"[\s,;]+", value)
    for word in words[1:] if len(words) > 1 and "=" not in words[0] else words:
        yield word.partition("=")[2].strip('="') or word
