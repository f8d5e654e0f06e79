"""Servers that may answer anything, for tests/test_fuzz_servers.py; all that they do follows from a seed.

A `Case` is one track: the `State`s that its file goes through, and a script of `Move`s, one for each request. A move is
an honest answer for the state of that moment, told with one lie (tests/odd_lies.py) and one ending. Two states never
share a strong validator, and what is cut without a word of its length is cut where audio tells it. When the script is
over, the server is honest for good, with the last state.
"""

from __future__ import annotations

import json
import random
import socket
import socketserver
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.library import make_wave
from tests.odd_answers import Scene, State, honest, ok
from tests.odd_lies import COMMON, LIES, telling_cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.odd_answers import Message

STALL = 0.4  # seconds: what the client's stall_timeout should be
_ETAGS = ('"{}"', '"{}"', '"{}"', "{}", 'W/"{}"', '"{}-gzip"', '"{}-3"', "", "", '""', '"{}, x"', '"\xe9{}"')
_LONG_AGO = ("Mon, 04 Mar 2019 10:00:00 GMT", "Tue, 05 Mar 2019 10:00:00 GMT")
_NOISE = (
    ("Content-Disposition", 'attachment; filename="../../../../etc/passwd"'),
    ("Content-Disposition", 'attachment; filename*=UTF-8\'\'%2e%2e%2f%00%0a.flac; filename="a\\"b\r\n\tc"'),
    ("Content-Disposition", "attachment; filename*=x-no'such'%ff; filename*0*=\xff"),
    ("Content-Type", "text/html"),
    ("Content-Type", "audio/flac; charset=\xff; boundary="),
    ("Retry-After", "0"),
    ("Retry-After", "-1"),
    ("Retry-After", "9" * 20),
    ("Retry-After", "Fri, 31 Feb 2000 99:99:99 GMT"),
    ("Retry-After", "\xff"),
    ("Set-Cookie", "id=1; Domain=.com; Path=/"),
    ("Accept-Ranges", "none"),
    ("Vary", "*"),
    ("Repr-Digest", "sha-256=:AAAA:, unixsum=:AA==:"),
    ("Repr-Digest", "sha-256=::, , ,"),
    ("Content-MD5", "\xe9"),
    ("x-goog-hash", "crc32c=,md5="),
    ("x-amz-checksum-crc32", "AAAAAA==-3"),
    ("X-Empty", ""),
)


@dataclass(frozen=True, slots=True)
class Move:
    """One answer; whatever else is random in it follows from its own `seed`."""

    state: int
    lie: str
    framing: str
    ending: str
    alive: bool
    noise: tuple[tuple[str, str], ...]
    seed: int


@dataclass(slots=True)
class Case:
    """One track, all that its server will do, and what was asked so far."""

    number: int
    seed: int
    kind: str
    states: Sequence[State]
    moves: Sequence[Move]
    asked: int = 0
    first_asked: float | None = None
    log: list[str] = field(default_factory=list)

    @property
    def final(self) -> State:
        """Return the state that stays."""
        return self.states[self.moves[-1].state]

    def next_move(self) -> Move:
        """Return the answer to the next request."""
        if self.asked < len(self.moves):
            return self.moves[self.asked]
        return replace(self.moves[-1], lie="none", framing="length", ending="whole", noise=())

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
        lie = rng.choice(COMMON) if rng.random() < 0.6 else rng.choice([*LIES])
        framing = rng.choice(["length", "length", "length", "chunked", "close"])
        ending = rng.choice(["whole", "whole", "cut", "cut", "cut", "stall", "drip"])
        noise = tuple(rng.sample(_NOISE, rng.choice([0, 0, 0, 1, 3])))
        moves.append(Move(state, lie, framing, ending, rng.random() < 0.7, noise, rng.getrandbits(32)))
    return Case(number, seed, kind, states, moves)


def _states(rng: random.Random, number: int, files: Sequence[bytes]) -> list[State]:
    """Return two states, often of one length."""
    twins = [make_wave(4000, f"{number} {rng.random()}") for _ in range(2)]
    form = rng.choice(_ETAGS)
    etags = [form.format(f"{number}-{place}") for place in range(2)]
    if rng.random() < 0.05:
        etags = ["*", '"1"']
    now = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    dates = rng.choice([("", ""), _LONG_AGO, (now, now)])
    files = twins if rng.random() < 0.4 else rng.sample(files, 2)
    return [State(*state) for state in zip(files, etags, dates, strict=True)]


