"""A music cloud on this machine: tracks over real HTTP, behind a token, on a free loopback port.

It answers as a good music API does to who asks for whole tracks: strong ETags, 304, 401; its URLs have a query and no
file extension, and its Content-Type says nothing about the audio.
"""

from __future__ import annotations

import hashlib
import re
import socket
import sys
import threading
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATH = re.compile(r"/api/tracks/([^/]+)/stream")
_WRITES_A_SECOND = 20  # of a throttled answer


class MusicOrigin:
    """Serve `tracks` (id -> bytes) to requests that bear `token`, until the context is left.

    `rate` limits each answer, in bytes a second. `answers` counts the statuses that were sent.
    """

    def __init__(self, tracks: Mapping[str, bytes], *, token: str, rate: int | None = None) -> None:
        self.answers: Counter[int] = Counter()
        self._server = _Server(tracks, self.answers, token, rate)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="demo origin")

    @property
    def url(self) -> str:
        """Return the stream URL of a track, with ``{id}`` in place of its id."""
        return f"http://127.0.0.1:{self._server.server_port}/api/tracks/{{id}}/stream?quality=original"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Join every thread on close, and so first hang up on clients that keep their connection open."""

    daemon_threads = False

    def __init__(self, tracks: Mapping[str, bytes], answers: Counter[int], token: str, rate: int | None) -> None:
        self.tracks = tracks
        self.token = token
        self.rate = rate
        self.closing = threading.Event()
        self._answers = answers
        self._counting = threading.Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def count(self, status: int) -> None:
        with self._counting:
            self._answers[status] += 1

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - socketserver's signature
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        # A client that leaves in the middle of an answer is no error of the server.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        self.closing.set()
        for connection in list(self._connections):
            with suppress(OSError):  # the client may be gone already
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes, which Nagle's algorithm would send 40 ms apart.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._answer(401, {"WWW-Authenticate": "Bearer"}, b"a token is needed\n")
            return
        match = _PATH.fullmatch(urlsplit(self.path).path)
        audio = self.server.tracks.get(unquote(match[1])) if match else None
        if audio is None:
            self._answer(404, {}, b"no such track\n")
            return
        headers = {"ETag": f'"{hashlib.sha256(audio).hexdigest()[:32]}"', "Content-Type": "application/octet-stream"}
        if _lists(self.headers.get("If-None-Match", ""), headers["ETag"]):
            self._answer(304, headers)
        else:
            self._answer(200, headers, audio)

    def log_message(self, *_: object) -> None:
        """Log nothing: stderr belongs to the progress of the demo."""

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.server.count(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._send(body)

    def _send(self, body: bytes) -> None:
        rate = self.server.rate
        step = rate // _WRITES_A_SECOND if rate else len(body)
        for start in range(0, len(body), step or 1):
            if rate and self.server.closing.wait(1 / _WRITES_A_SECOND):
                raise ConnectionAbortedError
            self.wfile.write(body[start : start + step])


def _lists(if_none_match: str, etag: str) -> bool:
    """Return whether an If-None-Match field names `etag`, by weak comparison (RFC 9110 §13.1.2)."""
    listed = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return not listed.isdisjoint({etag, "*"})
