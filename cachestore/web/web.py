"""One GET, or a whole document, for sources and downloads alike."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from cachestore.errors import BadResponse, Cancelled, SourceError, TimedOut, TooLarge
from cachestore.quantities import format_size
from cachestore.web import fields
from cachestore.web.client import open_client
from cachestore.web.failures import RefusedAnswer, body_failure, network_failure, status_failure
from cachestore.web.flights import Flights
from cachestore.web.hops import follow
from cachestore.web.pace import Pace
from cachestore.web.retries import Retries

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cachestore.config import Config
    from cachestore.errors import TrackError
    from cachestore.track import Track

_LARGEST_DOCUMENT = 16 * 10**6


@dataclass(frozen=True, slots=True)
class Document:
    """A whole answer; `content` may be secret."""

    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


class Web:
    """All requests of a run, from any thread. `cancel` ends all waits between them, `abort` the requests themselves."""

    def __init__(
        self,
        client: httpx.Client,
        retries: Retries,
        cancel: threading.Event,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.retries = retries
        self.cancel = cancel
        self._flights = Flights(client)
        self._client = client
        self._now = now

    @contextmanager
    def get(self, track: Track, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Give the answer to a GET, its body unread, redirects followed by hand.

        Raise the TrackError of `track` that says why there is none, or Cancelled.
        """
        try:
            # Latin-1 carries any byte that an ETag or a token may have.
            sent = httpx.Headers(dict(headers), encoding="latin-1")
            target = httpx.URL(url)
            _ = target.host  # decodes an international name, which not every text is
        except (httpx.InvalidURL, UnicodeError):
            reason = "its URL or headers cannot be sent; check the source and the id"
            raise SourceError(track.address, track.label, reason) from None
        try:
            with follow(self._flights, target, sent) as response:
                response.headers.encoding = "latin-1"
                yield response
        except httpx.HTTPError as error:
            self.raise_if_cancelled()
            raise network_failure(track, error) from None
        except RefusedAnswer as error:
            raise BadResponse(track.address, track.label, error.reason) from None
        except httpx.InvalidURL:  # httpx prepares a redirect also when it is not to follow it
            reason = "the server redirects to something that is no URL"
            raise BadResponse(track.address, track.label, reason) from None

    def chunks(self, track: Track, body: Iterable[bytes], deadline: float) -> Iterator[bytes]:
        """Yield the chunks of a body as they come. Raise TimedOut when they come too slowly, or not by `deadline`."""
        pace = Pace(self._client.timeout.read or deadline, self.retries.clock)
        received = 0
        for chunk in body:
            self.raise_if_cancelled()
            yield chunk
            received += len(chunk)
            if not pace.is_kept(received):
                raise TimedOut(track.address, track.label, "the server sends too slowly to ever get done")
            if self.retries.clock() >= deadline:
                raise TimedOut(track.address, track.label, "it took longer than total_timeout allows")

    def document(self, track: Track, url: str, headers: Mapping[str, str] | None = None) -> Document:
        """Return a whole answer of at most 16 MB; what fails for a while is tried again.

        Redirects to another origin get none of the `headers`. Raise the TrackError of `track` that says why there is
        none (Unauthorized, NotFound, BadStatus, ...), or Cancelled.
        """
        deadline = self.retries.deadline()
        return self.retries.run(
            lambda: self._read(track, url, headers or {}, deadline), deadline=deadline, cancel=self.cancel
        )

    def json(self, track: Track, url: str, headers: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON document at `url`, as `document` does. Raise BadResponse for one that is none."""
        content = self.document(track, url, headers).content
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            reason = "the server answered with something that is no JSON"
            raise BadResponse(track.address, track.label, reason) from None

    def failure_of(self, track: Track, response: httpx.Response) -> TrackError:
        """Return the TrackError of a status that brings no body."""
        after = fields.retry_after(response.headers.get("retry-after", ""), self._now())
        return status_failure(track, response.status_code, after or 0.0)

    def pause(self, seconds: float) -> None:
        """Wait between requests. Raise Cancelled."""
        self.retries.pause(seconds, self.cancel)

    def raise_if_cancelled(self) -> None:
        """Raise Cancelled once the run was cancelled or aborted."""
        if self.cancel.is_set() or self._flights.aborted:
            raise Cancelled

    def abort(self) -> None:
        """End everything that waits for the network, for good; set the cancel event first, which ends other waits."""
        self._flights.abort()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _read(self, track: Track, url: str, headers: Mapping[str, str], deadline: float) -> Document:
        with self.get(track, url, headers) as response:
            if response.status_code != 200:
                raise self.failure_of(track, response)
            content = bytearray()
            try:
                for chunk in self.chunks(track, response.iter_bytes(), deadline):
                    content += chunk
                    if len(content) > _LARGEST_DOCUMENT:
                        reason = f"the server answered with more than {format_size(_LARGEST_DOCUMENT)} of text"
                        raise TooLarge(track.address, track.label, reason)
            except httpx.HTTPError as error:
                self.raise_if_cancelled()
                raise body_failure(track, error, len(content), None) from None
            return Document(response.headers, bytes(content))


def open_web(config: Config, *, jobs: int, cancel: threading.Event) -> Web:
    """Return what `jobs` workers ask with. Raise ConfigError when the environment's proxy or CA bundle is unusable."""
    client = open_client(connect_timeout=config.connect_timeout, stall_timeout=config.stall_timeout, jobs=jobs)
    return Web(client, Retries(config.retries, config.total_timeout), cancel)
