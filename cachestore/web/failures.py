"""What a failure of the network or an answer is called, in words for a person and without a secret."""

from __future__ import annotations

import socket
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from cachestore.errors import (
    BadResponse,
    BadStatus,
    Forbidden,
    NotFound,
    SourceError,
    TimedOut,
    TlsError,
    TrackError,
    Truncated,
    Unauthorized,
    Unreachable,
)
from cachestore.quantities import format_age
from cachestore.text import is_echo
from cachestore.web.proxies import Proxies

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cachestore.track import Track

_OTHER_NAME = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH and that of an IP address


class RefusedAnswer(Exception):
    """An answer that no retry would make acceptable; `reason` is the end of a sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def status_failure(track: Track, status: int, retry_after: float) -> TrackError:
    """Return the failure of a status that brings no body; `retry_after` in seconds, 0 if not said."""
    failure = _refusal(track, status, retry_after)
    if failure.may_be_expiry and "?" in (track.url or ""):
        failure.reason += "; if its URL was signed, it has expired: take a new one"
    return failure


def _refusal(track: Track, status: int, retry_after: float) -> TrackError:
    known = {int(member): f"{member.value} {member.phrase}" for member in HTTPStatus}.get(status, str(status))
    place = track.address, track.label
    if status == 401:
        return Unauthorized(*place, f"the server refused the credentials ({known})", status=status)
    if status == 403:
        return Forbidden(*place, f"the server does not allow it ({known})", status=status)
    if status == 407:
        return Forbidden(*place, _refusal_of("a proxy"), status=status)
    if status in {404, 410}:
        return NotFound(*place, f"the server has no such track ({known})", status=status)
    later = f" and wants to be asked again in {format_age(retry_after)}" if retry_after else ""
    return BadStatus(*place, f"the server answered {known}{later}", status=status, retry_after=retry_after)


def network_failure(track: Track, error: httpx.HTTPError, asked: httpx.URL, secrets: Collection[str]) -> TrackError:
    """Return the failure of a request that got no answer; it may come from a redirect of the URL that was `asked`.

    The name of a host that says one of the `secrets` back is not shown.
    """
    place, first = _place(error.request.url, secrets), _place(asked, secrets)
    kind, reason = _diagnosis(error, place)
    if place != first and kind is SourceError:
        kind, reason = BadResponse, f"{first} redirects to {place}, where no request can be made"
    elif place != first:
        reason = f"{first} redirects to another server, and {reason}"
    if kind is Unreachable:
        is_there = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)
        return Unreachable(track.address, track.label, reason, is_there=is_there)
    return kind(track.address, track.label, reason)


def body_failure(
    track: Track, error: httpx.HTTPError, received: int, total: int | None, secrets: Collection[str]
) -> TrackError:
    """Return the failure of a body that did not arrive whole; `secrets` as in `network_failure`."""
    place = _place(error.request.url, secrets)
    progress = f"after {received} of {total} bytes" if total is not None else f"after {received} bytes"
    if isinstance(error, httpx.TimeoutException):
        return TimedOut(track.address, track.label, f"{place} stopped sending {progress}")
    return Truncated(track.address, track.label, f"the connection to {place} ended {progress}")


def _diagnosis(error: httpx.HTTPError, place: str) -> tuple[type[TrackError], str]:
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return _connect_diagnosis(error, place)
        case httpx.TimeoutException():
            return TimedOut, f"{place} did not answer in time"
        case httpx.ProxyError():
            return _proxy_diagnosis(error, place)
        case httpx.RemoteProtocolError():
            return BadResponse, f"the answer of {_proxy(error.request.url) or place} is no HTTP"
        case httpx.LocalProtocolError() | httpx.UnsupportedProtocol():
            return SourceError, f"no request to {place} can be made of its URL and headers; check the source"
    return Unreachable, f"{_closing(error.request.url, place)} without an answer"


def _proxy_diagnosis(error: httpx.ProxyError, place: str) -> tuple[type[TrackError], str]:
    if str(error).startswith("407"):  # the status of its answer to CONNECT, which has no other place
        return Forbidden, _refusal_of(_proxy(error.request.url) or "the proxy")
    return Unreachable, f"the proxy did not connect to {place}"


def _refusal_of(proxy: str) -> str:
    known = "407 Proxy Authentication Required"
    return f"{proxy} refused its credentials ({known}); check user and password in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"


def _connect_diagnosis(error: httpx.ConnectError | httpx.ConnectTimeout, place: str) -> tuple[type[TrackError], str]:
    proxy = _proxy(error.request.url)
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return TlsError, f"the certificate of {place} was not accepted: {_objection(cause)}"
            case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionResetError() | BrokenPipeError():
                # What is overloaded, or restarts, does it. A connection that was not made yet cannot be reset.
                return Unreachable, f"{_closing(error.request.url, place)} before TLS was agreed on"
            case ssl.SSLError():
                return TlsError, f"no TLS connection to {place}: {_words(cause.reason)}"
            case socket.gaierror():
                return Unreachable, f"the name {f'of {proxy}' if proxy else place} does not resolve"
            case OSError(strerror=str(strerror)):
                return Unreachable, f"no connection to {proxy or place}: {strerror.lower()}"
    return Unreachable, f"no connection to {place}{' in time' if isinstance(error, httpx.ConnectTimeout) else ''}"


def _closing(url: httpx.URL, place: str) -> str:
    """Return who closed a connection, as far as can be known here: a proxy, if there is one."""
    proxy = _proxy(url)
    return f"{proxy} closed the connection to {place}" if proxy else f"{place} closed the connection"


def _proxy(url: httpx.URL) -> str:
    """Return the proxy that the environment names for a URL, as words, empty if none: connections are made to that."""
    proxy = Proxies().of(url)
    return "" if proxy is None else f"the proxy {_place(proxy.url)}"


def _objection(error: ssl.SSLCertVerificationError) -> str:
    """Return OpenSSL's words for what is wrong with a certificate, without the name that was asked for, as it was."""
    return "it is for another name" if error.verify_code in _OTHER_NAME else error.verify_message


def _words(reason: str | None) -> str:
    """Return OpenSSL's name for a reason, such as WRONG_VERSION_NUMBER, as words."""
    return (reason or "the handshake failed").lower().replace("_", " ")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _place(url: httpx.URL, secrets: Collection[str] = ()) -> str:
    """Return ``host`` or ``host:port``: of a URL nothing more is fit to be shown, and a host with a secret not either.

    Hosts are in lower case, whatever the secret is in.
    """
    is_secret = is_echo(url.raw_host.decode("ascii"), {secret.lower() for secret in secrets})
    return "a host that it names" if is_secret else url.netloc.decode("ascii")
