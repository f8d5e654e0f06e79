"""Requests under way, and how another thread ends them all at once.

A worker may block in three places, and each has its own way out:

- Before the headers, where there is no connection yet: in the resolver, connect, the TLS handshake, a proxy, or a
  server that says nothing. None of them can be interrupted (the resolver not even by closing something), and httpx
  shows no socket before there is a response. So the request runs on a daemon thread and the worker waits for its
  `Future`, which `abort` cancels. The thread is free again when its timeouts end that; it closes what it gets, and
  never keeps the process alive. A connection that is made by then is shut down: a server that sends one interim answer
  (1xx) after another would keep the thread busy for ever.
- Before the headers on a connection that is kept alive: the worker asks itself, which spares it two waits for other
  threads. `abort` and the watchdog shut the connection down. Should there be none to use, the attempt ends at the
  first step of making one, and the daemon thread takes over.
- In the body: `abort` shuts the socket down, which ends a blocked read; closing it would not. So does the watchdog
  when a body brings nothing for long, or its time is over: what drips beside the body, as chunk extensions and
  trailers do, times no read out.
- Waiting for a retry: on the caller's own cancel event.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import httpx

from cachestore.errors import Cancelled
from cachestore.web.client import request_of, send
from cachestore.web.fields import content_length
from cachestore.web.parser import connection_of, has_more, keeping_trailers, rest_of_body
from cachestore.web.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SMALL = 64 * 1024
_GRACE = 0.1  # seconds
_CONNECTING = ".connect_tcp.started"
_READING = "http11.receive_response_headers.started"  # as httpcore calls the step (its page Extensions)


class _NoConnectionError(Exception):
    """A connection would have to be made."""


class _Sender:
    """A thread that sends one request after the other, each with the future of its answer, until a None."""

    def __init__(self, work: Callable[[_Sender], None]) -> None:
        self.tasks: SimpleQueue[tuple[httpx.Request, Future[httpx.Response]] | None] = SimpleQueue()
        self.thread = Thread(target=work, args=(self,), name="request", daemon=True)
        self.thread.start()


class Flights:
    """All requests of a run, from any thread. Once `aborted`, for good."""

    def __init__(self, client: httpx.Client) -> None:
        self.aborted = False
        self._client = client
        timeout = client.timeout
        # Connect and TLS handshake have the connect timeout each; the resolver and headers that drip have none.
        self._patience = 2 * (timeout.connect or 0) + (timeout.read or 0) or None
        self._watch = Watchdog(2 * (timeout.read or math.inf), self._end)
        self._lock = Lock()
        self._waiting: set[Future[httpx.Response]] = set()
        self._asked: set[httpx.Request] = set()
        self._open: set[httpx.Response] = set()
        self._closed = False
        self._idle: list[_Sender] = []

    @contextmanager
    def get(self, url: httpx.URL, headers: httpx.Headers, left: float) -> Iterator[httpx.Response]:
        """Give the response to a GET, its body unread, and close it in the end. Raise Cancelled or httpx.HTTPError.

        Nothing is waited for longer than `left` seconds.
        """
        usual = self._client.timeout
        timeout = httpx.Timeout(_least(usual.read, left), connect=_least(usual.connect, left), pool=None)
        request, deadline = (
            request_of(self._client, url, headers, timeout),
            time.monotonic() + _least(self._patience, left),
        )
        response = self._answer_at_once(request, deadline) or self._answer(request, deadline)
        self._watch.until(response, left)
        try:
            yield response
        finally:
            _drain(response)
            self._watch.forget(response)
            if has_more(response):
                # What came behind this answer would be taken for the next one's.
                _shut_down(_connection(response))
            response.close()
            with self._lock:
                self._open.discard(response)

    def body(self, response: httpx.Response) -> Iterator[bytes | memoryview]:
        """Yield the bytes of a body as they come, each piece good until the next. Raise httpx.HTTPError.

        It leaves the connection as it is.
        """
        response.is_stream_consumed = True  # or it would be read again, which httpcore never ends
        _expect_farewell(response)
        try:
            with keeping_trailers(response):
                for chunk in response.stream:  # type: ignore[union-attr]
                    for piece in chain([chunk], rest_of_body(response)):
                        self._watch.progress(response)
                        yield piece
        except httpx.RequestError as error:
            error.request = response.request
            raise

    def close(self) -> None:
        """End the watch over the requests, and the threads that send them, each when it has nothing to wait for."""
        self._watch.stop()
        with self._lock:
            self._closed = True
        for sender in self._idle:
            sender.tasks.put(None)
            sender.thread.join()

    def abort(self) -> None:
        """End every request, now and later."""
        with self._lock:
            self.aborted = True
            for future in self._waiting:
                future.cancel()
            for request in self._asked:
                self._end(request)
            for response in self._open:
                self._end(response)

    def _end(self, flight: httpx.Request | httpx.Response) -> None:
        """End a request, or the body of its answer."""
        if isinstance(flight, httpx.Request):
            _shut_down(connection_of(self._client, flight))
        else:
            _shut_down(_connection(flight))

    def _answer_at_once(self, request: httpx.Request, deadline: float) -> httpx.Response | None:
        """Return the answer that comes on a connection that is there, None when there is none that brings one."""

        def raise_if_unsafe(step: str, _info: object) -> None:
            if step.endswith(_CONNECTING):
                raise _NoConnectionError
            if step == _READING and self.aborted:
                raise Cancelled

        request.extensions["trace"] = raise_if_unsafe
        with self._lock:
            if self.aborted:
                raise Cancelled
            self._asked.add(request)
        self._watch.expect(request, deadline - time.monotonic())
        try:
            response = _sent(self._client, request)
        except _NoConnectionError:
            return None
        except httpx.HTTPError as error:
            if time.monotonic() >= deadline:
                raise httpx.ReadTimeout("no headers in time", request=request) from None
            if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError) and not self.aborted:
                return None
            raise
        finally:
            self._watch.forget(request)
            with self._lock:
                self._asked.discard(request)
        with self._lock:
            self._open.add(response)
            if self.aborted:
                self._end(response)
        return response

    def _answer(self, request: httpx.Request, deadline: float) -> httpx.Response:
        future: Future[httpx.Response] = Future()
        with self._lock:
            if self.aborted:
                raise Cancelled
            self._waiting.add(future)
            sender = self._idle.pop() if self._idle else None
        sender = sender or _Sender(self._deliver_all)
        sender.tasks.put((request, future))
        try:
            return _result(future, request, deadline - time.monotonic())
        except CancelledError:
            raise Cancelled from None
        finally:
            with self._lock:
                self._waiting.discard(future)
            if future.cancelled():
                _shut_down(connection_of(self._client, request))

    def _deliver_all(self, sender: _Sender) -> None:
        while (task := sender.tasks.get()) is not None:
            hand_over = self._delivered(*task)
            with self._lock:
                is_last = self._closed
                if not is_last:
                    self._idle.append(sender)
            hand_over()  # from here on the thread may have its next task
            if is_last:
                return

    def _delivered(self, request: httpx.Request, future: Future[httpx.Response]) -> Callable[[], None]:
        """Send the request, and return what hands over what comes of it, or closes it when nobody waits any more."""

        def raise_if_given_up(step: str, _info: object) -> None:
            if step == _READING and future.cancelled():
                raise httpx.ReadTimeout("nobody waits", request=request)

        request.extensions["trace"] = raise_if_given_up
        try:
            response = _sent(self._client, request)
        except Exception as error:  # noqa: BLE001 - raised again where the future is waited for
            if future.set_running_or_notify_cancel():
                return partial(future.set_exception, error)
            return lambda: None
        with self._lock:
            wanted = future.set_running_or_notify_cancel()
            if wanted:
                self._open.add(response)
        return partial(future.set_result, response) if wanted else response.close


def _least(usual: float | None, left: float) -> float:
    return left if usual is None else min(usual, left)


def _sent(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    """Return the answer. Raise httpx.HTTPError: the resolver has bare UnicodeErrors for host names that cannot be."""
    try:
        return send(client, request)
    except (httpx.HTTPError, _NoConnectionError, Cancelled):
        raise
    except Exception:  # noqa: BLE001 - whatever it is, it comes of the URL
        raise httpx.UnsupportedProtocol("no request can be made of this URL", request=request) from None


def _result(future: Future[httpx.Response], request: httpx.Request, patience: float) -> httpx.Response:
    try:
        return future.result(patience)
    except TimeoutError:
        if future.cancel():
            raise httpx.ReadTimeout("no headers in time", request=request) from None
        return future.result()


def _drain(response: httpx.Response) -> None:
    """Read a body that nobody wanted if it came together with its headers, so that its connection can be used again."""
    length = 0 if response.status_code == httpx.codes.NOT_MODIFIED else content_length(response.headers)
    if length is not None and length <= _SMALL and not response.is_stream_consumed:
        response.request.extensions["timeout"]["read"] = _GRACE
        with suppress(httpx.HTTPError):
            for chunk in response.stream:  # type: ignore[union-attr]
                if len(chunk) < length:
                    return


def _expect_farewell(response: httpx.Response) -> None:
    """Take the end of a TLS connection for an error unless the server says that it is one (RFC 9112 §9.8)."""
    connection = _socket(_connection(response))
    if isinstance(connection, ssl.SSLSocket):
        connection.suppress_ragged_eofs = False  # type: ignore[attr-defined]  # typeshed knows the argument only


def _shut_down(stream: Any) -> None:  # noqa: ANN401 - a network stream of httpcore, or None; so below
    connection = _socket(stream)
    if connection is not None:
        with suppress(OSError):
            # Not `connection.shutdown`: on a TLS socket it lets a read that goes on return bytes undecrypted.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _connection(response: httpx.Response) -> Any:  # noqa: ANN401
    return response.extensions.get("network_stream")


def _socket(stream: Any) -> socket.socket | None:  # noqa: ANN401
    found = stream.get_extra_info("socket") if stream is not None else None
    return found if isinstance(found, socket.socket) else None
