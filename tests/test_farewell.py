"""The end of a body that only the end of a TLS connection tells: it has to be said (RFC 9112 §9.8)."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stranger import Stranger

_FRAME = b"\xff\xfb\x90\x00" + bytes(413)
MP3 = _FRAME * 100


class Speaker:
    """An https server that sends half of an MP3 without its length, and says farewell or does not."""

    def __init__(self, context: ssl.SSLContext, *, polite: bool) -> None:
        self.polite = polite
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        socket.create_connection(self._listener.getsockname()).close()  # ends the wait for one
        self._thread.join()

    def _serve(self) -> None:
        with self._listener:
            while not self._stopped.is_set():
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):  # whoever has what it wanted is gone
                    self._speak(connection)

    def _speak(self, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(65536)
            wrapped.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + MP3)
            if self.polite:
                wrapped.unwrap()


@pytest.fixture(params=[True, False])
def speaker(certified: tuple[ssl.SSLContext, Path], request: pytest.FixtureRequest) -> Iterator[Speaker]:
    speaker = Speaker(certified[0], polite=request.param)
    yield speaker
    speaker.stop()


def test_a_connection_that_ends_without_farewell_ends_no_body(
    stranger: Stranger, speaker: Speaker, certified: tuple[ssl.SSLContext, Path]
) -> None:
    stranger.configure(speaker.url)
    stranger.environment["SSL_CERT_FILE"] = str(certified[1])
    stranger.run("fetch", "open:t", code=0 if speaker.polite else 75)
    assert [blob.read_bytes() for blob in stranger.blobs()] == ([MP3] if speaker.polite else [])
