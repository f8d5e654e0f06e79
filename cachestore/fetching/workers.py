"""Threads that ask servers: each takes a question, reports what comes of it, and writes no index."""

from __future__ import annotations

import time
import traceback
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.aside import awaited, begun
from cachestore.download import Downloader, Postponed
from cachestore.errors import CacheStoreError, TrackError
from cachestore.fetching import reports
from cachestore.fetching.asking import Asker
from cachestore.fetching.handover import Questions, Reports
from cachestore.fetching.lookout import Lookout
from cachestore.fetching.mishaps import failure_of, is_removed
from cachestore.fetching.reports import Failed, Question, Report, RoomWanted
from cachestore.sources.crew import Crew
from cachestore.store.reservations import SIDECAR, cost_of_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cachestore.config import Config
    from cachestore.download.outcome import Room
    from cachestore.fetching.rooms import Rooms
    from cachestore.root import Root


_PATIENCE = 10.0  # seconds that a server is kept waiting, which has begun to send
_TICK = 0.05


class Workers:
    """A bounded number of threads that answer questions, those with the lowest numbers first."""

    def __init__(self, config: Config, root: Root, jobs: int, rooms: Rooms) -> None:
        self._crew = Crew(config, jobs)
        self._web, self._sources = self._crew.web, self._crew.sources
        self._downloader = Downloader(self._web, root.partials, max_size=config.max_track_size)
        self._root = root
        self._questions = Questions(rooms.may_begin)
        self._reports = Reports()
        self._rooms = rooms
        self._patience = min(_PATIENCE, config.stall_timeout / 3)
        for _ in range(jobs):
            self._crew.start(self._work)

    def ask(self, questions: Sequence[Question], raise_if_cancelled: Callable[[], None]) -> None:
        """Queue questions. Raise ConfigError when a source is unknown or wrongly configured; then none is asked.

        A plugin may take its time to be loaded and made: meanwhile `raise_if_cancelled` is called.
        """

        def make_sources() -> None:
            for question in questions:
                self._sources.account_of(question.track)

        awaited(begun(make_sources), raise_if_cancelled)
        self._reports.expect(len(questions))
        self._questions.put(questions)

    def reports(self, timeout: float) -> Iterator[Report]:
        """Yield what has been reported; wait up to `timeout` seconds for the first, and a moment for others."""
        return self._reports.taken(timeout)

    def stop(self, *, patience: float) -> None:
        """Abort what is in flight and wait up to `patience` seconds until it is put down."""
        self._questions.end()
        self._reports.end()
        self._crew.stop(patience=patience)

    def _work(self) -> None:
        with closing(Lookout(self._root.path)) as lookout:
            asker = Asker(self._sources, self._downloader, self._room_of, lookout)
            for question in self._questions.taken():
                report = self._answer(asker, question)
                self._rooms.release(question.number)
                self._reports.put(report)

    def _room_of(self, number: int) -> Room:
        def is_granted(need: int, least: int) -> bool:
            return self._is_granted(RoomWanted(number, need, least, Future()))

        return self._rooms.room_of(number, is_granted)

    def _is_granted(self, wish: RoomWanted) -> bool:
        """Return whether the run grants room. It answers at once, unless its caller is busy or there is none now."""
        self._reports.put(wish)
        until = time.monotonic() + self._patience
        while True:
            try:
                return wish.answer.result(_TICK)
            except TimeoutError:
                self._web.raise_if_cancelled()
            if time.monotonic() > until and wish.answer.cancel():
                return False

    def _answered(self, asker: Asker, question: Question) -> Report:
        """Answer a question, and once more from the first byte if somebody removed what was written."""
        partials = self._root.partials
        try:
            return asker.answer(question, self._reports.put)
        except FileNotFoundError as error:
            if not is_removed(error, partials):
                raise
            partials.mkdir(mode=0o700, exist_ok=True)
        return asker.answer(question, self._reports.put)

    def _answer(self, asker: Asker, question: Question) -> Report:
        try:
            self._web.raise_if_cancelled()
            with self._web.one_deadline():
                return self._answered(asker, question)
        except Postponed as postponed:
            kept = postponed.kept + SIDECAR if postponed.kept else 0
            return reports.Postponed(question.number, cost_of_body(postponed.size) - kept, kept)
        except CacheStoreError as error:
            return Failed(question.number, error)
        except BaseException as error:  # noqa: BLE001 - a fault of ours fails its track, and is told
            if isinstance(error, OSError) and error.filename is not None:  # of the store's disk
                return Failed(question.number, failure_of(question.track, error, self._root.partials) or error)
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"internal error ({type(error).__name__} at {Path(place.filename).name}:{place.lineno})"
            track = question.track
            return Failed(question.number, TrackError(track.address, track.label, f"{reason}; please report it"))
