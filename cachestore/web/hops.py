"""A GET with its redirects, followed by hand: httpx would hand a service's own key headers to any other origin."""

from __future__ import annotations

from base64 import b64encode
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import httpx

from cachestore.web.authority import Authority, authority_of
from cachestore.web.failures import RefusedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cachestore.web.flights import Flights

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NO_URL = "the server redirects to something that is no http(s) URL; check the source, or tell who runs the server"
_FOR_ANYONE = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"range",
        b"user-agent",
        b"want-repr-digest",
    }
)


@contextmanager
def follow(
    flights: Flights, url: httpx.URL, headers: httpx.Headers, seconds_left: Callable[[], float]
) -> Iterator[httpx.Response]:
    """Give the response that is no redirect.

    Userinfo of the URL becomes Basic authorization. Another authority gets only the headers that are for anyone, and
    what was taken away does not come back: the extension ``foreign`` of the response tells; ``hops`` are the requests
    that led to it. Raise RefusedAnswer, Cancelled or httpx.HTTPError.
    """
    url, headers = _without_userinfo(url, headers)
    is_foreign = False
    hops: list[httpx.Request] = []
    for _ in range(_MOST_REDIRECTS + 1):
        with flights.get(url, headers, seconds_left()) as response:
            hops.append(response.request)
            target = _target(response)
            if target is None:
                response.extensions["hops"] = hops
                if is_foreign:
                    response.extensions["foreign"] = True
                yield response
                return
        if _authority(target) != _authority(url):
            headers = httpx.Headers([row for row in headers.raw if row[0].lower() in _FOR_ANYONE])
            is_foreign = True
        url = target
    raise RefusedAnswer(f"the server redirects more than {_MOST_REDIRECTS} times")


def _target(response: httpx.Response) -> httpx.URL | None:
    """Return where a redirect leads, None when the response is none."""
    if response.status_code not in _REDIRECTS or "location" not in response.headers:
        return None
    try:
        target = response.request.url.join(response.headers["location"]).copy_with(userinfo=b"")
        _ = target.host  # decodes an international name, which not every text is
    except (httpx.InvalidURL, ValueError):  # the latter of urllib, which httpx joins with, and of the decoding
        raise RefusedAnswer(_NO_URL) from None
    if (response.request.url.scheme, _authority(target).scheme) == ("https", "http"):
        raise RefusedAnswer("the server redirects from https to http")
    return target


def _without_userinfo(url: httpx.URL, headers: httpx.Headers) -> tuple[httpx.URL, httpx.Headers]:
    if not url.userinfo:
        return url, headers
    user, _, password = url.userinfo.partition(b":")  # which may be no UTF-8
    basic = b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode()
    headers.setdefault("Authorization", f"Basic {basic}")
    return url.copy_with(userinfo=b""), headers


def _authority(url: httpx.URL) -> Authority:
    try:
        return authority_of(str(url))
    except ValueError:
        raise RefusedAnswer(_NO_URL) from None
