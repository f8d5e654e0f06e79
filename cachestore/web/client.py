"""The HTTP client that all downloads of a run share: HTTP/1.1 over connections that are kept alive (RFC 9112)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Self

import httpx

from cachestore.errors import ConfigError
from cachestore.release import RELEASE
from cachestore.web.authority import authority_of_url
from cachestore.web.dialing import Dial
from cachestore.web.heads import request_head
from cachestore.web.proxies import Proxies, authorization

if TYPE_CHECKING:
    import ssl

    from cachestore.web.authority import Authority
    from cachestore.web.connection import Connection

_SERVERS = 2  # that one download may need: one names the URL, the other has the bytes
_NOTHING = httpx.ByteStream(b"")
_EXPIRY = 30.0  # seconds
_LONGEST_WAIT = 86400.0  # seconds: sockets take no more than 24 days
# nginx weakens ETags and drops lengths for gzip, and a compressed body hides its own truncation.
_HEADERS = [
    (b"Accept", b"*/*"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"keep-alive"),
    (b"User-Agent", f"cachestore/{RELEASE}".encode()),
]


class _Idle(NamedTuple):
    """A connection that nobody uses, since when, and whom it leads to."""

    connection: Connection
    since: float
    server: Authority


class Client:
    """Makes connections for `jobs` downloads at once, with the proxies and CA bundles of the environment.

    Timeouts are in seconds. Raise OSError, ValueError or httpx.InvalidURL when the environment cannot be used, as far
    as that can be seen at once.
    """

    def __init__(self, *, connect_timeout: float, stall_timeout: float, jobs: int) -> None:
        self.connect_timeout = min(connect_timeout, _LONGEST_WAIT)
        self.stall_timeout = min(stall_timeout, _LONGEST_WAIT)
        self._most = _SERVERS * jobs
        self._proxies = Proxies()
        self._idle: list[_Idle] = []
        self._lock = Lock()
        self._context: ssl.SSLContext | None = None
        self._context_lock = Lock()
        if bundle := os.environ.get("SSL_CERT_FILE"):
            _look_into(bundle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that nobody uses, now and when they come back."""
        with self._lock:
            self._most = 0
            for idle in self._idle:
                idle.connection.close()
            self._idle.clear()

    def request(self, url: httpx.URL, headers: httpx.Headers) -> httpx.Request:
        """Return a GET with `headers`, and ours that are not among them."""
        names = {name.lower() for name, _ in headers.raw}
        rows = [row for row in [(b"Host", url.netloc), *_HEADERS] if row[0].lower() not in names]
        return httpx.Request("GET", url, headers=rows + headers.raw, stream=_NOTHING)

    def head_of(self, request: httpx.Request) -> bytes:
        """Return a request as it is sent. Raise httpx.UnsupportedProtocol or LocalProtocolError when it cannot be."""
        url, fields = request.url, request.headers.raw
        if url.scheme not in {"http", "https"}:
            raise httpx.UnsupportedProtocol("only http and https can be asked")
        proxy = self._proxies.of(url) if url.scheme == "http" else None
        if proxy is None:
            return request_head(b"GET", url.raw_path, fields)
        target = b"http://" + url.netloc + url.raw_path
        return request_head(b"GET", target, [*fields, *authorization(proxy)])

    def kept(self, url: httpx.URL) -> Connection | None:
        """Return a connection for a URL that nobody uses, None if there is none."""
        server = authority_of_url(url)
        while (idle := self._pop(server)) is not None:
            if time.monotonic() - idle.since < _EXPIRY and idle.connection.is_silent:
                return idle.connection
            idle.connection.close()
        return None

    def keep(self, url: httpx.URL, connection: Connection) -> None:
        """Take back a connection, for the next request to the same server if it can have one."""
        if not connection.is_free or connection.has_more:
            connection.close()
            return
        with self._lock:
            self._idle.append(_Idle(connection, time.monotonic(), authority_of_url(url)))
            if len(self._idle) > self._most:
                self._idle.pop(0).connection.close()

    def dial(self, url: httpx.URL) -> Dial:
        """Begin to make a connection for a URL."""
        return Dial(
            url,
            self._proxies.of(url),
            self._tls,
            timeout=self.connect_timeout,
            patience=self.stall_timeout,
        )

    def _pop(self, server: Authority) -> _Idle | None:
        """Take the connection to a server that was used last."""
        with self._lock:
            for place in range(len(self._idle) - 1, -1, -1):
                if self._idle[place].server == server:
                    return self._idle.pop(place)
        return None

    def _tls(self) -> ssl.SSLContext:
        """Return what TLS goes by, made once: it takes as long as a hundred requests. Raise ConfigError."""
        with self._context_lock:
            if self._context is None:
                try:
                    self._context = httpx.create_ssl_context()
                except (OSError, ValueError):
                    raise _unusable() from None
                self._context.set_alpn_protocols(["http/1.1"])
            return self._context


def open_client(*, connect_timeout: float, stall_timeout: float, jobs: int) -> Client:
    """Return a client. Raise ConfigError when the environment names a proxy or CA bundle that cannot be used."""
    try:
        return Client(connect_timeout=connect_timeout, stall_timeout=stall_timeout, jobs=jobs)
    except (OSError, ValueError, httpx.InvalidURL):
        raise _unusable() from None


def _unusable() -> ConfigError:
    problem = "a proxy (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) or CA bundle (SSL_CERT_FILE, SSL_CERT_DIR) is unusable"
    return ConfigError("the environment", f"{problem}; correct or unset it")


def _look_into(bundle: str) -> None:
    """Raise OSError or ValueError when a file is no bundle of certificates, as far as that is seen without loading."""
    if b"-----BEGIN" not in Path(bundle).read_bytes():
        raise ValueError("there is no certificate in it")
