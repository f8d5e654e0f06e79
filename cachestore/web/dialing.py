"""How a connection is made: to a server or its proxy, through the proxy, and then TLS.

None of it can be interrupted (the resolver not even by closing something). So it has a daemon thread, and whoever waits
can give it up: the thread is free again when its timeouts end that, it closes what it gets, and it never keeps the
process alive. What is connected by then is shut down.
"""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import Future
from threading import Lock, Thread
from typing import TYPE_CHECKING

import httpx

from cachestore.errors import ConfigError
from cachestore.web.authority import authority_of_url
from cachestore.web.connection import Connection, shut_down
from cachestore.web.heads import request_head
from cachestore.web.layers import TlsInTls
from cachestore.web.proxies import authorization

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachestore.web.connection import Channel


class Dial:
    """The making of one connection for `url`, through `proxy` if there is one; the result is that of `future`.

    Each step has `timeout` seconds; reads and writes on the connection will have `patience`. `context` gives what TLS
    goes by, or raises ConfigError.
    """

    def __init__(
        self,
        url: httpx.URL,
        proxy: httpx.Proxy | None,
        context: Callable[[], ssl.SSLContext],
        *,
        timeout: float,
        patience: float,
    ) -> None:
        self.future: Future[Connection] = Future()
        self._url = url
        self._proxy = proxy
        self._context = context
        self._timeout = timeout
        self._patience = patience
        self._lock = Lock()
        self._base: socket.socket | None = None
        Thread(target=self._run, name="request", daemon=True).start()

    def give_up(self) -> None:
        """Let nobody wait for it, unless it is done."""
        with self._lock:
            if self.future.cancel() and self._base is not None:
                shut_down(self._base)

    def _run(self) -> None:
        try:
            made = Connection(self._channel(), self._patience)
        except Exception as error:  # noqa: BLE001 - raised again where the future is waited for
            if self._base is not None:
                self._base.close()
            if self.future.set_running_or_notify_cancel():
                self.future.set_exception(_as_httpx(error))
            return
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(made)
        else:
            made.close()

    def _channel(self) -> Channel:
        """Return what the server is talked to with."""
        proxy, is_secret = self._proxy, self._url.scheme == "https"
        base = self._connected(self._url if proxy is None else proxy.url)
        if proxy is not None and proxy.url.scheme == "https":
            base = self._secured(base, proxy.url)
        if proxy is not None and is_secret:
            self._pass_through(base, proxy)
        if not is_secret:
            return base
        if isinstance(base, ssl.SSLSocket):
            return TlsInTls(base, self._context(), authority_of_url(self._url).host, self._timeout)
        return self._secured(base, self._url)

    def _connected(self, url: httpx.URL) -> socket.socket:
        server = authority_of_url(url)
        made = socket.create_connection((server.host, server.port), self._timeout)
        self._hold(made)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _secured(self, base: socket.socket, url: httpx.URL) -> ssl.SSLSocket:
        secured = self._context().wrap_socket(
            base,
            server_hostname=authority_of_url(url).host,
            do_handshake_on_connect=False,  # before that it has to be held: it takes the place of the other
            suppress_ragged_eofs=False,  # the end of a body has to be said (RFC 9112 §9.8)
        )
        self._hold(secured)
        secured.do_handshake()
        return secured

    def _pass_through(self, base: socket.socket, proxy: httpx.Proxy) -> None:
        """Let the proxy connect to the server (RFC 9110 §9.3.6). Raise httpx.ProxyError when it does not."""
        server = authority_of_url(self._url)
        place = f"{f'[{server.host}]' if ':' in server.host else server.host}:{server.port}".encode("ascii")
        through = Connection(base, self._patience)
        answer = through.ask(request_head(b"CONNECT", place, [(b"Host", place), *authorization(proxy)]))
        if not 200 <= answer.status <= 299 or through.has_more:
            raise httpx.ProxyError(f"{answer.status}")
        base.settimeout(self._timeout)

    def _hold(self, base: socket.socket) -> None:
        """Let `give_up` shut it down. Raise TimeoutError when that has been asked for."""
        with self._lock:
            self._base = base
            if self.future.cancelled():
                raise TimeoutError("nobody waits")


def _as_httpx(error: Exception) -> Exception:
    """Return what httpx calls an error: the resolver has bare UnicodeErrors for host names that cannot be."""
    match error:
        case httpx.RequestError() | ConfigError():
            return error
        case TimeoutError():
            found: httpx.RequestError = httpx.ConnectTimeout(str(error))
        case OSError():
            found = httpx.ConnectError(str(error))
        case _:  # whatever it is, it comes of the URL
            found = httpx.UnsupportedProtocol("no connection can be made for this URL")
    found.__cause__ = error
    return found