class OddServer:
    """Plays the moves of its cases, each below ``/NUMBER/``, at two origins: `url` and `elsewhere`.

    ``/NUMBER/document`` says where the stream is, and what the service calls the bytes of now.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = {str(case.number): case for case in cases}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._servers = [_Listener(("127.0.0.1", 0), self) for _ in range(2)]
        self.url, self.elsewhere = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening; connections end by themselves."""
        self._stopped.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def answer(self, head: bytes, connection: socket.socket) -> bool:
        """Answer one request; return whether another may follow on the connection."""
        request = _parsed(head)
        _, number, *rest = f"{request['path']}/".split("/")
        case = self._cases.get(number)
        if case is None:
            return False
        with self._lock:
            move = case.next_move()
            if rest[0] != "document":
                case.asked += 1
                case.first_asked = case.first_asked or time.monotonic()
        if rest[0] == "document":
            document = {"url": f"{self.url}/{number}/stream?signature=x", "version": move.state}
            connection.sendall(ok(json.dumps(document).encode()))
            return True
        return self._play(case, move, request, connection)

    def _play(self, case: Case, move: Move, request: Mapping[str, str], connection: socket.socket) -> bool:
        message = self._message(case, move, request)
        pieces = _pieces(random.Random(move.seed), message, move)
        asked = {name: request[name] for name in ("range", "if-range", "if-none-match") if name in request}
        told = f"{sum(map(len, pieces))} bytes: {b''.join(pieces).splitlines()[:6]!r:.300}"
        case.log.append(f"{asked} -> {move.lie}, {move.framing}, {move.ending}, state {move.state}; {told}")
        for piece in pieces[:-1]:
            connection.sendall(piece)
            self._stopped.wait(2 * STALL if move.ending == "stall" else 0.02)
        connection.sendall(pieces[-1])
        return move.alive and message.framing != "close" and move.ending in {"whole", "drip"}

    def _message(self, case: Case, move: Move, request: Mapping[str, str]) -> Message:
        state, other = case.states[move.state], case.states[1 - move.state]
        message = honest(state, request, move.framing)
        message.rows += [*move.noise, *([] if move.alive else [("Connection", "close")])]
        places = _places(f"/{case.number}/stream", self.url, self.elsewhere)
        LIES[move.lie](message, Scene(random.Random(move.seed), request, state, other, places))
        return message


def _pieces(rng: random.Random, message: Message, move: Move) -> list[bytes]:
    """Return an answer as it is sent, with pauses between the pieces."""
    wire = message.encoded()
    head = wire.find(b"\r\n\r\n") + 4
    match move.ending:
        case "cut" | "stall":
            is_untold = message.framing == "close" or message.raw is not None
            end = head + telling_cut(rng, wire[head:]) if is_untold else rng.randint(0, len(wire))
            return [wire[:end]] if move.ending == "cut" else [wire[:end], b""]
        case "drip":
            size = max(1, len(wire) // 5)
            return [wire[start : start + size] for start in range(0, len(wire), size)] or [b""]
    return [wire + message.behind]  # at once, since what comes later cannot be told from an answer


def _places(path: str, here: str, elsewhere: str) -> list[str]:
    """Return where a redirect may lead: to this track, or nowhere."""
    authority = elsewhere.removeprefix("http://")
    relative = [f"{path}?hop=1", "?hop=2", f"//{authority}{path}"]
    good = [*relative, here + path, elsewhere + path, f"http://u:p@{authority}{path}"]
    empty = ["", " ", "#x", "//", "http://", "http:///x", "\\\\evil\\x", "/" + "x" * 70_000, "/\xe9 \x7f"]
    schemes = ["ftp://127.0.0.1/x", "file:///etc/passwd", "javascript:alert(1)", "data:audio/wav,x", "HTTP:x"]
    ports = [f"http://127.0.0.1:{port}/" for port in ("99999", "-1", "0", "x", "9/%zz%00")]
    names = ["[::1", "\xff.invalid", "xn--a", f"{'a' * 300}.invalid", "a..b", "%00", "127.0.0.1%2f.invalid"]
    return [*good, *empty, *schemes, *ports, *(f"http://{name}/" for name in names)]


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
            while (head := _head(self.request)) and self.server.odd.answer(head, self.request):
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
