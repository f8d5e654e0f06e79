"""Which proxy the environment names for a URL, and what it is asked with."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes
from urllib.request import getproxies, proxy_bypass

import httpx

from cachestore.web.echoes import sent_secrets

if TYPE_CHECKING:
    from cachestore.web.heads import Fields

_SCHEMES = ("http", "https")


class Proxies:
    """The proxies of the environment. Raise ValueError or httpx.InvalidURL when there is one that cannot be used."""

    def __init__(self) -> None:
        named = getproxies()
        if "*" in [place.strip() for place in named.get("no", "").split(",")]:  # among others, too
            named = {}
        self._proxies = {name: _proxy(named[name]) for name in (*_SCHEMES, "all") if named.get(name)}

    def of(self, url: httpx.URL) -> httpx.Proxy | None:
        """Return the one to ask for `url`, None to ask its server itself."""
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all") if self._proxies else None
        # NO_PROXY may name a host with its port or without, and an IPv6 address in brackets or without.
        places = (url.netloc, url.raw_host)
        return None if proxy is None or any(proxy_bypass(place.decode("ascii")) for place in places) else proxy


def authorization(proxy: httpx.Proxy) -> Fields:
    """Return the fields by which a proxy knows who asks."""
    if proxy.raw_auth is None:
        return []
    return [(b"Proxy-Authorization", b"Basic " + b64encode(b":".join(proxy.raw_auth)))]


def proxy_secrets() -> set[str]:
    """Return what the proxies of the environment are asked with, each password as it is and as Basic authorization."""
    secrets: set[str] = set()
    for proxy in getproxies().values():
        userinfo = proxy.rpartition("://")[2].rpartition("@")[0]
        if userinfo:
            basic = b64encode(unquote_to_bytes(userinfo)).decode()
            secrets |= sent_secrets("", {"Proxy-Authorization": f"Basic {basic}"}) | {userinfo.partition(":")[2]}
    return secrets


def _proxy(address: str) -> httpx.Proxy:
    proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
    if proxy.url.scheme not in _SCHEMES or not proxy.url.host:
        raise ValueError("only proxies that are asked by http(s) can be used")
    return proxy
