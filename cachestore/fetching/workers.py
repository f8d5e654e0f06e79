"""Threads that ask servers: each takes a question, reports what comes of it, and touches no index."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from cachestore.download import Downloader, NotModified, open_client
from cachestore.errors import CacheStoreError, Cancelled
from cachestore.fetching.decide import check_pin
from cachestore.fetching.reports import Arrived, Failed, Progress, Question, Report, Unchanged, Verifying
from cachestore.media import identify
from cachestore.sources.registry import Sources
from cachestore.store.publish import Incoming

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cachestore.config import Config
    from cachestore.download import Body
    from cachestore.track import Track

_SECONDS_BETWEEN_PROGRESS = 0.2


class Workers:
    """A bounded number of daemon threads: a server that hangs cannot keep the process from ending."""

    def __init__(self, config: Config, partials: Path, jobs: int) -> None:
        self._sources = Sources(config)
        self._client = open_client(
            connect_timeout=config.connect_timeout, stall_timeout=config.stall_timeout, jobs=jobs
        )
        self._downloader = Downloader(self._client, partials, max_size=config.max_track_size, retries=config.retries)
        self._stopping = threading.Event()
        self._questions: SimpleQueue[Question | None] = SimpleQueue()
        self._reports: SimpleQueue[Report] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(jobs)]
        for thread in self._threads:
            thread.start()

    def ask(self, questions: Sequence[Question]) -> None:
        """Queue questions. Raise ConfigError when a source is unknown or wrongly configured; then none is asked."""
        for question in questions:
            self._sources.source_of(question.track)
        for question in questions:
            self._questions.put(question)

    def reports(self, timeout: float) -> Iterator[Report]:
        """Yield what has been reported; wait up to `timeout` seconds for the first."""
        with suppress(Empty):
            while True:
                yield self._reports.get(timeout=timeout)
                timeout = 0.0

    def stop(self, *, patience: float) -> None:
        """Abort what is in flight and wait up to `patience` seconds until it is put down."""
        self._stopping.set()
        self._downloader.abort()
        for _ in self._threads:
            self._questions.put(None)
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._client.close()

    def _work(self) -> None:
        while (question := self._questions.get()) is not None:
            try:
                report = self._answer(question)
            except BaseException as error:  # noqa: BLE001 (the asking thread raises it; a worker must not die unheard)
                report = Failed(question.number, error)
            self._reports.put(report)

    def _answer(self, question: Question) -> Report:
        if self._stopping.is_set():
            raise Cancelled
        track = question.track
        origin = self._sources.source_of(track).resolve(track)
        if origin.version is not None and origin.version in question.known:
            return Unchanged(question.number, origin.version)
        progress = _Progress(self._reports, question.number)
        body = self._downloader.get(track, origin, question.known, on_progress=progress, cancel=self._stopping)
        if isinstance(body, NotModified):
            return Unchanged(question.number, body.version)
        self._reports.put(Verifying(question.number, body.size))
        return Arrived(question.number, _examined(track, body))


def _examined(track: Track, body: Body) -> Incoming:
    """Return the body as it may enter the store; one that is refused leaves nothing behind."""
    try:
        check_pin(track, body.version)
        media = identify(body.path, track)
    except CacheStoreError:
        body.path.unlink(missing_ok=True)
        raise
    return Incoming(track, body.version, body.path, body.digest, body.size, media)


class _Progress:
    """Report the progress of one body, at most five times a second."""

    def __init__(self, reports: SimpleQueue[Report], number: int) -> None:
        self._reports = reports
        self._number = number
        self._next = 0.0

    def __call__(self, received: int, total: int | None) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_PROGRESS
            self._reports.put(Progress(self._number, received, total))
