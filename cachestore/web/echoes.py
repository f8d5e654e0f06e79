"""What servers say back of our own credentials: in names and versions it would be stored and shown."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from cachestore.authorizing import url_secrets
from cachestore.text import SHORTEST_SECRET, is_echo
from cachestore.web.fields import file_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping

_PLAIN = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "host",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "pragma",
        "range",
        "user-agent",
        "want-repr-digest",
    }
)
_NAMING = frozenset(
    {"id", "file", "filename", "name", "title", "path", "v", "version", "rev", "response-content-disposition", "rscd"}
)
_KEPT = ("etag", "last-modified", "content-disposition")
# Where services want a token as the user, and nothing, or one of these, as the password.
_NO_PASSWORDS = frozenset({"", "x", "X", "api_token", "x-oauth-basic"})


def sent_secrets(url: str, headers: Mapping[str, str]) -> set[str]:
    """Return what a request hides: the credentials of its URL, and its headers, whole and in parts."""
    said = [headers[name] for name in headers if _is_private(name)]
    return url_secrets(url).union(_proofs(_userinfo(url)), said, *map(_parts, said))


def asked_values(url: str, known: str) -> set[str]:
    """Return the values of a query, any of which may be secret but for those that name the file or its version.

    What is in `known`, the id of a track, is shown anyway.
    """
    if "?" not in url:
        return set()
    try:
        rows = parse_qsl(urlsplit(url).query)
    except ValueError:
        return set()  # it is never sent
    return {value for name, value in rows if name.lower() not in _NAMING and value not in known}


def has_credentials(headers: Iterable[str]) -> bool:
    """Return whether there is one of the `headers`, by their names, that not everybody would send."""
    return any(map(_is_private, headers))


def drop_echoes(headers: MutableMapping[str, str], secrets: Collection[str]) -> None:
    """Take out of an answer the fields that are kept and hold one of the secrets that were sent.

    An ETag is replaced by its digest: that two answers have different ones must not get lost.
    """
    secrets = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
    if not secrets:
        return
    cut = secrets | {_cut(secret) for secret in secrets}
    for name in _KEPT:
        said = headers.get(name, "")
        if not said:
            continue
        if is_echo(said, secrets) or is_echo(file_name(said), cut):
            del headers[name]
            if name == "etag":
                weak = "W/" if said[:2].upper() == "W/" else ""
                headers[name] = f'{weak}"{blake2b(said.encode("latin-1", "replace"), digest_size=16).hexdigest()}"'


def is_digest_echo(value: bytes, secrets: Collection[str]) -> bool:
    """Return whether a digest is made of one of the secrets that were sent, or of a piece of one.

    It may be its bytes, or one of the texts in which digests are written.
    """
    forms = {value.decode("latin-1"), b64encode(value).decode(), value.hex(), value.hex().upper()}
    return any(is_echo(form, secrets) for form in forms) or any(is_echo(secret, forms) for secret in secrets)


def _is_private(name: str) -> bool:
    return name.lower() not in _PLAIN


def _cut(secret: str) -> str:
    """Return what is left of a secret at the end of a file's name, which loses its folders and query."""
    return re.split(r"[/\\]", secret.partition("?")[0])[-1]


def _parts(value: str) -> Iterator[str]:
    """Yield the words of a header, and what is behind an equals sign, but not the name of a scheme in front."""
    words = re.split(r"[\s,;]+", value)
    if words[0].lower() == "basic":
        yield from _proofs(_decoded(words[-1]))
    for word in words[1:] if len(words) > 1 and "=" not in words[0] else words:
        yield word.partition("=")[2].strip('="') or word


def _userinfo(url: str) -> str:
    if "@" not in url:
        return ""
    try:
        return unquote(urlsplit(url).netloc.rpartition("@")[0])
    except ValueError:
        return ""  # it is never sent


def _decoded(basic: str) -> str:
    """Return ``user:password`` (RFC 7617), empty if it is none."""
    try:
        login = b64decode(basic)
    except ValueError:
        return ""
    try:
        return login.decode()
    except UnicodeDecodeError:
        return login.decode("latin-1")


def _proofs(login: str) -> Iterator[str]:
    """Yield what of ``user:password`` is secret; a user's name may well be in a title."""
    user, _, password = login.partition(":")
    yield user if password in _NO_PASSWORDS else password
