"""A server that may answer anything, for tests/test_fuzz_servers.py; everything it does follows from a seed.

A `Case` is one track: the `State`s that its file goes through, and a script of `Move`s, one for each request. A move is an
honest answer for the state of that moment, told with one `lie` and one `ending`. Lies are such that a client can find
them out: two states never share a strong validator, flipped bytes come with the digest of the right ones, and what is cut
without a word of its length is cut where audio tells it. So nothing but the bytes of the states may ever be believed.
When the script is over, the server is honest for good, with the last state.
"""

from __future__ import annotations

import gzip
import hashlib
import random
import re
import socket
import socketserver
import threading
import time
from base64 import b64encode
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Lie = Callable[["Message", "Scene"], None]

STALL = 0.4  # seconds: what the client's stall_timeout should be
_LONG_AGO = ("Mon, 04 Mar 2019 10:00:00 GMT", "Tue, 05 Mar 2019 10:00:00 GMT", "Wed, 06 Mar 2019 10:00:00 GMT")
_NOISE = (
    'Content-Disposition: attachment; filename="../../../../etc/passwd"',
    'Content-Disposition: attachment; filename*=UTF-8\'\'%2e%2e%2f%00%0a.flac; filename="a\\"b\r\n\tc"',
    "Content-Disposition: attachment; filename*=x-no'such'%ff; filename*0*=\xff",
    "Content-Type: text/html",
    "Content-Type: audio/flac; charset=\xff; boundary=",
    "Retry-After: 0",
    "Retry-After: -1",
    "Retry-After: 99999999999999999999",
    "Retry-After: Fri, 31 Feb 2000 99:99:99 GMT",
    "Retry-After: \xff",
    "Set-Cookie: id=1; Domain=.com; Path=/",
    "Accept-Ranges: none",
    "Vary: *",
    "Repr-Digest: sha-256=:AAAA:, unixsum=:AA==:",
    "Repr-Digest: sha-256=::, , ,",
    "Content-MD5: \xe9",
    "x-goog-hash: crc32c=,md5=",
    "x-amz-checksum-crc32: AAAAAA==-3",
    "Content-Range: bytes 0-0/1",
    "X-Empty:",
)


@dataclass(frozen=True, slots=True)
class State:
    """One state of a file, and what an honest server says of it."""

    data: bytes = field(repr=False)
    etag: str
    modified: str


@dataclass(frozen=True, slots=True)
class Move:
    """One answer; whatever else is random in it follows from its own `seed`."""

    state: int
    lie: str
    framing: str
    ending: str
    alive: bool
    noise: tuple[str, ...]
    seed: int


@dataclass(slots=True)
class Message:
    """An answer in the making. `raw` replaces everything; a Content-Length among `rows` is sent as it is."""

    status: int
    rows: list[tuple[str, str]]
    body: bytes
    framing: str
    line: str = ""
    raw: bytes | None = None
    behind: bytes = b""

    def row(self, name: str, value: str) -> None:
        """Replace a field."""
        self.rows = [row for row in self.rows if row[0].lower() != name.lower()] + [(name, value)]

    def encoded(self) -> bytes:
        """Return the bytes on the wire."""
        if self.raw is not None:
            return self.raw
        line = self.line or f"HTTP/1.1 {self.status} Whatever"
        rows, body = list(self.rows), self.body
        if self.framing == "chunked":
            rows.append(("Transfer-Encoding", "chunked"))
            body = chunked(body)
        elif self.framing == "length" and "content-length" not in {name.lower() for name, _ in rows}:
            rows.append(("Content-Length", str(len(body))))
        head = "".join(f"{text}\r\n" for text in (line, *(f"{name}: {value}" for name, value in rows)))
        return head.encode("latin-1", "replace") + b"\r\n" + body


@dataclass(frozen=True, slots=True)
class Scene:
    """What a lie may look at."""

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


