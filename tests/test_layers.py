"""TLS in TLS: how long it waits. That it carries tracks, tests of whole commands say (`test_proxies`)."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from cachestore.web.layers import TlsInTls
from tests.raw_servers import Drip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRawServer

RECORD = b"\x16\x03\x03\x3f\xff" + bytes(395)  # the beginning of one that is longer


def test_what_drips_is_waited_for_no_longer_than_what_is_silent(
    raw_server: StartRawServer, certified: tuple[ssl.SSLContext, Path]
) -> None:
    server = raw_server(Drip(RECORD, 0.05, 1), tls=certified[0])
    context = ssl.create_default_context(cafile=certified[1])
    with (
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), 20) as base,
        context.wrap_socket(base, server_hostname="127.0.0.1") as outer,
    ):
        outer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            TlsInTls(outer, context, "music.invalid", 0.5)
        assert time.monotonic() - began < 10
