"""Answers in the making, for tests/odd_lies.py and tests/odd_servers.py: what an honest server says, and its bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class State:
    """One state of a file, and what an honest server calls it; `modified` is an HTTP date, both may be empty."""

    data: bytes = field(repr=False)
    etag: str
    modified: str


@dataclass(slots=True)
class Message:
    """An answer. `framing` is ``length``, ``chunked``, ``close`` or ``none``; a Content-Length of `rows` stays.

    `raw` replaces everything, `behind` is sent behind the end of the answer.
    """

    status: int
    rows: list[tuple[str, str]]
    body: bytes
    framing: str
    raw: bytes | None = None
    behind: bytes = b""

    def row(self, name: str, value: str) -> None:
        """Replace a field."""
        self.rows = [row for row in self.rows if row[0].lower() != name.lower()] + [(name, value)]

    def give_body(self, body: bytes, *, status: int) -> None:
        """Make it an answer with a body."""
        self.status, self.body = status, body
        if self.framing == "none":
            self.framing = "length"

    def encoded(self) -> bytes:
        """Return the bytes on the wire."""
        if self.raw is not None:
            return self.raw
        rows, body = list(self.rows), self.body
        if self.framing == "chunked":
            rows.append(("Transfer-Encoding", "chunked"))
            body = chunked(body)
        elif self.framing == "length" and "content-length" not in {name.lower() for name, _ in rows}:
            rows.append(("Content-Length", str(len(body))))
        lines = [f"HTTP/1.1 {self.status} Whatever", *(f"{name}: {value}" for name, value in rows)]
        return "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace") + b"\r\n" + body


@dataclass(frozen=True, slots=True)
class Scene:
    """What a lie may look at: the request's fields, the states of now and of another time, targets of redirects."""

    rng: random.Random
    request: Mapping[str, str]
    state: State
    other: State
    places: Sequence[str]


def chunked(body: bytes) -> bytes:
    """Return `body` in chunks, whole."""
    size = max(1, len(body) // 3)
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def ok(body: bytes) -> bytes:
    """Return a good answer without any other word."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def honest(state: State, request: Mapping[str, str], framing: str) -> Message:
    """Return what a good server answers (RFC 9110 §13, §14)."""
    rows = [(name, value) for name, value in (("ETag", state.etag), ("Last-Modified", state.modified)) if value]
    if _is_known(state, request):
        return Message(304, rows, b"", "none")
    start, size = _start(state, request), len(state.data)
    if start is None:
        return Message(200, rows, state.data, framing)
    if start >= size:
        return Message(416, [("Content-Range", f"bytes */{size}")], b"", "length")
    return Message(206, [*rows, ("Content-Range", f"bytes {start}-{size - 1}/{size}")], state.data[start:], framing)


def _is_known(state: State, request: Mapping[str, str]) -> bool:
    if "if-none-match" in request:
        known = {_opaque(tag) for tag in request["if-none-match"].split(",")}
        return bool(state.etag) and not known.isdisjoint({_opaque(state.etag), "*"})
    return bool(state.modified) and request.get("if-modified-since") == state.modified


def _start(state: State, request: Mapping[str, str]) -> int | None:
    """Return from where on the bytes are asked for, None when all of them are to be sent."""
    asked = re.fullmatch(r"bytes=(\d+)-", request.get("range", ""))
    condition = request.get("if-range")
    strong = {state.modified, "" if state.etag.startswith("W/") else state.etag} - {""}
    return int(asked[1]) if asked and (condition is None or condition in strong) else None


def _opaque(tag: str) -> str:
    return tag.strip().removeprefix("W/").strip('"')