def honest(state: State, request: Mapping[str, str], framing: str) -> Message:
    """Return what a good server answers (RFC 9110 §13, §14)."""
    rows = [(name, value) for name, value in (("ETag", state.etag), ("Last-Modified", state.modified)) if value]
    if _is_known(state, request):
        return Message(304, rows, b"", "none")
    start = _start(state, request)
    if start is None:
        return Message(200, rows, state.data, framing)
    size = len(state.data)
    if start >= size:
        return Message(416, [("Content-Range", f"bytes */{size}")], b"", "length")
    return Message(206, [*rows, ("Content-Range", f"bytes {start}-{size - 1}/{size}")], state.data[start:], framing)


def _is_known(state: State, request: Mapping[str, str]) -> bool:
    if "if-none-match" in request:
        known = [_opaque(tag) for tag in request["if-none-match"].split(",")]
        return bool(state.etag) and (_opaque(state.etag) in known or "*" in known)
    return bool(state.modified) and request.get("if-modified-since") == state.modified


def _start(state: State, request: Mapping[str, str]) -> int | None:
    """Return from where on the bytes are asked for, None when all of them are to be sent."""
    asked = re.fullmatch(r"bytes=(\d+)-", request.get("range", ""))
    condition = request.get("if-range")
    strong = {state.etag, state.modified} if not state.etag.startswith("W/") else {state.modified}
    return int(asked[1]) if asked and (condition is None or condition in strong - {""}) else None


def _opaque(tag: str) -> str:
    return tag.strip().removeprefix("W/").strip('"')


# Lies


def _set(**changes: object) -> Lie:
    def lie(message: Message, scene: Scene) -> None:
        for name, value in changes.items():
            setattr(message, name, value(message, scene) if callable(value) else value)

    return lie


def _deaf(message: Message, scene: Scene) -> None:
    """Answer as if nothing but the URL had been asked."""
    message.status, message.body = 200, scene.state.data
    message.framing = message.framing if message.framing != "none" else "length"
    message.rows = [row for row in message.rows if row[0] != "Content-Range"]


def _careless(message: Message, scene: Scene) -> None:
    """Answer a range whatever If-Range says, as many servers do."""
    request = {name: value for name, value in scene.request.items() if name != "if-range"}
    told = honest(scene.state, request, message.framing)
    message.status, message.rows, message.body, message.framing = told.status, told.rows, told.body, told.framing


def _ranged(*, status: int = 206, moved: int = 0, total: int = 0, text: str = "") -> Lie:
    """Return the lie of a range that is not the one asked for: from elsewhere, of another total, or no range at all."""

    def lie(message: Message, scene: Scene) -> None:
        size, asked = len(scene.state.data), re.findall(r"\d+", scene.request.get("range", "0"))
        start = min(max(0, int(asked[0]) + moved * scene.rng.randint(1, 3000)), size - 1)
        message.status, message.body = status, scene.state.data[start:]
        message.framing = message.framing if message.framing != "none" else "length"
        message.row("Content-Range", text or f"bytes {start}-{size - 1}/{size + total * scene.rng.randint(1, 3000)}")

    return lie


def _beyond_its_range(message: Message, scene: Scene) -> None:
    """Send more than the range that is announced: its first bytes, then some of nobody's."""
    _careless(message, scene)
    if message.status == 206 and len(message.body) > 8:
        start, size = len(scene.state.data) - len(message.body), len(scene.state.data)
        kept = scene.rng.randrange(1, len(message.body))
        message.row("Content-Range", f"bytes {start}-{start + kept - 1}/{size}")
        message.body = message.body[:kept] + bytes(byte ^ 0x5A for byte in message.body[kept:])
        message.framing = scene.rng.choice(["chunked", "close"])


def _short_range(message: Message, scene: Scene) -> None:
    """Send less than was asked for, and say so."""
    _careless(message, scene)
    if message.status == 206:
        start, size = len(scene.state.data) - len(message.body), len(scene.state.data)
        kept = scene.rng.randrange(1, len(message.body) + 1)
        message.row("Content-Range", f"bytes {start}-{start + kept - 1}/{size}")
        message.body = message.body[:kept]


