"""A desk to download at, and answers to download: what the tests of web, download and partials share.

`answer(body, *headers, status=, length=)` is a raw HTTP answer, `bare` one without a length, `rest` a 206, `unchanged`
a 304; all close the connection. `wave(size)` is a whole WAVE file; `BYTES` and `SMALL` are two of them.

`desk.get(url, known, ...)` and `desk.body(...)` download `TRACK`; `desk.web(...)` asks for anything. Time does not pass
at a desk but by its waits, by `desk.drip` seconds for each chunk, and by whoever sets `desk.seconds`.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict, Unpack

import pytest

from cachestore.blobs import hash_file
from cachestore.download import Body, Downloader
from cachestore.download.question import place_of, resource_of
from cachestore.errors import Cancelled, TrackError
from cachestore.track import Origin, Track
from cachestore.version import Version, VersionKind
from cachestore.web import Web
from cachestore.web.client import open_client
from cachestore.web.flights import Flights
from cachestore.web.retries import Retries
from tests.servers import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import httpx
    import respx

    from cachestore.download import Elsewhere, NotModified
    from cachestore.web.client import Client
    from tests.servers import RawServer

TRACK = Track("studio", "t42", title="Opus")
SECRET = "s3cret"
OPENED_BY = {"Authorization": f"Bearer {TOKEN}"}


def wave(size: int, seed: int = 42) -> bytes:
    """Return a WAVE file of `size` bytes, at least 44: 16 bit stereo noise."""
    rate, frame = 44_100, 4
    sizes = [(size - 8).to_bytes(4, "little"), (size - 44).to_bytes(4, "little")]
    numbers = ((16, 4), (1, 2), (2, 2), (rate, 4), (rate * frame, 4), (frame, 2), (16, 2))
    form = b"".join(number.to_bytes(width, "little") for number, width in numbers)
    return b"RIFF" + sizes[0] + b"WAVEfmt " + form + b"data" + sizes[1] + random.Random(seed).randbytes(size - 44)


BYTES = wave(1_000_000)
SMALL = wave(9000)


def strong(value: str) -> Version:
    return Version(VersionKind.STRONG, value)


def weak(value: str) -> Version:
    return Version(VersionKind.WEAK, value)


def dated(date: str, size: int) -> Version:
    return Version(VersionKind.MODIFIED, f"{date} {size}")


def provided(value: str) -> Version:
    return Version(VersionKind.PROVIDER, value)


def answer(body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return an answer that promises `length` bytes, the body's by default."""
    return bare(body, f"Content-Length: {len(body) if length is None else length}", *headers, status=status)


