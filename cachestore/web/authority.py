"""Which server a URL names; the one place that decides whether two URLs name the same."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

_PORTS = {"http": 80, "https": 443}


class Authority(NamedTuple):
    """What RFC 6454 calls an origin: credentials for one are for no other. `host` is in lower case and ASCII."""

    scheme: str
    host: str
    port: int


def authority_of(url: str) -> Authority:
    """Return which server `url` names, whoever its userinfo is. Raise ValueError when it names none by http(s)."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.port == 0:
        raise ValueError("expected http(s)://host")
    return Authority(parts.scheme, _encoded(parts.hostname), parts.port or _PORTS[parts.scheme])


def authority_of_url(url: httpx.URL) -> Authority:
    """Return which server a URL names that is one of http(s); its host is encoded already."""
    return Authority(url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme])


def _encoded(host: str) -> str:
    """Return a host name as it is looked up; what it is in ASCII only the client knows that will look it up."""
    if host.isascii():
        return host
    try:
        return httpx.URL(scheme="https", host=host).raw_host.decode("ascii")
    except httpx.InvalidURL:
        raise ValueError("the host name cannot be encoded") from None
