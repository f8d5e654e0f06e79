"""What a server promises about the bytes it sends, and whether a file keeps it.

    field              which bytes                       on a 206
    Repr-Digest        the whole file (RFC 9530 §3)      the whole file
    Content-Digest     the content (RFC 9530 §2)         the part
    x-goog-hash        the object as Google stores it    the whole file
    x-amz-checksum-*   the object, unless COMPOSITE      left alone: may be of a part of the upload, and not say so
    Content-MD5        the body (RFC 1864)               left alone: servers give that of the part or of the whole
    Digest             the whole file (RFC 3230)         left alone, as Content-MD5 (RFC 9530 appendix E)

All are of the bytes as they are sent, before a Content-Encoding is undone. A field that breaks its grammar, an unknown
algorithm and a value that its algorithm cannot have promise nothing.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
import zlib
from base64 import b64decode
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cachestore.partials import Promise
from cachestore.web.echoes import is_digest_echo

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from cachestore.media import Readable

WANT = {"Want-Repr-Digest": "sha-256=10, sha-512=5"}  # RFC 9530 §4: the higher, the better liked

_FIELD = re.compile(r"(?:repr-|content-)?digest|x-goog-hash|content-md5|x-amz-checksum-", re.IGNORECASE)
_CHUNK = 256 * 1024
_LONGEST_FIELD = 8192  # characters: all the digests there are take a tenth of it


def promises(
    headers: Mapping[str, str],
    *,
    start: int = 0,
    end: int | None = None,
    partial: bool,
    secrets: Collection[str] = (),
) -> list[Promise]:
    """Return what the headers of an answer with the bytes `start` to `end` promise; `partial` if it is a 206.

    Field names are looked up in lower case, repeated fields joined by commas: httpx.Headers does both. A value that
    says one of the `secrets` back promises nothing: it would be kept.
    """
    if not any(map(_FIELD.match, headers)):
        return []
    found = [
        *_given("Repr-Digest", _dictionary(headers.get("repr-digest", ""))),
        *_given("Content-Digest", _dictionary(headers.get("content-digest", "")), start, end),
    ]
    if _is_as_stored(headers):
        found += _given("x-goog-hash", _list(headers.get("x-goog-hash", "")))
    if not partial:
        found += _given("Content-MD5", [("md5", headers.get("content-md5", ""))])
        found += _given("Digest", _list(headers.get("digest", "")))
        found += _amazon(headers)
    return [promise for promise in found if not is_digest_echo(promise.value, secrets)]


def broken(body: Readable, promises: Sequence[Promise], *, check: Callable[[], None]) -> Promise | None:
    """Return the first promise that the `body` does not keep, None when it keeps them all.

    One by an algorithm that is not known here, as a newer program may have kept it, says nothing. A range is read once,
    however many its promises are. `check` is called for every chunk and may raise. Raise OSError.
    """
    promises = [promise for promise in promises if promise.algorithm in _ALGORITHMS]
    digests: dict[tuple[int, int | None], dict[str, bytes]] = {}
    for start, end in {(promise.start, promise.end) for promise in promises}:
        wanted = {promise.algorithm for promise in promises if (promise.start, promise.end) == (start, end)}
        digests[start, end] = _digests(body, start, end, wanted, check)
    return next((p for p in promises if digests[p.start, p.end][p.algorithm] != p.value), None)


def _digests(
    body: Readable, start: int, end: int | None, algorithms: Collection[str], check: Callable[[], None]
) -> dict[str, bytes]:
    sums = {algorithm: _ALGORITHMS[algorithm].begin() for algorithm in algorithms}
    left = sys.maxsize if end is None else end - start + 1
    with body.open("rb") as file:
        file.seek(start)
        while chunk := file.read(min(_CHUNK, left)):
            check()
            for total in sums.values():
                total.update(chunk)
            left -= len(chunk)
    return {algorithm: total.digest() for algorithm, total in sums.items()}


class _Sum(Protocol):
    """A digest in the making."""

    def update(self, data: bytes, /) -> object: ...
    def digest(self) -> bytes: ...


class _Checksum:
    """The sum of a function that goes on from its last value; the digest has the highest byte first."""

    def __init__(self, function: Callable[[bytes, int], int], first: int, size: int) -> None:
        self._function = function
        self._value = first
        self._size = size

    def update(self, data: bytes, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def _crc(model: str, size: int) -> _Sum:
    import anycrc  # type: ignore[import-untyped]  # it ships no types

    return _Checksum(anycrc.Model(model).calc, 0, size)


def _xxhash(name: str) -> _Sum:
    import xxhash

    total: _Sum = getattr(xxhash, name)()
    return total


class _Algorithm(NamedTuple):
    size: int  # of a digest, in bytes
    begin: Callable[[], _Sum]


def _algorithm(size: int, begin: Callable[..., _Sum], *arguments: object, **options: object) -> _Algorithm:
    return _Algorithm(size, functools.partial(begin, *arguments, **options))


_ALGORITHMS = {
    "SHA-512": _algorithm(64, hashlib.new, "sha512"),
    "SHA-256": _algorithm(32, hashlib.new, "sha256"),
    "SHA-1": _algorithm(20, hashlib.new, "sha1", usedforsecurity=False),
    "MD5": _algorithm(16, hashlib.new, "md5", usedforsecurity=False),
    "XXH3-128": _algorithm(16, _xxhash, "xxh3_128"),
    "XXH3-64": _algorithm(8, _xxhash, "xxh3_64"),
    "XXH64": _algorithm(8, _xxhash, "xxh64"),
    "CRC-64/NVME": _algorithm(8, _crc, "CRC64-NVME", 8),
    "CRC-32C": _algorithm(4, _crc, "CRC32-ISCSI", 4),
    "CRC-32": _algorithm(4, _Checksum, zlib.crc32, 0, 4),
    "Adler-32": _algorithm(4, _Checksum, zlib.adler32, 1, 4),
}

# What fields call them: the registries of RFC 9530 and RFC 3230, Google, Amazon. No key means two things. Left out are
# unixsum and unixcksum, deprecated and unseen.
_KEYS = {
    "sha-512": "SHA-512",
    "sha512": "SHA-512",
    "sha-256": "SHA-256",
    "sha256": "SHA-256",
    "sha": "SHA-1",
    "sha1": "SHA-1",
    "md5": "MD5",
    "xxhash128": "XXH3-128",
    "xxhash3": "XXH3-64",
    "xxhash64": "XXH64",
    "crc64nvme": "CRC-64/NVME",
    "crc32c": "CRC-32C",
    "crc32": "CRC-32",
    "adler": "Adler-32",
}


def _given(field: str, values: Iterable[tuple[str, str]], start: int = 0, end: int | None = None) -> Iterator[Promise]:
    """Yield the promises among pairs of an algorithm's key and a base64 text."""
    for key, text in values:
        algorithm = _KEYS.get(key)
        value = _decoded(text)
        if algorithm is not None and len(value) == _ALGORITHMS[algorithm].size:
            yield Promise(field, algorithm, value, start, end)