def bare(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return an answer that promises no length."""
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *headers]).encode("latin-1") + b"\r\n\r\n" + body


def rest(body: bytes, start: int, *headers: str, total: int | None = None) -> bytes:
    """Return a 206 with the bytes of `body` from `start` on."""
    span = f"Content-Range: bytes {start}-{len(body) - 1}/{len(body) if total is None else total}"
    return answer(body[start:], span, *headers, status="206 Partial Content")


def unchanged(*headers: str) -> bytes:
    """Return a 304."""
    return bare(b"", *headers, status="304 Not Modified")


def sha256(data: bytes, name: str = "Repr-Digest") -> str:
    """Return a header field with the digest of `data`."""
    return f"{name}: sha-256=:{b64encode(hashlib.sha256(data).digest()).decode()}:"


def asked(server: RawServer, name: str) -> list[str | None]:
    """Return what each request said in the field `name`, None where it did not."""
    heads = [head.decode("latin-1").split("\r\n")[1:] for head in server.received]
    rows = [{key.lower(): value for key, _, value in (line.partition(": ") for line in head)} for head in heads]
    return [row.get(name.lower()) for row in rows]


class Options(TypedDict, total=False):
    """What a test may set of a download."""

    headers: Mapping[str, str]
    version: Version | None
    max_size: int
    retries: int
    total_timeout: float


@dataclass
class Desk:
    """A downloader with everything it needs, and what it was seen doing."""

    client: Client
    folder: Path
    seconds: float = 1000.0
    now: float = 1_700_000_000.0
    drip: float = 0.0
    waits: list[float] = field(default_factory=list)
    cancel: threading.Event = field(default_factory=threading.Event)
    cancel_at: int | None = None
    progress: list[tuple[int, int | None]] = field(default_factory=list)
    verified: list[int] = field(default_factory=list)
    others: list[tuple[int, int | None]] = field(default_factory=list)
    refused: list[tuple[str, TrackError]] = field(default_factory=list)
    other_origin: Origin | None = None
    when_waiting: Callable[[], None] = lambda: None

    def web(self, *, retries: int = 0, total_timeout: float = 10_000.0) -> Web:
        made = Retries(retries, total_timeout, clock=lambda: self.seconds, wait=self._wait)
        return Web(self.client, made, self.cancel, now=lambda: self.now)

    def downloader(self, web: Web, *, max_size: int = 10**9) -> Downloader:
        return Downloader(web, self.folder, max_size=max_size)

    def get(
        self, url: str, known: Sequence[Version] = (), **options: Unpack[Options]
    ) -> Body | NotModified | Elsewhere:
        """Download; a body's lock is released, as if it had been published."""
        origin = Origin(url, options.get("headers", {}), options.get("version"))
        web = self.web(retries=options.get("retries", 0), total_timeout=options.get("total_timeout", 10_000.0))
        outcome = self.ask(self.downloader(web, max_size=options.get("max_size", 10**9)), origin, known)
        if isinstance(outcome, Body):
            outcome.partial.release()
        return outcome

    def ask(
        self,
        downloader: Downloader,
        origin: Origin,
        known: Sequence[Version] = (),
        *,
        track: Track = TRACK,
        is_late: Callable[[], bool] = lambda: False,
    ) -> Body | NotModified | Elsewhere:
        here = place_of(resource_of(origin.url))
        return downloader.get(track, origin, dict.fromkeys(known, here), renew=self._renew, watch=self, is_late=is_late)

    def body(self, url: str, known: Sequence[Version] = (), **options: Unpack[Options]) -> Body:
        """Return the body that a download brings; nothing else of the track is left."""
        body = self.get(url, known, **options)
        assert isinstance(body, Body)
        assert body.size == body.path.stat().st_size
        assert body.digest == hash_file(body.path)
        assert list(self.folder.iterdir()) == [body.path]
        return body

    def refusal(self, url: str, known: Sequence[Version] = (), **options: Unpack[Options]) -> TrackError:
        """Return the failure of a download, which never tells what the URL hides."""
        with pytest.raises(TrackError) as caught:
            self.get(hiding(url), known, **options)
        return told(caught.value)

    def cut(self, url: str, at: int, **options: Unpack[Options]) -> None:
        """Cancel a download after so many bytes, as another run would have done."""
        run = Desk(self.client, self.folder, cancel_at=at)
        with pytest.raises(Cancelled):
            run.get(url, **options)

    def files(self) -> list[str]:
        return sorted(path.suffix for path in self.folder.iterdir())

    def received(self, received: int, total: int | None) -> None:
        self.progress.append((received, total))
        self.seconds += self.drip
        if self.cancel_at is not None and received >= self.cancel_at:
            self.cancel.set()

    def verifying(self, size: int) -> None:
        self.verified.append(size)

    def elsewhere(self, received: int, total: int | None) -> None:
        self.others.append((received, total))

    def _wait(self, cancel: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.seconds += seconds
        self.when_waiting()
        return cancel.is_set()

    def _renew(self, origin: Origin, error: TrackError) -> Origin | None:
        self.refused.append((origin.url, error))
        return self.other_origin


def open_desk(folder: Path, *, stall_timeout: float = 5.0) -> Desk:
    """Return a desk whose partials are in `folder`; close its client."""
    folder.mkdir(exist_ok=True)
    return Desk(open_client(connect_timeout=min(5.0, stall_timeout), stall_timeout=stall_timeout, jobs=4), folder)


class _Played(Flights):
    """Requests that are answered by a router."""

    def __init__(self, client: Client, router: respx.Router) -> None:
        super().__init__(client)
        self._router = router

    @contextmanager
    def get(self, url: httpx.URL, headers: httpx.Headers, left: float) -> Iterator[httpx.Response]:
        if self.aborted:
            raise Cancelled
        request = self._client.request(url, headers)
        response = self._router.handler(request)
        response.request = request
        yield response


def played(router: respx.Router, seconds: float = 60.0, cancel: threading.Event | None = None) -> Web:
    """Return a web without a network, whose answers come from a router, with so many seconds for each track.

    What has no route may not be asked for.
    """
    client = open_client(connect_timeout=5.0, stall_timeout=5.0, jobs=1)
    web = Web(client, Retries(0, seconds), cancel or threading.Event())
    web._flights = _Played(client, router)
    return web


def hiding(url: str) -> str:
    """Return `url` with secrets where a URL may have some."""
    return url.replace("://", f"://dj:{SECRET}@", 1) + f"?token={SECRET}"


def told(error: TrackError) -> TrackError:
    """Return `error` if it is told as it should be."""
    assert SECRET not in f"{error} {error!r}"
    assert str(error).startswith("Opus: ")
    return error


def come_true(fact: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < deadline


def aborted_after(web: Web, work: Callable[[], object], reached: Callable[[], bool]) -> float:
    """Abort `work` once it has come far enough; return how many seconds it took to end, as Cancelled."""
    with ThreadPoolExecutor() as pool:
        future = pool.submit(work)
        come_true(reached)
        started = time.monotonic()
        web.cancel.set()
        web.abort()
        with pytest.raises(Cancelled):
            future.result(5)
        return time.monotonic() - started
