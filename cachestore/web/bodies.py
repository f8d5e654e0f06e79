"""The body of an answer, as it comes (RFC 9112 §6, §7)."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

import httpx

from cachestore.web.heads import LONGEST_HEAD, framing_of, is_ambiguous, parse_fields

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from cachestore.web.connection import Connection
    from cachestore.web.heads import Fields, Head

_LINE_END = re.compile(rb"\r\n")  # and nothing else: with a bare LF, chunks could be read in two ways
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00\r\n]*)?")


class Body(httpx.SyncByteStream):
    """What follows `head` on a connection, in pieces each of which is good until the next.

    `trailers` are the fields behind it, when it was read. What brings nothing of the body is read no longer than for
    `longest_silence` seconds. Raise httpx.RequestError, at once when the head does not tell how it ends.
    """

    def __init__(self, connection: Connection, head: Head, longest_silence: float) -> None:
        self.length, self.is_chunked = framing_of(head)
        self.is_begun = False
        self.trailers: Fields = []
        self._connection = connection
        self._longest_silence = longest_silence
        self._is_last = head.is_last or head.status < 200 or is_ambiguous(head)
        if self.length == 0:
            self._end()

    def __iter__(self) -> Iterator[bytes | memoryview]:  # type: ignore[override]  # a piece may be a view
        self.is_begun = True
        if self.is_chunked:
            yield from self._chunks()
        elif self.length is not None:
            yield from self._whole(self.length)
        else:
            yield from self._connection.pieces(sys.maxsize)
            return  # the connection is at its end, too
        self._end()

    def _end(self) -> None:
        self._connection.is_free = not self._is_last

    def _whole(self, size: int) -> Generator[bytes | memoryview]:
        missing = yield from self._connection.pieces(size)
        if missing:
            raise httpx.RemoteProtocolError("the connection ended before the body")

    def _chunks(self) -> Generator[bytes | memoryview]:
        moved = time.monotonic()
        while size := self._size_of_chunk(moved):
            yield from self._whole(size)
            moved = time.monotonic()
            if self._line(moved):
                raise httpx.RemoteProtocolError("a chunk goes on behind its end")
        self.trailers = self._fields(moved)

    def _size_of_chunk(self, moved: float) -> int:
        match = _CHUNK.fullmatch(self._line(moved))
        if match is None:
            raise httpx.RemoteProtocolError("a chunk does not say how long it is")
        return int(match[1], 16)

    def _fields(self, moved: float) -> Fields:
        lines: list[bytes] = []
        room = LONGEST_HEAD
        while line := self._line(moved):
            lines.append(line)
            room -= len(line)
            if room < 0:
                raise httpx.RemoteProtocolError("there is no end to the fields behind the body")
        return parse_fields(b"\n".join(lines))

    def _line(self, moved: float) -> bytes:
        """Return the next line that is no part of the body, of which something came at the time `moved`."""
        connection, quiet = self._connection, moved + self._longest_silence
        until, connection.until = connection.until, min(connection.until, quiet)
        try:
            return connection.before(_LINE_END, LONGEST_HEAD)
        except httpx.ReadTimeout as error:
            if time.monotonic() < quiet:
                raise
            raise httpx.ReadError("nothing came of the body") from error
        finally:
            connection.until = until
