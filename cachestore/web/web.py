"""One GET, or a whole document, for sources and downloads alike."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from cachestore.errors import (
    BadResponse,
    Cancelled,
    Forbidden,
    SourceError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unreachable,
)
from cachestore.quantities import format_size
from cachestore.web import fields
from cachestore.web.authority import Authority, authority_of
from cachestore.web.client import open_client
from cachestore.web.echoes import asked_values, drop_echoes, sent_secrets
from cachestore.web.failures import RefusedAnswer, body_failure, network_failure, status_failure
from cachestore.web.flights import Flights
from cachestore.web.hops import follow
from cachestore.web.pace import Pace
from cachestore.web.proxies import proxy_secrets
from cachestore.web.retries import Retries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from cachestore.config import Config
    from cachestore.errors import TrackError
    from cachestore.track import Track
    from cachestore.web.client import Client

_T = TypeVar("_T")
_LARGEST_DOCUMENT = 16 * 10**6
_LEAST_WAIT = 0.05  # seconds
_AWAY = 2  # connections without an answer, all retries of one counted as one


@dataclass(frozen=True, slots=True)
class Document:
    """A whole answer; `content` may be secret."""

    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


class Web:
    """All requests of a run, from any thread. `cancel` ends all waits between them, `abort` the requests themselves."""

    def __init__(
        self,
        client: Client,
        retries: Retries,
        cancel: threading.Event,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.retries = retries
        self.cancel = cancel
        self._until = threading.local()
        self._unanswered: Counter[Authority | None] = Counter()
        self._secrets: set[str] = set()
        self._flights = Flights(client)
        self._stall_timeout = client.stall_timeout
        self._now = now

    @contextmanager
    def one_deadline(self, deadline: float | None = None) -> Iterator[None]:
        """Let all that this thread asks for within the block end by one deadline, however many requests it takes.

        Within another such block, by that one's. A `deadline` is that of a thread for which this one works.
        """
        outer: float | None = getattr(self._until, "deadline", None)
        self._until.deadline = next(d for d in (outer, deadline, self.retries.deadline()) if d is not None)
        try:
            yield
        finally:
            self._until.deadline = outer

    @property
    def deadline(self) -> float:
        """Return when the block of this thread has to be done, by the clock."""
        deadline: float = self._until.deadline
        return deadline

    def hide(self, secrets: Collection[str]) -> None:
        """Take that these are secrets wherever an answer says them: what is sent alone does not tell."""
        self._secrets.update(secrets)

    @property
    def secrets(self) -> set[str]:
        """Return what is known to be secret by now."""
        return self._secrets.copy()

    @contextmanager
    def get(self, track: Track, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Give the answer to a GET, its body unread, redirects followed by hand.

        Its extension ``secrets`` is what was sent for it and is not to be kept, whatever says it back.
        Raise the TrackError of `track` that says why there is none, or Cancelled.
        """
        try:
            # Latin-1 carries any byte that an ETag or a token may have.
            sent = httpx.Headers(dict(headers), encoding="latin-1")
            target = httpx.URL(url)
            is_complete = bool(target.host)  # decodes an international name, which not every text is
        except (httpx.InvalidURL, UnicodeError):
            is_complete = False
        if not is_complete:
            reason = "its URL or headers cannot be sent; check the source and the id"
            raise SourceError(track.address, track.label, reason)
        try:
            with follow(self._flights, target, sent, self._left) as response:
                if self._unanswered:
                    self._unanswered.pop(_server(url), None)  # whatever the answer says, somebody gave it
                response.headers.encoding = "latin-1"
                asked = [(str(hop.url), hop.headers) for hop in response.extensions["hops"]]
                if asked[0][0] != url:
                    asked.append((url, sent))
                secrets = self._secrets.union(*(sent_secrets(*each) for each in asked))
                secrets = secrets.union(*(asked_values(each, track.id) for each, _ in asked))
                drop_echoes(response.headers, secrets)
                response.extensions["secrets"] = secrets
                yield response
        except httpx.HTTPError as error:
            self.raise_if_cancelled()
            raise network_failure(track, error, target, self._secrets | sent_secrets(url, sent)) from None
        except RefusedAnswer as error:
            raise BadResponse(track.address, track.label, error.reason) from None

    def chunks(
        self, track: Track, response: httpx.Response, *, before: int = 0, total: int | None = None
    ) -> Iterator[bytes | memoryview]:
        """Yield the bytes of a body as they come, which goes on behind `before` bytes of `total`, None if unknown.

        Each piece is good until the next. Raise TimedOut when they come too slowly or take too long, Truncated when the
        connection ends, or Cancelled.
        """
        pace = Pace(self._stall_timeout, self.retries.clock)
        received = before
        try:
            for chunk in self._flights.body(response):
                self.raise_if_cancelled()
                yield chunk
                received += len(chunk)
                if not pace.is_kept(received):
                    raise TimedOut(track.address, track.label, "the server sends too slowly to ever get done")
                self.raise_if_late(track)
        except httpx.HTTPError as error:
            self.raise_if_cancelled()
            self.raise_if_late(track)
            raise body_failure(track, error, received, total, self.secrets) from None

    def document(self, track: Track, url: str, headers: Mapping[str, str] | None = None) -> Document:
        """Return a whole answer of at most 16 MB; what fails for a while is tried again.

        Redirects to another origin get none of the `headers`. Raise the TrackError of `track` that says why there is
        none (Unauthorized, NotFound, BadStatus, ...), or Cancelled.
        """
        with self.one_deadline():
            return self.retried(url, lambda: self._read(track, url, headers or {}))

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
        said = response.headers
        after = fields.retry_after(said.get("retry-after", ""), self._now(), said.get("date", ""))
        failure = status_failure(track, response.status_code, after or 0.0)
        if "foreign" in response.extensions and type(failure) is Unauthorized:
            # No credentials of the source went there, so these are not what was refused.
            reason = f"another server, which got no credentials, refused it ({response.status_code})"
            return Forbidden(track.address, track.label, reason, status=failure.status)
        return failure

    def pause(self, seconds: float) -> None:
        """Wait between requests. Raise Cancelled."""
        self.retries.pause(seconds, self.cancel)

    def retried(self, url: str, attempt: Callable[[], _T], advanced: Callable[[], bool] = lambda: False) -> _T:
        """Return what `attempt` returns in the end, as `Retries.run` does, within the deadline of this thread.

        A server that could not be reached with all retries is away: until it answers, with whatever status, nobody
        waits for it to be reached. One that takes a connection and closes it is away when it has done so twice: once
        may be the fault of what was asked for. A 503 is an answer, and gets its retries.
        """

        def is_away(error: TrackError) -> bool:
            return isinstance(error, Unreachable) and self._unanswered[_server(url)] >= _AWAY

        try:
            return self.retries.run(
                attempt, deadline=self.deadline, cancel=self.cancel, advanced=advanced, hopeless=is_away
            )
        except Unreachable as error:
            self._unanswered[_server(url)] += 1 if error.is_there else _AWAY
            raise

    def raise_if_late(self, track: Track, reason: str = "it took longer than total_timeout allows") -> None:
        """Raise TimedOut when the deadline of this thread has passed."""
        if self.retries.clock() >= self.deadline:
            raise TimedOut(track.address, track.label, reason)

    def raise_if_cancelled(self) -> None:
        """Raise Cancelled once the run was cancelled or aborted."""
        if self.cancel.is_set() or self._flights.aborted:
            raise Cancelled

    def abort(self) -> None:
        """End everything that waits for the network, for good; set the cancel event first, which ends other waits."""
        self._flights.abort()

    def close(self) -> None:
        """Close all connections."""
        self._flights.close()

    def _left(self) -> float:
        return max(self.deadline - self.retries.clock(), _LEAST_WAIT)

    def _read(self, track: Track, url: str, headers: Mapping[str, str]) -> Document:
        with self.get(track, url, headers) as response:
            if response.status_code != 200:
                raise self.failure_of(track, response)
            if fields.is_encoded(response.headers):
                raise BadResponse(track.address, track.label, "the server compressed its answer, though asked not to")
            content = bytearray()
            for chunk in self.chunks(track, response):
                content += chunk
                if len(content) > _LARGEST_DOCUMENT:
                    reason = f"the server answered with more than {format_size(_LARGEST_DOCUMENT)} of text"
                    raise TooLarge(track.address, track.label, reason)
            return Document(response.headers, bytes(content))


def _server(url: str) -> Authority | None:
    """Return which server a URL names, None if none."""
    try:
        return authority_of(url)
    except ValueError:
        return None


def open_web(config: Config, *, jobs: int, cancel: threading.Event) -> Web:
    """Return what `jobs` workers ask with. Raise ConfigError when the environment's proxy or CA bundle is unusable."""
    client = open_client(connect_timeout=config.connect_timeout, stall_timeout=config.stall_timeout, jobs=jobs)
    web = Web(client, Retries(config.retries, config.total_timeout), cancel)
    web.hide(proxy_secrets())
    return web