def _amazon(headers: Mapping[str, str]) -> Iterator[Promise]:
    """Yield what S3 promises; the checksum of a COMPOSITE is made of its parts' checksums, older ones end in ``-N``."""
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT":
        for key in _KEYS:
            field = f"x-amz-checksum-{key}"
            yield from _given(field, [(key, headers.get(field, ""))])


def _is_as_stored(headers: Mapping[str, str]) -> bool:
    """Return whether Google sends an object as it is stored: it decompresses for who does not accept gzip."""
    sent = headers.get("content-encoding", "identity")
    return headers.get("x-goog-stored-content-encoding", sent) == sent


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return b""


def _list(text: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of ``key=value, key=value``, the keys in lower case (RFC 3230 §4.3.2)."""
    for pair in text.split(","):
        key, _, value = pair.strip().partition("=")
        yield key.lower(), value


_KEY = r"[a-z*][a-z0-9_.*-]*"
_BYTES = r":([A-Za-z0-9+/=]*):"
_BARE = (
    r"(?:@?-?[0-9]{1,15}(?:\.[0-9]{1,3})?"  # number, date
    r'|%?"(?:[ !#-\[\]-~]|\\["\\])*"'  # string, display string
    r"|[A-Za-z*][\w!#$%&'*+.^`|~:/-]*"  # token
    r"|:[A-Za-z0-9+/=]*:"  # byte sequence
    r"|\?[01])"  # boolean
)
_PARAMETERS = rf"(?:; *{_KEY}(?:={_BARE})?)*"
_ITEM = _BARE + _PARAMETERS
# No two runs of spaces side by side: a server could have them split in all ways there are.
_INNER_LIST = rf"\( *(?:{_ITEM}(?: +{_ITEM})* *)?\)"
_MEMBER = re.compile(
    rf"({_KEY})(?:=(?:{_BYTES}|{_BARE}|{_INNER_LIST}))?{_PARAMETERS}[ \t]*(?:,[ \t]*(?={_KEY})|\Z)", re.ASCII
)


def _dictionary(text: str) -> Iterable[tuple[str, str]]:
    """Return the keys and byte sequences, still base64, of a structured field; none if any of it breaks the grammar.

    Nor of one that is far longer than any that a server has reason to send. The last of equal keys wins; a member of
    another type counts as one without bytes. RFC 9651 §3.2, §4.2.2.
    """
    if len(text) > _LONGEST_FIELD:
        return ()
    text = text.strip(" ")
    members: dict[str, str] = {}
    position = 0
    while position < len(text):
        member = _MEMBER.match(text, position)
        if member is None:
            return ()
        members[member[1]] = member[2] or ""
        position = member.end()
    return members.items()
