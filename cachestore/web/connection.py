"""One connection: what is sent and read on it, until when, and how another thread ends that.

All of its errors are httpx.RequestError.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from cachestore.web.heads import END_OF_HEAD, LONGEST_HEAD, Head, parse_head
from cachestore.web.layers import TlsInTls

if TYPE_CHECKING:
    import re
    from collections.abc import Generator

# What a peer is talked to with.
Channel = socket.socket | TlsInTls  # ssl.SSLSocket is one of the first

_READ = 64 * 1024
_PIECE = 256 * 1024
_SWITCHING_PROTOCOLS = 101


class Connection:
    """A connection on which no read or write takes longer than `patience` seconds.

    Nothing is waited for beyond `until`, on the monotonic clock.
    """

    def __init__(self, channel: Channel, patience: float) -> None:
        self.until = math.inf
        self.is_free = True  # no answer is on its way
        self._patience = patience
        self._channel = channel
        self._timeout = -1.0
        self._rest = b""
        self._buffer = memoryview(b"")

    def ask(self, head: bytes) -> Head:
        """Send the head of a request and return that of its answer, whatever interim ones (1xx) come before it."""
        self.is_free = False
        try:
            self._bound()
            self._channel.sendall(head)
        except TimeoutError as error:
            raise httpx.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpx.WriteError(str(error)) from error
        while 100 <= (answer := self._head()).status <= 199 and answer.status != _SWITCHING_PROTOCOLS:
            pass
        return answer

    def before(self, mark: re.Pattern[bytes], longest: int) -> bytes:
        """Take what comes up to a mark of at most three bytes, and return it without the mark."""
        searched = 0
        while (found := mark.search(self._rest, searched)) is None:
            if len(self._rest) > longest:
                raise httpx.RemoteProtocolError("it goes on and on")
            searched = max(0, len(self._rest) - 2)
            if not self._more():
                raise httpx.ReadError("the connection ended in the middle")
        text, self._rest = self._rest[: found.start()], self._rest[found.end() :]
        return text

    def pieces(self, size: int) -> Generator[bytes | memoryview, None, int]:
        """Yield the next `size` bytes as they come, each piece good until the next; return how many did not come."""
        if self._rest and size:
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            yield piece
        if size > len(self._buffer) < _PIECE:
            self._buffer = memoryview(bytearray(min(size, _PIECE)))
        while size and (count := self._received_into(self._buffer[:size])):
            size -= count
            yield self._buffer[:count]
        return size

    @property
    def has_more(self) -> bool:
        """Return whether more has come than was taken: it would be taken for the answer to the next request."""
        return bool(self._rest) or _pending(self._channel) > 0

    @property
    def is_silent(self) -> bool:
        """Return whether the peer has sent nothing since, and has not closed the connection."""
        return not _is_readable(base_of(self._channel))

    def end(self) -> None:
        """Make every wait for the peer end, from any thread."""
        shut_down(base_of(self._channel))

    def close(self) -> None:
        """Close it, from the thread that uses it."""
        self._channel.close()

    def _head(self) -> Head:
        return parse_head(self.before(END_OF_HEAD, LONGEST_HEAD).removesuffix(b"\r"))

    def _more(self) -> bool:
        """Read what comes next, and return whether there was anything before the end of the connection."""
        try:
            self._bound()
            data = self._channel.recv(_READ)
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpx.ReadError(str(error)) from error
        self._rest += data
        return bool(data)

    def _received_into(self, buffer: memoryview) -> int:
        try:
            self._bound()
            return self._channel.recv_into(buffer)
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpx.ReadError(str(error)) from error

    def _bound(self) -> None:
        """Bound the next call to the peer. Raise TimeoutError when there is no time for it."""
        timeout = min(self._patience, self.until - time.monotonic())
        if timeout <= 0:
            raise TimeoutError("no time is left")
        if timeout != self._timeout:
            self._timeout = timeout
            self._channel.settimeout(timeout)


def shut_down(base: socket.socket) -> None:
    """End what another thread does on a socket: closing it would not."""
    with suppress(OSError):
        # Not `base.shutdown`: on a TLS socket it lets a read that goes on return bytes undecrypted.
        socket.socket.shutdown(base, socket.SHUT_RDWR)


def base_of(channel: Channel) -> socket.socket:
    """Return the socket at the bottom."""
    return channel if isinstance(channel, socket.socket) else channel.outer


def _pending(channel: Channel) -> int:
    """Return how many bytes TLS, which is read a record at a time, keeps of what was not asked for."""
    return channel.pending() if isinstance(channel, ssl.SSLSocket | TlsInTls) else 0


def _is_readable(base: socket.socket) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([base], [], [], 0)[0])
    poll = select.poll()
    poll.register(base, select.POLLIN)
    return bool(poll.poll(0))
