"""What httpcore keeps to itself of an answer and its connection; tests hold that it is still found there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

_PIECE = 256 * 1024


def has_more(response: httpx.Response) -> bool:
    """Return whether more has been read from the connection than belongs to the response, or that cannot be told.

    TLS is read a record at a time, and keeps of it what was not asked for, where the connection does not tell of it.
    """
    if getattr(_parser(response), "trailing_data", (b"", False))[0]:
        return True
    stream: Any = response.extensions.get("network_stream")
    layer = stream.get_extra_info("ssl_object") if stream is not None else None
    if layer is None:
        return False
    return not _is_plain(stream) or layer.pending() > 0  # of two layers each keeps something


@contextmanager
def keeping_trailers(response: httpx.Response) -> Iterator[None]:
    """Keep the trailer fields of a body that is read in the block as the extension ``trailers`` (RFC 9110 §6.5)."""
    parser = _parser(response)
    if parser is None:
        yield
        return
    next_event = parser.next_event

    def overheard() -> object:
        event = next_event()
        if fields := getattr(event, "headers", None):  # within a body only its end has fields
            response.extensions["trailers"] = httpx.Headers(fields.raw_items(), encoding="latin-1")
        return event

    parser.next_event = overheard
    try:
        yield
    finally:
        del parser.next_event


def connection_of(client: httpx.Client, request: httpx.Request) -> Any:  # noqa: ANN401 - a network stream of httpcore
    """Return the connection on which `request` waits for an answer, None when there is none yet, or no more."""
    pool = getattr(client._transport_for_url(request.url), "_pool", None)  # noqa: SLF001 - nothing public tells
    for sent in [*getattr(pool, "_requests", ())]:
        if sent.request.extensions is request.extensions:
            found = sent.connection
            while found is not None and not hasattr(found, "_network_stream"):
                found = getattr(found, "_connection", None)  # of a proxy's, or what has yet to connect
            return getattr(found, "_network_stream", None)
    return None


def rest_of_body(response: httpx.Response) -> Iterator[memoryview]:
    """Yield what is left of a body with a Content-Length, of which the parser has brought something.

    It is read from the connection into one buffer, so each piece is good until the next: httpcore takes 64 KB at a time
    through several objects. Nothing comes where only the parser can tell the bytes of the body: without a length, or
    through two layers of TLS. When the connection ends, the parser is left to tell. Raise httpx.ReadTimeout or
    httpx.ReadError.
    """
    stream: Any = response.extensions.get("network_stream")
    reader = getattr(_parser(response), "_reader", None)
    left: int = getattr(reader, "_remaining", 0)
    if not left or not _is_plain(stream):
        return
    connection: socket.socket = stream.get_extra_info("socket")
    connection.settimeout(response.request.extensions["timeout"]["read"])
    buffer = memoryview(bytearray(min(_PIECE, left)))
    while left and (count := _received(connection, buffer[:left], response.request)):
        left -= count
        reader._remaining = left  # type: ignore[union-attr]  # noqa: SLF001 - of h11, see above
        yield buffer[:count]


def _is_plain(stream: object) -> bool:
    """Return whether a network stream is one socket, of TLS or not: TLS within TLS has no socket that reads it."""
    return type(stream).__name__ == "SyncStream"


def _received(connection: socket.socket, buffer: memoryview, request: httpx.Request) -> int:
    try:
        return connection.recv_into(buffer)
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error), request=request) from error
    except OSError as error:
        raise httpx.ReadError(str(error), request=request) from error


def _parser(response: httpx.Response) -> Any:  # noqa: ANN401 - of h11, which only httpcore knows
    stream: object = response.stream
    for name in ("_httpcore_stream", "_stream", "_connection", "_h11_state"):
        stream = getattr(stream, name, None)
    return stream