def _foreign_rest(message: Message, scene: Scene) -> None:
    """Go on with the bytes of another state, but say whose they are."""
    _ranged()(message, replace(scene, state=scene.other))
    message.row("ETag", scene.other.etag or '"foreign"')
    message.row("Last-Modified", scene.other.modified or _LONG_AGO[2])


def _not_modified(etag: str) -> Lie:
    def lie(message: Message, scene: Scene) -> None:
        message.status, message.body, message.framing = 304, b"", "none"
        names = {"": "", "other": scene.other.etag, "new": '"nobody-knows"'}
        message.rows = [("ETag", names[etag])] if names[etag] else []

    return lie


def _not_modified_with_body(message: Message, scene: Scene) -> None:
    _not_modified("")(message, scene)
    message.rows.append(("ETag", scene.state.etag or '"new"'))
    message.behind = _ok(b"{}")


_FIELDS: Mapping[str, Callable[[bytes, bytes], str]] = {
    "Repr-Digest": lambda whole, _: f"sha-256=:{_sha256(whole)}:",
    "Content-Digest": lambda _, part: f"crc32c=:AAAAAA==:, sha-256=:{_sha256(part)}:".removeprefix(
        "crc32c=:AAAAAA==:, "
    ),
    "x-goog-hash": lambda whole, _: f"md5={b64encode(hashlib.md5(whole).digest()).decode()}",
    "x-amz-checksum-sha256": lambda whole, _: _sha256(whole),
    "Content-MD5": lambda whole, _: b64encode(hashlib.md5(whole).digest()).decode(),
    "Digest": lambda whole, _: f"SHA-256={_sha256(whole)}",
}
_ON_PARTS = ("Repr-Digest", "Content-Digest", "x-goog-hash")


def _flipped(message: Message, scene: Scene) -> None:
    """Change a byte, and promise the right ones."""
    if message.status not in {200, 206}:
        return
    field_name = scene.rng.choice([*_FIELDS] if message.status == 200 else _ON_PARTS)
    message.row(field_name, _FIELDS[field_name](scene.state.data, message.body))
    place = scene.rng.randrange(len(message.body))
    message.body = message.body[:place] + bytes([message.body[place] ^ 0x41]) + message.body[place + 1 :]


def _wrong_digest(message: Message, scene: Scene) -> None:
    field_name = scene.rng.choice([*_FIELDS])
    message.row(field_name, _FIELDS[field_name](b"other", b"other"))


def _sha256(data: bytes) -> str:
    return b64encode(hashlib.sha256(data).digest()).decode()


def _compressed(message: Message, scene: Scene) -> None:
    coding = scene.rng.choice(["gzip", "x-gzip", "GZIP", "br", "deflate", "identity, gzip", "zstd", "nonsense"])
    message.row("Content-Encoding", coding)
    message.body = gzip.compress(message.body, 1) if scene.rng.random() < 0.7 else message.body


def _too_short(message: Message, scene: Scene) -> None:
    """Announce less than there is: the client must see that it is no whole file."""
    if message.status == 200:
        message.row("Content-Length", str(telling_cut(scene.rng, message.body)))
        message.framing = "length"


def _length(text: Callable[[int], str]) -> Lie:
    def lie(message: Message, scene: Scene) -> None:
        message.framing = "length"
        message.row("Content-Length", text(len(message.body)))

    return lie


def _two_lengths(message: Message, scene: Scene) -> None:
    size = len(message.body)
    second = scene.rng.choice([size, 5, size + 1, -1])
    message.rows += [("Content-Length", str(size)), ("Content-Length", str(second))]


def _length_and_chunks(message: Message, scene: Scene) -> None:
    message.row("Content-Length", str(scene.rng.choice([5, len(message.body), 10**9])))
    message.framing = "chunked"


