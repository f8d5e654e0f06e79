"""A server that answers with given bytes, for what no decent server would send; tests take it as `raw_server`.

`raw_server(answer, ...)` plays one answer to each connection in turn, the last one for ever. An answer is

    bytes                    sent, then the connection is closed (a cut, if they promise more)
    Stall(data)              sent, and then nothing until the test ends
    Reset(data)              sent, and then the connection is reset
    Drip(data, 0.1, 512)     sent slowly: 512 bytes, 0.1 seconds of nothing, 512 bytes, ... (0.1 and 512 are yours)
    Gate(first, rest)        `first` is sent; `rest` once the test has called ``gate.open()``
    a function               called with the request's head, returns one of the above

``server.url`` has no slash at its end, ``server.received`` are the heads of the requests; ``tls=context`` makes it
https. ``gate.wait()`` returns when `first` was sent, so what a test does between `wait` and `open` happens during that
download.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import ssl

_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Stall:
    """An answer that stops after `data` without closing the connection."""

    data: bytes = b""

    def play(self, connection: socket.socket, stopped: threading.Event) -> None:
        connection.sendall(self.data)
        stopped.wait(_PATIENCE * 3)


@dataclass(frozen=True, slots=True)
class Reset:
    """An answer that ends in a reset of the connection."""

    data: bytes = b""

    def play(self, connection: socket.socket, _stopped: threading.Event) -> None:
        connection.sendall(self.data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass(frozen=True, slots=True)
class Drip:
    """An answer that is sent `chunk` bytes at a time."""

    data: bytes
    seconds_between: float
    chunk: int

    def play(self, connection: socket.socket, stopped: threading.Event) -> None:
        for start in range(0, len(self.data), self.chunk):
            if start and stopped.wait(self.seconds_between):
                return
            connection.sendall(self.data[start : start + self.chunk])


class Gate:
    """An answer whose `rest` waits for the test; once open, it stays open."""

    def __init__(self, first: bytes, rest: bytes) -> None:
        self._first = first
        self._rest = rest
        self._reached = threading.Event()
        self._opened = threading.Event()

    def wait(self) -> None:
        """Wait until a client has been sent the first part."""
        if not self._reached.wait(_PATIENCE):
            pytest.fail("no request has reached the gate")

    def open(self) -> None:
        """Let the rest go."""
        self._opened.set()

    def play(self, connection: socket.socket, stopped: threading.Event) -> None:
        connection.sendall(self._first)
        self._reached.set()
        while not stopped.is_set():
            if self._opened.wait(0.05):
                connection.sendall(self._rest)
                return


Answer = bytes | Stall | Reset | Drip | Gate
Answers = Answer | Callable[[bytes], Answer]


class RawServer:
    """Plays one answer to each connection in turn, the last one for ever; with `tls`, over https."""

    def __init__(self, *answers: Answers, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[bytes] = []
        self._tls = tls
        self._answers = [*answers]
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        """Close the port and every connection; more than once does no harm."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            thread = threading.Thread(target=self._play, args=(connection, answer))
            self._threads.append(thread)
            thread.start()

    def _play(self, connection: socket.socket, answer: Answers) -> None:
        with connection:
            try:
                head = _head(connection)
                if not head:
                    return  # its client was killed before it could ask
                self.received.append(head)
                said = answer(head) if callable(answer) else answer
                if isinstance(said, bytes):
                    connection.sendall(said)
                else:
                    said.play(connection, self._stopped)
            except OSError:
                return  # the client went away first


def _head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(65536)
        if not part:
            break
        head += part
    return head
