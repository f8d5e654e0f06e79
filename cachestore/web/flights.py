"""Requests under way, and how another thread ends them all at once.

A worker may block in three places, and each has its own way out:

- While a connection is made, which nothing can interrupt: a thread of its own does it, and is left behind (`dialing`).
- On a connection, where it asks and reads itself: `abort` shuts that down. Whatever a server drips, interim answers
  (1xx) or what stands beside a body, every wait ends when the time for the request is over.
- Waiting for a retry: on the caller's own cancel event.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING

import httpx

from cachestore.errors import Cancelled
from cachestore.web.bodies import Body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cachestore.web.client import Client
    from cachestore.web.connection import Connection
    from cachestore.web.dialing import Dial

_SMALL = 64 * 1024
_GRACE = 0.1  # seconds


class Flights:
    """All requests of a run, from any thread. Once `aborted`, for good."""

    def __init__(self, client: Client) -> None:
        self.aborted = False
        self._client = client
        # Connect and TLS handshake have the connect timeout each; the resolver and headers that drip have none.
        self._patience = 2 * client.connect_timeout + client.stall_timeout
        self._longest_silence = 2 * client.stall_timeout
        self._lock = Lock()
        self._dials: set[Dial] = set()
        self._open: set[Connection] = set()

    @contextmanager
    def get(self, url: httpx.URL, headers: httpx.Headers, left: float) -> Iterator[httpx.Response]:
        """Give the response to a GET, its body unread, and close it in the end. Raise Cancelled or httpx.HTTPError.

        Nothing is waited for longer than `left` seconds.
        """
        request = self._client.request(url, headers)
        now = time.monotonic()
        try:
            connection, response = self._answer(request, now + min(self._patience, left))
        except httpx.RequestError as error:
            if self.aborted:
                raise Cancelled from None
            error.request = request
            raise
        connection.until = now + left
        try:
            yield response
        finally:
            _drain(response, connection)
            self._leave(connection)
            self._client.keep(url, connection)

    def body(self, response: httpx.Response) -> Iterator[bytes | memoryview]:
        """Yield the bytes of a body as they come, each piece good until the next. Raise httpx.HTTPError.

        The fields behind it become the extension ``trailers`` (RFC 9110 §6.5).
        """
        try:
            yield from response.stream  # type: ignore[misc]  # it is not one for asyncio
        except httpx.RequestError as error:
            error.request = response.request
            raise
        if trailers := getattr(response.stream, "trailers", None):
            response.extensions["trailers"] = httpx.Headers(trailers, encoding="latin-1")

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._client.close()

    def abort(self) -> None:
        """End every request, now and later."""
        with self._lock:
            self.aborted = True
            for dial in self._dials:
                dial.give_up()
            for connection in self._open:
                connection.end()

    def _answer(self, request: httpx.Request, until: float) -> tuple[Connection, httpx.Response]:
        """Return the answer and its connection: one that is kept alive, unless that brings none.

        What is wrong with one that was used before may be the fault of what came before.
        """
        head = self._client.head_of(request)
        kept = self._client.kept(request.url)
        if kept is not None:
            with suppress(httpx.NetworkError, httpx.RemoteProtocolError):
                return kept, self._asked(kept, request, head, until)
            self._raise_if_aborted()
        connection = self._dialed(request.url, until)
        return connection, self._asked(connection, request, head, until)

    def _asked(self, connection: Connection, request: httpx.Request, head: bytes, until: float) -> httpx.Response:
        """Ask on a connection, and return the answer; without one, the connection is closed."""
        try:
            self._enter(connection)
            connection.until = until
            answer = connection.ask(head)
            body = Body(connection, answer, self._longest_silence)
        except BaseException:
            self._leave(connection)
            connection.close()
            raise
        return httpx.Response(answer.status, headers=answer.fields, request=request, stream=body)

    def _dialed(self, url: httpx.URL, until: float) -> Connection:
        """Return a new connection, but for the time that it may take."""
        with self._lock:
            self._raise_if_aborted()
            dial = self._client.dial(url)
            self._dials.add(dial)
        try:
            return dial.future.result(until - time.monotonic())
        except CancelledError:
            raise Cancelled from None
        except TimeoutError:
            dial.give_up()
            if not dial.future.cancelled():
                return dial.future.result()
            raise httpx.ReadTimeout("no connection in time") from None
        finally:
            with self._lock:
                self._dials.discard(dial)

    def _raise_if_aborted(self) -> None:
        if self.aborted:
            raise Cancelled

    def _enter(self, connection: Connection) -> None:
        with self._lock:
            self._raise_if_aborted()
            self._open.add(connection)

    def _leave(self, connection: Connection) -> None:
        with self._lock:
            self._open.discard(connection)


def _drain(response: httpx.Response, connection: Connection) -> None:
    """Read a small body that nobody wanted and that comes at once, so that its connection can be used again."""
    body, left = response.stream, _SMALL
    if isinstance(body, Body) and not body.is_begun and (body.is_chunked or (body.length or sys.maxsize) <= left):
        connection.until = min(connection.until, time.monotonic() + _GRACE)
        with suppress(httpx.HTTPError):
            for piece in body:
                left -= len(piece)
                if left < 0:
                    return
