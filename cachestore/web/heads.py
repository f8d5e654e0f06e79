"""Heads of requests and answers, as HTTP/1.1 writes them (RFC 9112). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable

Fields = list[tuple[bytes, bytes]]

LONGEST_HEAD = 100 * 1024  # bytes
# Lines may end without a CR, which some servers forget (§2.2).
END_OF_HEAD = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([0-9]{3})(?: [^\x00\r\n]*)?")
_NAME = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# Neither whitespace but blanks and tabs, nor what is no text (RFC 9110 §5.5); what is not ASCII is opaque.
_VALUE = rb"[^\x00\n\x0b\x0c\r\x7f]*"
_FIELD = re.compile(rb"(" + _NAME + rb"):(" + _VALUE + rb")\r?")
_SENT = re.compile(rb"(?:" + _NAME + rb": " + _VALUE + rb"\r\n)+")
_TARGET = re.compile(rb"[!-~]+")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_BODILESS = frozenset({204, 304})


class Head(NamedTuple):
    """The head of an answer; `is_last` tells that its connection brings no other one."""

    status: int
    fields: Fields
    is_last: bool


class Framing(NamedTuple):
    """How a body ends: after `length` bytes, or in chunks, or, with neither, with its connection."""

    length: int | None
    is_chunked: bool


def request_head(method: bytes, target: bytes, fields: Fields) -> bytes:
    """Return the head of a request without a body. Raise httpx.LocalProtocolError for what cannot be sent."""
    rows = b"".join([b"%b: %b\r\n" % field for field in fields])
    if not _TARGET.fullmatch(target) or not _SENT.fullmatch(rows) or rows.count(b"\n") != len(fields):
        raise httpx.LocalProtocolError("no request can be made of this")
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, rows)


def parse_head(text: bytes) -> Head:
    """Return what a head says, which is `text` up to its empty line. Raise httpx.RemoteProtocolError."""
    first, _, rest = text.partition(b"\n")
    match = _STATUS_LINE.fullmatch(first.removesuffix(b"\r"))
    if match is None:
        raise httpx.RemoteProtocolError("the first line is no status")
    fields = parse_fields(rest)
    said = _listed(fields, b"connection")
    return Head(int(match[2]), fields, match[1] == b"0" or b"close" in said)


def parse_fields(text: bytes) -> Fields:
    """Return the fields in `text`, one a line. Raise httpx.RemoteProtocolError.

    A line that goes on in the next one is put together (§5.2).
    """
    if not text:
        return []
    if text[:1] in {b" ", b"\t"}:
        raise httpx.RemoteProtocolError("there is no line that this one goes on from")
    if b"\n " in text or b"\n\t" in text:
        text = _FOLD.sub(b" ", text)
    fields = []
    for line in text.split(b"\n"):
        match = _FIELD.fullmatch(line)
        if match is None:
            raise httpx.RemoteProtocolError("a line is no field")
        fields.append((match[1], match[2].strip(b" \t")))
    return fields


def framing_of(head: Head) -> Framing:
    """Return how the body ends that follows the answer to a GET (§6.3). Raise httpx.RemoteProtocolError.

    A length that is said several times, and always the same, is left in the fields once.
    """
    codings = _listed(head.fields, b"transfer-encoding")
    length = _length_of(head.fields)
    if head.status < 200 or head.status in _BODILESS:
        return Framing(0, is_chunked=False)
    if not codings:
        return Framing(length, is_chunked=False)
    if codings != [b"chunked"]:
        raise httpx.RemoteProtocolError("it has a transfer coding that was not asked for")
    return Framing(None, is_chunked=True)


def is_ambiguous(head: Head) -> bool:
    """Return whether somebody else may see another end of the body than `framing_of` (§6.1, §6.3)."""
    names = {name.lower() for name, _ in head.fields}
    return {b"transfer-encoding", b"content-length"} <= names


def _length_of(fields: Fields) -> int | None:
    said = _listed(fields, b"content-length")
    if not said:
        return None
    if len({*said}) > 1 or not _LENGTH.fullmatch(said[0]):
        raise httpx.RemoteProtocolError("it does not say how long it is")
    if len(said) > 1:
        fields[:] = [row for row in fields if row[0].lower() != b"content-length"] + [(b"Content-Length", said[0])]
    return int(said[0])


def _listed(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return the members of a list field, in lower case."""
    rows = [value for key, value in fields if key.lower() == name]
    return [member.strip().lower() for row in rows for member in row.split(b",")] if rows else []
