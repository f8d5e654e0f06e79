"""The HTTP client that all downloads of a run share."""

from __future__ import annotations

import logging
from base64 import b64encode
from urllib.parse import unquote_to_bytes
from urllib.request import getproxies

import httpx

from cachestore.errors import ConfigError
from cachestore.release import RELEASE
from cachestore.web.echoes import sent_secrets

_NOTHING = httpx.ByteStream(b"")


def open_client(*, connect_timeout: float, stall_timeout: float, jobs: int) -> httpx.Client:
    """Return a client for `jobs` downloads at once, with the proxies and CA bundles of the environment.

    Timeouts are in seconds. Raise ConfigError when the environment names a proxy or CA bundle that cannot be used.
    """
    _keep_urls_out_of_logs()
    try:
        return httpx.Client(
            follow_redirects=False,
            # nginx weakens ETags and drops lengths for gzip, and a compressed body hides its own truncation.
            headers={"Accept-Encoding": "identity", "User-Agent": f"cachestore/{RELEASE}"},
            timeout=httpx.Timeout(stall_timeout, connect=connect_timeout, pool=None),
            # The callers bound the connections in use; a limit would make them wait for requests that were given up.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=jobs, keepalive_expiry=30),
        )
    except (OSError, ValueError, ImportError, httpx.InvalidURL):
        problem = "a proxy (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) or CA bundle (SSL_CERT_FILE, SSL_CERT_DIR) is unusable"
        raise ConfigError("the environment", f"{problem}; correct or unset it") from None


def request_of(client: httpx.Client, url: httpx.URL, headers: httpx.Headers, timeout: httpx.Timeout) -> httpx.Request:
    """Return a GET with `headers`, and those of the client that are not among them."""
    names = {name.lower() for name, _ in headers.raw}
    ours = [(b"Host", url.netloc), *client.headers.raw]
    rows = [row for row in ours if row[0].lower() not in names] + headers.raw
    return httpx.Request("GET", url, headers=rows, stream=_NOTHING, extensions={"timeout": timeout.as_dict()})


def send(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    """Send a request and return the answer, its body unread. Raise httpx.HTTPError.

    Past the client, which would prepare redirects, and keep cookies: those would go to every port of a host, and to
    redirects that may not have them. That costs a third of a small request.
    """
    try:
        response = client._transport_for_url(request.url).handle_request(request)  # noqa: SLF001 - knows the proxies
    except httpx.RequestError as error:
        error.request = request
        raise
    response.request = request
    return response


def proxy_secrets() -> set[str]:
    """Return what the proxies of the environment are asked with, each password as it is and as Basic authorization."""
    secrets: set[str] = set()
    for proxy in getproxies().values():
        userinfo = proxy.rpartition("://")[2].rpartition("@")[0]
        if userinfo:
            basic = b64encode(unquote_to_bytes(userinfo)).decode()
            secrets |= sent_secrets("", {"Proxy-Authorization": f"Basic {basic}"}) | {userinfo.partition(":")[2]}
    return secrets


def _keep_urls_out_of_logs() -> None:
    """Silence what httpx and httpcore log below warnings: whole URLs at INFO, whole requests at DEBUG."""
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
