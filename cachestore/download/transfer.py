"""One track's way from a request to a whole body; what arrived survives a failed attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from cachestore.download import fields
from cachestore.download.failures import RefusedAnswer, body_failure, network_failure, status_failure
from cachestore.download.hops import follow
from cachestore.errors import BadResponse, Cancelled, NotAudio, SourceError, TooLarge, Truncated
from cachestore.quantities import format_size
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cachestore.download.flights import Flights
    from cachestore.partials import Partial
    from cachestore.track import Origin, Track


@dataclass(frozen=True, slots=True)
class NotModified:
    """The server confirmed a known version."""

    version: Version


@dataclass(frozen=True, slots=True)
class Body:
    """A whole body of `size` bytes; the file at `path` is the caller's. `version` is None if the server has no word."""

    path: Path
    digest: str
    size: int
    version: Version | None


@dataclass(slots=True, kw_only=True)
class Transfer:
    """The download of one track into one partial, in one attempt or several."""

    flights: Flights
    track: Track
    origin: Origin
    known: Sequence[Version]
    partial: Partial
    max_size: int
    on_progress: Callable[[int, int | None], None]
    cancel: threading.Event
    now: Callable[[], float]
    retry_after: float = field(default=0.0, init=False)  # seconds, as the last answer wishes
    _farthest: int = field(init=False)

    def __post_init__(self) -> None:
        self._farthest = self.partial.received

    def attempt(self) -> Body | NotModified:
        """Ask the origin, and again at once where an answer shows that the question was wrong.

        Such an answer takes something out of the question, so there is an end. Raise TrackError, NoSpace, Cancelled.
        """
        self.retry_after = 0.0
        outcome = None
        while outcome is None:
            outcome = self._ask()
        return outcome

    def advanced(self) -> bool:
        """Return whether bytes have come, since the last call, that no attempt had before."""
        before, self._farthest = self._farthest, max(self._farthest, self.partial.received)
        return self._farthest > before

    def _ask(self) -> Body | NotModified | None:
        try:
            url, headers = httpx.URL(self.origin.url), self._headers()
            _ = url.host  # decodes an international name, which not every text is
        except (httpx.InvalidURL, UnicodeError):
            reason = "its URL or headers cannot be sent; check the source and the id"
            raise SourceError(self.track.address, self.track.label, reason) from None
        try:
            with follow(self.flights, url, headers) as response:
                return self._receive(response)
        except httpx.HTTPError as error:
            self._stop_if_cancelled()
            raise network_failure(self.track, error) from None
        except RefusedAnswer as error:
            raise BadResponse(self.track.address, self.track.label, error.reason) from None
        except httpx.InvalidURL:  # httpx prepares a redirect also when it is not to follow it
            reason = "the server redirects to something that is no URL"
            raise BadResponse(self.track.address, self.track.label, reason) from None

    def _headers(self) -> httpx.Headers:
        # Latin-1 carries any byte that an ETag or a token may have.
        headers = httpx.Headers(dict(self.origin.headers), encoding="latin-1")
        ours = fields.conditions(self.known) | {"Accept-Encoding": "identity"}
        version = self.partial.version
        if self.partial.resumable and version is not None and self._still_wanted(version):
            ours["Range"] = f"bytes={self.partial.received}-"
            if version.kind is VersionKind.STRONG:
                ours["If-Range"] = version.value
        for name, value in ours.items():
            headers[name] = value
        return headers

    def _still_wanted(self, version: Version) -> bool:
        """Return whether the rest of `version` can be asked for: the provider's word beats the server's."""
        return version.kind is VersionKind.STRONG if self.origin.version is None else version == self.origin.version

    def _receive(self, response: httpx.Response) -> Body | NotModified | None:
        """Return the outcome, or None to ask again with less in the question."""
        response.headers.encoding = "latin-1"
        asked = response.request.headers
        match response.status_code:
            case 304 if "if-none-match" in asked or "if-modified-since" in asked:
                return self._confirm(response.headers)
            case 416 if "range" in asked:
                self.partial.clear()
                return None
            case 206 if "range" in asked:
                if not self._continues(response.headers):
                    self.partial.clear()
                    return None
            case 200:
                self._begin(response.headers)
            case 206 | 304 as status:
                raise RefusedAnswer(f"the server answered {status} to a question that does not allow it")
            case status:
                self.retry_after = fields.retry_after(response.headers.get("retry-after", ""), self.now()) or 0.0
                raise status_failure(self.track, status, self.retry_after)
        self._read(response)
        return self._whole()

    def _confirm(self, headers: httpx.Headers) -> NotModified | None:
        version = fields.confirmed(self.known, headers)
        if version is None:
            self.known = ()  # nothing tells which version it means: ask for the bytes
            return None
        self.partial.clear()
        return NotModified(version)

    def _continues(self, headers: httpx.Headers) -> bool:
        """Return whether a 206 goes on where the partial ends: servers ignore If-Range (RFC 9110 §13.1.5)."""
        part = fields.content_range(headers.get("content-range", ""))
        if part is None or (part.start, part.total) != (self.partial.received, self.partial.total):
            return False
        if fields.content_length(headers) not in {None, part.end - part.start + 1} or _is_encoded(headers):
            return False
        version = self.partial.version
        return version is not None and (version.kind is VersionKind.PROVIDER or version == fields.version_of(headers))

    def _begin(self, headers: httpx.Headers) -> None:
        if _is_encoded(headers):
            raise RefusedAnswer("the server compressed the body, though it was asked not to")
        total = fields.content_length(headers)
        self._refuse_larger(total or 0)
        self.partial.begin(self.origin.version or fields.version_of(headers), total)

    def _read(self, response: httpx.Response) -> None:
        partial = self.partial
        self.on_progress(partial.received, partial.total)
        try:
            for chunk in response.iter_raw():
                self._stop_if_cancelled()
                partial.write(chunk)
                self._refuse_larger(partial.received)
                self.on_progress(partial.received, partial.total)
        except httpx.HTTPError as error:
            self._stop_if_cancelled()
            raise body_failure(self.track, error, partial.received, partial.total) from None
        if partial.received != partial.total:  # a socket that was shut down looks like the end of the body
            self._stop_if_cancelled()

    def _whole(self) -> Body:
        partial = self.partial
        if partial.total is not None and partial.received > partial.total:
            partial.clear()
            raise RefusedAnswer("the server sent more bytes than it announced")
        if partial.total is not None and partial.received < partial.total:
            reason = f"the server sent only {partial.received} of {partial.total} bytes"
            raise Truncated(self.track.address, self.track.label, reason)
        if partial.received == 0:
            raise NotAudio(self.track.address, self.track.label, "the server sent an empty body instead of audio")
        partial.finish()
        return Body(partial.path, partial.hexdigest, partial.received, partial.version)

    def _refuse_larger(self, size: int) -> None:
        if size > self.max_size:
            self.partial.clear()
            reason = f"it is larger than max_track_size allows ({format_size(self.max_size)})"
            raise TooLarge(self.track.address, self.track.label, reason)

    def _stop_if_cancelled(self) -> None:
        if self.cancel.is_set() or self.flights.aborted:
            raise Cancelled


def _is_encoded(headers: httpx.Headers) -> bool:
    return headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}