def _ok(body: bytes, *rows: str) -> bytes:
    head = "\r\n".join(("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *rows))
    return head.encode("latin-1") + b"\r\n\r\n" + body


def _instead(*bodies: bytes) -> Lie:
    """Return the lie of a good status with something else than audio."""

    def lie(message: Message, scene: Scene) -> None:
        message.status, message.body = 200, scene.rng.choice(bodies)
        message.framing = message.framing if message.framing != "none" else "length"

    return lie


def _random_bytes(message: Message, scene: Scene) -> None:
    message.status, message.framing = 200, "length"
    message.body = b"\x01" + scene.rng.randbytes(scene.rng.choice([1, 100, 5000]))


def _refusal(message: Message, scene: Scene) -> None:
    message.status = scene.rng.choice(
        [*range(400, 420), *range(500, 512), 201, 202, 203, 204, 205, 207, 226, 300, 999, 101]
    )
    message.body = scene.rng.choice([b"", b"<html>no</html>", b'{"error": "no"}', scene.state.data])
    message.framing = message.framing if message.framing != "none" else "length"


def _redirect(message: Message, scene: Scene) -> None:
    message.status = scene.rng.choice([301, 302, 303, 307, 308])
    message.body, message.framing = b"moved", "length"
    message.row("Location", scene.rng.choice(scene.places))


def _mutated_head(message: Message, scene: Scene) -> None:
    """Change a few bytes of the fields, never of the status."""
    wire = message.encoded()
    line, _, rest = wire.partition(b"\r\n")
    fields, gap, body = rest.partition(b"\r\n\r\n")
    if not message.rows:
        return
    changed = bytearray(fields)
    for _ in range(scene.rng.randint(1, 4)):
        place = scene.rng.randrange(len(changed) + 1)
        act = scene.rng.choice(["put", "drop", "flip"])
        if act == "put":
            changed[place:place] = bytes([scene.rng.randrange(256)])
        elif act == "drop":
            del changed[place : place + scene.rng.randint(1, 8)]
        elif changed:
            changed[place % len(changed)] ^= 1 << scene.rng.randrange(8)
    message.raw = line + b"\r\n" + bytes(changed) + gap + body


def _broken_chunks(message: Message, scene: Scene) -> None:
    body = message.body or b"x" * 20
    good = b"%x\r\n%s\r\n" % (len(body), body)
    broken = [
        b"zz\r\n" + body,
        b"-5\r\n" + body,
        b"fffffffffffffffffffffff\r\n" + body,
        b"%x\r\n" % (len(body) + 7) + body + b"\r\n0\r\n\r\n",
        b"%x\r\n" % max(1, len(body) - 7) + body + b"\r\n0\r\n\r\n",
        good,
        good + b"0\r\n",
        good + b'0\r\nETag: "trailer"\r\nContent-Length: 3\r\n\r\n',
        b"%x;%s\r\n%s\r\n0\r\n\r\n" % (len(body), b"e" * 60_000, body),
        b"0\r\n\r\n" + good,
        good.replace(b"\r\n", b"\n", 1) + b"0\r\n\r\n",
    ]
    message.framing = "none"
    message.row("Transfer-Encoding", scene.rng.choice(["chunked", "chunked", "Chunked", "gzip, chunked", "identity"]))
    message.body = scene.rng.choice(broken)


def _no_http(message: Message, scene: Scene) -> None:
    wire = message.encoded()
    head, gap, body = wire.partition(b"\r\n\r\n")
    message.raw = scene.rng.choice(
        [
            b"",
            b"\r\n\r\n",
            scene.state.data,
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 200\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 OK 200\r\n\r\n",
            b"HTTP/1.1 000 Zero\r\n\r\n",
            b"HTTP/9.9 200 OK\r\n\r\n",
            b"ICY 200 OK\r\n\r\n" + scene.state.data,
            b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nNo colon here\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n: nameless\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX : space\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n folded: first\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
            (head + gap).replace(b"\r\n", b"\n") + body,
            (head + gap).replace(b"\r\n", b"\r") + body,
            wire.replace(b"HTTP/1.1", b"HTTP/1.0", 1),
            b"\r\n" + wire,
        ]
    )


def _informed(message: Message, scene: Scene) -> None:
    early = b"HTTP/1.1 %d Soon\r\nLink: <x>\r\n\r\n" % scene.rng.choice([100, 102, 103, 199])
    message.raw = early * scene.rng.choice([1, 3, 500]) + message.encoded()


def _surplus(message: Message, scene: Scene) -> None:
    """Send more behind a whole answer: what comes next on the connection must not be taken for an answer."""
    message.framing = "length" if message.framing == "close" else message.framing
    message.behind = scene.rng.choice([b"\r\n", b"junk", _ok(b"{}")])


LIES: Mapping[str, Lie] = {
    "none": _set(),
    "deaf": _deaf,
    "careless": _careless,
    "range from elsewhere": _ranged(moved=1),
    "range from before": _ranged(moved=-1),
    "range of another total": _ranged(total=1),
    "unasked 206": _ranged(),
    "range of items": _ranged(text="items 0-5/6"),
    "range of stars": _ranged(text="bytes 5-*/*"),
    "range without total": _ranged(text="bytes 0-5/*"),
    "backward range": _ranged(text="bytes 9-5/100"),
    "no range": _ranged(text=" "),
    "beyond its range": _beyond_its_range,
    "short range": _short_range,
    "foreign rest": _foreign_rest,
    "unasked 416": _set(status=416, body=b"", framing="length"),
    "bare 304": _not_modified(""),
    "other 304": _not_modified("other"),
    "new 304": _not_modified("new"),
    "304 with a body": _not_modified_with_body,
    "flipped": _flipped,
    "wrong digest": _wrong_digest,
    "compressed": _compressed,
    "too short": _too_short,
    "too long": _length(lambda size: str(size + 100)),
    "negative length": _length(lambda size: str(-size)),
    "huge length": _length(lambda _: "9" * 18),
    "endless length": _length(lambda _: "9" * 5000),
    "signed length": _length(lambda size: f"+{size}"),
    "hex length": _length(lambda size: f"0x{size:x}"),
    "two lengths": _two_lengths,
    "length and chunks": _length_and_chunks,
    "page": _instead(b"<!doctype html><title>Sign in</title>", b"<html>" + b" " * 5000, b"\xef\xbb\xbf<HTML>"),
    "document": _instead(
        b'{"error": {"status": 401}}', b"[]", b'"' * 999, b"#EXTM3U\nhttp://x/y\n", b"PK\x03\x04" * 99
    ),
    "envelope": _instead(
        b'{"subsonic-response":{"status":"failed","error":{"code":40}}}',
        b'<?xml version="1.0"?><subsonic-response status="failed"><error code="70"/></subsonic-response>',
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        b"<" * 3000,
    ),
    "nothing": _instead(b""),
    "random bytes": _random_bytes,
    "refusal": _refusal,
    "redirect": _redirect,
    "mutated head": _mutated_head,
    "broken chunks": _broken_chunks,
    "no http": _no_http,
    "informed": _informed,
    "surplus": _surplus,
}
_COMMON_LIES = ("none",) * 16 + ("deaf", "careless", "careless", "flipped", "short range", "foreign rest", "surplus")


def telling_cut(rng: random.Random, data: bytes) -> int:
    """Return a place in audio where a cut is seen; MP3 has a last frame that nobody misses."""
    return rng.randrange(max(1, len(data) - 2000))


# Cases


@dataclass(slots=True)
class Case:
    """One track, all that its server will do, and what was asked so far."""

    number: int
    seed: int
    states: Sequence[State]
    moves: Sequence[Move]
    kind: str
    log: list[str] = field(default_factory=list)
    answered: int = 0
    first_asked: float | None = None

    @property
    def final(self) -> State:
        """Return the state that stays."""
        return self.states[self.moves[-1].state]

    def next_move(self) -> Move:
        """Return the answer to the next request."""
        if self.answered < len(self.moves):
            return self.moves[self.answered]
        return replace(self.moves[-1], lie="none", framing="length", ending="whole", noise=())

    def provider_version(self) -> str:
        """Return what the service's document calls the bytes of now."""
        return f"v{self.next_move().state}"

    def __str__(self) -> str:
        states = ", ".join(f"{len(state.data)} bytes {state.etag} {state.modified}" for state in self.states)
        said = "".join(f"\n    {line}" for line in self.log)
        return f"case {self.number} of seed {self.seed} ({self.kind}; {states}){said}"


def make_case(seed: int, number: int, files: Sequence[bytes]) -> Case:
    """Return the case `number` of a seed; `files` are audio files."""
    rng = random.Random(f"{seed} {number}")
    kind = rng.choice(["url", "template", "document"])
    states = _states(rng, number, files)
    moves, state = [], 0
    for _ in range(rng.randint(1, 6)):
        state = rng.randrange(len(states)) if rng.random() < 0.3 else state
        lie = rng.choice(_COMMON_LIES) if rng.random() < 0.6 else rng.choice([*LIES])
        framing = rng.choice(["length", "length", "length", "chunked", "close"])
        ending = rng.choice(["whole", "whole", "cut", "cut", "stall", "drip"]) if rng.random() < 0.8 else "cut"
        noise = tuple(rng.sample(_NOISE, rng.choice([0, 0, 0, 1, 3])))
        moves.append(Move(state, lie, framing, ending, rng.random() < 0.7, noise, rng.getrandbits(32)))
    return Case(number, seed, states, moves, kind)


def _states(rng: random.Random, number: int, files: Sequence[bytes]) -> list[State]:
    chosen = rng.sample(files, 2)
    if rng.random() < 0.4:
        chosen = [twin_wave(rng, 4000), twin_wave(rng, 4000)]  # of one length
    kinds = ['"{}"', '"{}"', '"{}"', "{}", 'W/"{}"', '"{}-gzip"', '"{}-3"', "", "", '""', '"{}, x"', '"\xe9{}"']
    form = rng.choice(kinds)
    dated = rng.choice(["", "long ago", "just now"])
    now = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    return [
        State(data, form.format(f"{number}-{place}"), {"": "", "long ago": _LONG_AGO[place], "just now": now}[dated])
        for place, data in enumerate(chosen)
    ]


def twin_wave(rng: random.Random, size: int) -> bytes:
    """Return a WAVE file with `size` bytes of noise."""
    form = b"fmt \x10\0\0\0\1\0\2\0\x44\xac\0\0\x10\xb1\2\0\4\0\x10\0"
    return (
        b"RIFF"
        + (28 + 8 + size).to_bytes(4, "little")
        + b"WAVE"
        + form
        + b"data"
        + size.to_bytes(4, "little")
        + (rng.randbytes(size))
    )


# The server


class OddServer:
    """Plays the moves of its cases, each below ``/NUMBER/``, at two origins: `url` and `elsewhere`."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = {case.number: case for case in cases}
        self._lock = threading.Lock()
        self.stopped = threading.Event()
        self._servers = [_Listener(("127.0.0.1", 0), self) for _ in range(2)]
        self.url, self.elsewhere = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening; connections end by themselves."""
        self.stopped.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def play(self, head: bytes, connection: socket.socket) -> bool:
        """Answer one request; return whether another may follow on the connection."""
        request = _parsed(head)
        number = request["path"].split("/")[1]
        if not number.isdecimal():
            return False
        case = self._cases[int(number)]
        with self._lock:
            if request["path"].endswith("/document"):
                document = f'{{"url": "{self.url}/{case.number}/stream?sig=1", "version": "{case.provider_version()}"}}'
                connection.sendall(_ok(document.encode()))
                return True
            move = case.next_move()
            case.answered += 1
            case.first_asked = case.first_asked or time.monotonic()
        return self._perform(case, move, request, connection)

    def _perform(self, case: Case, move: Move, request: Mapping[str, str], connection: socket.socket) -> bool:
        rng = random.Random(move.seed)
        state, other = case.states[move.state], case.states[1 - move.state]
        message = honest(state, request, move.framing)
        for line in move.noise:
            name, _, value = line.partition(": ")
            if name != "Content-Range" or message.status == 200:
                message.rows.append((name, value))
        if not move.alive:
            message.rows.append(("Connection", "close"))
        LIES[move.lie](message, Scene(rng, request, state, other, _places(self, case)))
        pieces, pause = _ended(rng, message, move)
        if move.ending == "whole":  # at once, since what comes later cannot be told from an answer
            pieces[-1] += message.behind
        asked = {name: request[name] for name in ("range", "if-range", "if-none-match") if name in request}
        sent = f"{sum(map(len, pieces))} bytes sent: {b''.join(pieces).splitlines()[:6]!r:.300}"
        case.log.append(f"{asked} -> {move.lie}, {move.framing}, {move.ending}, state {move.state}; {sent}")
        for piece in pieces[:-1]:
            connection.sendall(piece)
            self.stopped.wait(pause)
        connection.sendall(pieces[-1])
        return move.alive and message.framing != "close" and move.ending not in {"cut", "stall"}


def _ended(rng: random.Random, message: Message, move: Move) -> tuple[list[bytes], float]:
    """Return the pieces of an answer as it is sent, and the pause between them."""
    wire = message.encoded()
    head = wire.find(b"\r\n\r\n") + 4
    if move.ending in {"cut", "stall"}:
        closing = message.framing == "close" or move.lie in {"mutated head", "no http"}
        end = head + telling_cut(rng, wire[head:]) if closing else rng.randrange(len(wire) + 1)
        pieces = [wire[:end]] if move.ending == "cut" else [wire[:end], b""]
        return pieces, STALL * 2
    if move.ending == "drip":
        size = max(1, len(wire) // 5)
        return [wire[start : start + size] for start in range(0, len(wire), size)] or [b""], 0.02
    return [wire], 0.0


def _places(server: OddServer, case: Case) -> list[str]:
    """Return where a redirect may lead."""
    here = f"/{case.number}/stream"
    return [
        f"{here}?hop=1",
        f"{server.url}{here}",
        f"{server.elsewhere}{here}",
        f"//{server.elsewhere.removeprefix('http://')}{here}",
        f"http://user:pass@{server.elsewhere.removeprefix('http://')}{here}",
        "?hop=2",
        "",
        " ",
        "#x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http:///x",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:-1/",
        "http://127.0.0.1:0/",
        "http://\xff.invalid/",
        "http://xn--a/",
        "http://" + "a" * 300 + ".invalid/",
        "http://a..b/",
        "//",
        "\\\\evil\\x",
        "/" + "x" * 70_000,
        "/\xe9 \x7f",
        "http://127.0.0.1:9/%zz%00",
    ]


def _parsed(head: bytes) -> dict[str, str]:
    line, *rows = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, _, value in (row.partition(": ") for row in rows)}
    return fields | {"path": line.split()[1].split("?")[0]}


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], server: OddServer) -> None:
        self.odd = server
        super().__init__(address, _Connection)


class _Connection(socketserver.BaseRequestHandler):
    server: _Listener

    def handle(self) -> None:
        self.request.settimeout(5)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while (head := _head(self.request)) and self.server.odd.play(head, self.request):
                pass
        except OSError:
            return  # the client went away first


def _head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(65536)
        if not part:
            return b""
        head += part
    return head
