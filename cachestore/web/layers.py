"""TLS through a connection that is TLS already, which a socket cannot do: for a proxy that is asked by https."""

from __future__ import annotations

import ssl
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_RECORD = 16 * 1024


class TlsInTls:
    """A TLS connection to `host` through `outer`, made within `timeout` seconds. Raise OSError, as each call does."""

    def __init__(self, outer: ssl.SSLSocket, context: ssl.SSLContext, host: str, timeout: float) -> None:
        self.outer = outer
        self._timeout = timeout
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._done(self._tls.do_handshake)

    def recv(self, size: int) -> bytes:
        """Return up to so many bytes, none at the end of the inner connection."""
        try:
            return self._done(lambda: self._tls.read(size))
        except ssl.SSLZeroReturnError:
            return b""

    def recv_into(self, buffer: memoryview) -> int:
        """Put what comes into a buffer, and return how much it is, 0 at the end of the inner connection."""
        data = self.recv(min(len(buffer), _RECORD))
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Send all."""
        while data:
            data = data[self._done(partial(self._tls.write, data)) :]

    def settimeout(self, seconds: float) -> None:
        """Bound each call, however often that has to wait for the outer connection."""
        self._timeout = seconds

    def pending(self) -> int:
        """Return how many bytes either layer keeps."""
        return self._tls.pending() + self._incoming.pending + self.outer.pending()

    def close(self) -> None:
        """Close the outer connection."""
        self.outer.close()

    def _done(self, call: Callable[[], _T]) -> _T:
        """Return what `call` returns when it has been given what it wants to read."""
        until = time.monotonic() + self._timeout
        while True:
            self._bound(until)
            try:
                result = call()
            except ssl.SSLWantReadError:
                self._flush()
                if data := self.outer.recv(_RECORD):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self._flush()
                return result

    def _bound(self, until: float) -> None:
        """Bound the next wait for the outer connection. Raise TimeoutError when there is no time for it."""
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time is left")
        self.outer.settimeout(left)

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self.outer.sendall(data)
