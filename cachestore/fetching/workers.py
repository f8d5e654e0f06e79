"""Threads that ask servers: each takes a question, reports what comes of it, and writes no index."""

from __future__ import annotations

import traceback
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from cachestore.download import Downloader
from cachestore.errors import CacheStoreError, TrackError
from cachestore.fetching.asking import Asker
from cachestore.fetching.lookout import Lookout
from cachestore.fetching.reports import Failed, Question, Report
from cachestore.sources.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cachestore.config import Config
    from cachestore.root import Root


class Workers:
    """A bounded number of threads that answer questions."""

    def __init__(self, config: Config, root: Root, jobs: int) -> None:
        self._crew = Crew(config, jobs)
        self._web, self._sources = self._crew.web, self._crew.sources
        self._downloader = Downloader(self._web, root.partials, max_size=config.max_track_size)
        self._root = root
        self._jobs = jobs
        self._questions: SimpleQueue[Question | None] = SimpleQueue()
        self._reports: SimpleQueue[Report] = SimpleQueue()
        for _ in range(jobs):
            self._crew.start(self._work)

    def ask(self, questions: Sequence[Question]) -> None:
        """Queue questions. Raise ConfigError when a source is unknown or wrongly configured; then none is asked."""
        for question in questions:
            self._sources.account_of(question.track)
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
        for _ in range(self._jobs):
            self._questions.put(None)
        self._crew.stop(patience=patience)

    def _work(self) -> None:
        with closing(Lookout(self._root.path)) as lookout:
            asker = Asker(self._sources, self._downloader, lookout)
            while (question := self._questions.get()) is not None:
                self._reports.put(self._answer(asker, question))

    def _answer(self, asker: Asker, question: Question) -> Report:
        try:
            self._web.raise_if_cancelled()
            with self._web.one_deadline():
                return asker.answer(question, self._reports.put)
        except CacheStoreError as error:
            return Failed(question.number, error)
        except BaseException as error:  # noqa: BLE001 - a fault of ours fails its track, and is told
            if isinstance(error, OSError) and error.filename is not None:  # of the store's disk
                return Failed(question.number, error)
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"internal error ({type(error).__name__} at {Path(place.filename).name}:{place.lineno})"
            track = question.track
            return Failed(question.number, TrackError(track.address, track.label, f"{reason}; please report it"))
