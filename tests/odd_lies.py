"""Lies that a server may tell: each turns an honest answer into another one.

A client can find every one of them out: flipped bytes come with the digest of the right ones, a range that is not what
was asked for says so, and what is announced too short is audio that tells its own length. So nothing but the bytes of a
`State` may ever be believed.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.odd_answers import Message, Scene, honest, ok

if TYPE_CHECKING:
    import random

Lie = Callable[[Message, Scene], None]


def telling_cut(rng: random.Random, data: bytes) -> int:
    """Return a place in audio where a cut is seen; MP3 has a last frame that nobody misses."""
    return rng.randrange(max(1, len(data) - 2000))


def _truth(message: Message, scene: Scene) -> None:
    """Leave the answer as it is."""


# Ranges and conditions


def _deaf(message: Message, scene: Scene) -> None:
    """Answer as if nothing but the URL had been asked."""
    message.give_body(scene.state.data, status=200)
    message.rows = [row for row in message.rows if row[0] != "Content-Range"]


def _careless(message: Message, scene: Scene) -> None:
    """Answer a range whatever If-Range says, as many servers do."""
    request = {name: value for name, value in scene.request.items() if name != "if-range"}
    told = honest(scene.state, request, message.framing)
    message.status, message.rows, message.body, message.framing = told.status, told.rows, told.body, told.framing


def _range(*, moved: int = 0, total: int = 0, text: str = "") -> Lie:
    """Return the lie of a range that is not the one asked for: from elsewhere, of another total, or no range at all."""

    def lie(message: Message, scene: Scene) -> None:
        size, asked = len(scene.state.data), re.findall(r"\d+", scene.request.get("range", "0"))
        start = min(max(0, int(asked[0]) + moved * scene.rng.randint(1, 3000)), size - 1)
        message.give_body(scene.state.data[start:], status=206)
        message.row("Content-Range", text or f"bytes {start}-{size - 1}/{size + total * scene.rng.randint(1, 3000)}")

    return lie


def _short_range(message: Message, scene: Scene) -> None:
    """Send less than was asked for, and say so."""
    _careless(message, scene)
    if message.status == 206:
        size = len(scene.state.data)
        start, kept = size - len(message.body), scene.rng.randint(1, len(message.body))
        message.row("Content-Range", f"bytes {start}-{start + kept - 1}/{size}")
        message.body = message.body[:kept]


def _beyond_its_range(message: Message, scene: Scene) -> None:
    """Announce less than is sent: what is beyond it is of nobody."""
    _short_range(message, scene)
    if message.status == 206:
        start = re.findall(r"\d+", dict(message.rows)["Content-Range"])[0]
        rest = scene.state.data[int(start) + len(message.body) :]
        message.body += bytes(byte ^ 0x5A for byte in rest)
        message.framing = scene.rng.choice(["chunked", "close"])


def _foreign_rest(message: Message, scene: Scene) -> None:
    """Go on with the bytes of another state, and say whose they are."""
    _range()(message, replace(scene, state=scene.other))
    message.row("ETag", scene.other.etag or '"foreign"')
    message.row("Last-Modified", scene.other.modified or "Wed, 06 Mar 2019 10:00:00 GMT")


def _unsatisfied(message: Message, scene: Scene) -> None:
    message.status, message.body, message.framing = 416, b"", "length"


def _not_modified(etag: Callable[[Scene], str], behind: bytes = b"") -> Lie:
    def lie(message: Message, scene: Scene) -> None:
        message.status, message.body, message.framing, message.behind = 304, b"", "none", behind
        message.rows = [("ETag", etag(scene))] if etag(scene) else []

    return lie


def _two_etags(message: Message, scene: Scene) -> None:
    message.rows.append(("ETag", scene.rng.choice(['"nobody-knows"', "", 'W/"x"', scene.state.etag])))


# Digests, codings and lengths


_FIELDS: Mapping[str, Callable[[bytes, bytes], str]] = {
    "Repr-Digest": lambda whole, _: f"sha-256=:{_digest('sha256', whole)}:",
    "Content-Digest": lambda _, part: f"sha-512=:{_digest('sha512', part)}:",
    "x-goog-hash": lambda whole, _: f"md5={_digest('md5', whole)}",
    "x-amz-checksum-sha256": lambda whole, _: _digest("sha256", whole),
    "Content-MD5": lambda whole, _: _digest("md5", whole),
    "Digest": lambda whole, _: f"SHA-256={_digest('sha256', whole)}",
}
_OF_PARTS = ("Repr-Digest", "Content-Digest", "x-goog-hash")


def _digest(algorithm: str, data: bytes) -> str:
    return b64encode(hashlib.new(algorithm, data).digest()).decode()


def _flipped(message: Message, scene: Scene) -> None:
    """Change a byte, and promise the right ones."""
    if message.status in {200, 206}:
        name = scene.rng.choice([*_FIELDS] if message.status == 200 else _OF_PARTS)
        message.row(name, _FIELDS[name](scene.state.data, message.body))
        changed = bytearray(message.body)
        changed[scene.rng.randrange(len(changed))] ^= 0x41
        message.body = bytes(changed)


def _wrong_digest(message: Message, scene: Scene) -> None:
    name = scene.rng.choice([*_FIELDS])
    message.row(name, _FIELDS[name](b"other", b"other"))


def _compressed(message: Message, scene: Scene) -> None:
    coding = scene.rng.choice(["gzip", "x-gzip", "GZIP", "br", "deflate", "identity, gzip", "zstd", "nonsense"])
    message.row("Content-Encoding", coding)
    message.body = gzip.compress(message.body, 1) if scene.rng.random() < 0.7 else message.body


def _too_short(message: Message, scene: Scene) -> None:
    if message.status == 200:
        _length(lambda _: str(telling_cut(scene.rng, message.body)))(message, scene)


def _length(text: Callable[[int], str]) -> Lie:
    """Return the lie of a length; `text` makes it of the true one."""

    def lie(message: Message, scene: Scene) -> None:
        message.framing = "length"
        message.row("Content-Length", text(len(message.body)))

    return lie


def _two_lengths(message: Message, scene: Scene) -> None:
    size = len(message.body)
    message.rows += [("Content-Length", str(size)), ("Content-Length", str(scene.rng.choice([size, 5, size + 1, -1])))]


def _length_and_chunks(message: Message, scene: Scene) -> None:
    message.row("Content-Length", str(scene.rng.choice([5, len(message.body), 10**9])))
    message.framing = "chunked"


# Something else


def _instead(*bodies: bytes) -> Lie:
    """Return the lie of a good status with something else than audio."""
    return lambda message, scene: message.give_body(scene.rng.choice(bodies), status=200)


def _random_bytes(message: Message, scene: Scene) -> None:
    message.give_body(b"\x01" + scene.rng.randbytes(scene.rng.choice([1, 100, 5000])), status=200)


def _refusal(message: Message, scene: Scene) -> None:
    others = (101, 201, 202, 203, 204, 205, 207, 226, 300, 999)
    status = scene.rng.choice([*range(400, 420), *range(500, 512), *others])
    message.give_body(scene.rng.choice([b"", b"<html>no</html>", b'{"error": "no"}', scene.state.data]), status=status)


def _redirect(message: Message, scene: Scene) -> None:
    message.give_body(b"moved", status=scene.rng.choice([301, 302, 303, 307, 308]))
    message.row("Location", scene.rng.choice(scene.places))


# Broken HTTP


def _mutated_head(message: Message, scene: Scene) -> None:
    """Change a few bytes of the fields, never of the status."""
    if not message.rows:
        return
    line, _, rest = message.encoded().partition(b"\r\n")
    fields, gap, body = rest.partition(b"\r\n\r\n")
    changed = bytearray(fields)
    for _ in range(scene.rng.randint(1, 4)):
        place = scene.rng.randrange(len(changed))
        match scene.rng.choice(["put", "drop", "flip"]):
            case "put":
                changed[place:place] = scene.rng.randbytes(1)
            case "drop" if len(changed) > 20:
                del changed[place : place + scene.rng.randint(1, 8)]
            case _:
                changed[place] ^= 1 << scene.rng.randrange(8)
    message.raw = line + b"\r\n" + bytes(changed) + gap + body


def _broken_chunks(message: Message, scene: Scene) -> None:
    body = message.body or b"x" * 20
    good = b"%x\r\n%s\r\n" % (len(body), body)
    end = b"0\r\n\r\n"
    broken = [
        *(size + b"\r\n" + body for size in (b"zz", b"-5", b"f" * 23)),
        b"%x\r\n%s\r\n" % (len(body) + 7, body) + end,
        b"%x\r\n%s\r\n" % (max(1, len(body) - 7), body) + end,
        good,
        good + b"0\r\n",
        good + b'0\r\nETag: "trailer"\r\nContent-Length: 3\r\n\r\n',
        b"%x;%s\r\n%s\r\n" % (len(body), b"e" * 60_000, body) + end,
        end + good,
        good.replace(b"\r\n", b"\n", 1) + end,
    ]
    message.framing, message.body = "none", scene.rng.choice(broken)
    message.row("Transfer-Encoding", scene.rng.choice(["chunked", "chunked", "Chunked", "gzip, chunked", "identity"]))


_OK = b"HTTP/1.1 200 OK\r\n"
_ODD_LINES = (b"X: a\0b", b"No colon here", b": nameless", b"X : space", b" folded: first")
_ODD_STATUSES = (b"", b" 200", b" OK 200", b" 000 Zero", b" 99999 Much", b".9 200 OK")
_NO_ANSWERS = (
    b"",
    b"\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n",
    *(b"HTTP/1.1" + status + b"\r\n\r\n" for status in _ODD_STATUSES),
    *(_OK + line + b"\r\n\r\n" for line in _ODD_LINES),
    _OK + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
    _OK + b"X: y\r\n" * 30_000 + b"\r\n",
)


def _no_http(message: Message, scene: Scene) -> None:
    wire = message.encoded()
    head, gap, body = wire.partition(b"\r\n\r\n")
    versions = [
        *_NO_ANSWERS,
        scene.state.data,
        b"ICY 200 OK\r\n\r\n" + scene.state.data,
        (head + gap).replace(b"\r\n", b"\n") + body,
        (head + gap).replace(b"\r\n", b"\r") + body,
        wire.replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        b"\r\n" + wire,
    ]
    message.raw = scene.rng.choice(versions)


def _early_answers(message: Message, scene: Scene) -> None:
    early = b"HTTP/1.1 %d Soon\r\nLink: <x>\r\n\r\n" % scene.rng.choice([100, 102, 103, 199])
    message.raw = early * scene.rng.choice([1, 3, 500]) + message.encoded()


def _surplus(message: Message, scene: Scene) -> None:
    """Send more behind a whole answer, which is none to the next request."""
    message.framing = "length" if message.framing == "close" else message.framing
    message.behind = scene.rng.choice([b"\r\n", b"junk", ok(b"{}")])


_PAGES = (b"<!doctype html><title>Sign in</title>", b"<html>" + b" " * 5000, b"\xef\xbb\xbf<HTML>", b"<" * 3000)
_DOCUMENTS = (b'{"error": {"status": 401}}', b"[]", b'"' * 999, b"#EXTM3U\nhttp://x/y\n", b"PK\x03\x04" * 99)
_ENVELOPES = (
    b'{"subsonic-response":{"status":"failed","error":{"code":40}}}',
    b'<?xml version="1.0"?><subsonic-response status="failed"><error code="70"/></subsonic-response>',
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
)
LIES: Mapping[str, Lie] = {
    "none": _truth,
    "deaf": _deaf,
    "careless": _careless,
    "range from elsewhere": _range(moved=1),
    "range from before": _range(moved=-1),
    "range of another total": _range(total=1),
    "unasked 206": _range(),
    "range of items": _range(text="items 0-5/6"),
    "range of stars": _range(text="bytes 5-*/*"),
    "range without total": _range(text="bytes 0-5/*"),
    "backward range": _range(text="bytes 9-5/100"),
    "no range": _range(text=" "),
    "short range": _short_range,
    "beyond its range": _beyond_its_range,
    "foreign rest": _foreign_rest,
    "unasked 416": _unsatisfied,
    "bare 304": _not_modified(lambda _: ""),
    "304 of another": _not_modified(lambda scene: scene.other.etag),
    "304 of nobody": _not_modified(lambda _: '"nobody-knows"'),
    "304 with a body": _not_modified(lambda scene: scene.state.etag or '"new"', behind=ok(b"{}")),
    "two ETags": _two_etags,
    "flipped": _flipped,
    "wrong digest": _wrong_digest,
    "compressed": _compressed,
    "too short": _too_short,
    "too long": _length(lambda size: str(size + 100)),
    "negative length": _length(lambda size: str(-size)),
    "huge length": _length(lambda _: "9" * 18),
    "endless length": _length(lambda _: "9" * 5000),
    "signed length": _length(lambda size: f"+{size}"),
    "hexadecimal length": _length(lambda size: f"0x{size:x}"),
    "two lengths": _two_lengths,
    "length and chunks": _length_and_chunks,
    "page": _instead(*_PAGES),
    "document": _instead(*_DOCUMENTS),
    "envelope": _instead(*_ENVELOPES),
    "nothing": _instead(b""),
    "random bytes": _random_bytes,
    "refusal": _refusal,
    "redirect": _redirect,
    "mutated head": _mutated_head,
    "broken chunks": _broken_chunks,
    "no HTTP": _no_http,
    "early answers": _early_answers,
    "surplus": _surplus,
}
COMMON = ("none",) * 16 + ("deaf", "careless", "careless", "flipped", "short range", "foreign rest", "surplus")
