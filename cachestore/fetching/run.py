"""One fetch from start to end, in the caller's thread: decide, ask, publish, and give results in input order."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from cachestore.blobs import checked
from cachestore.errors import Cancelled, TrackError
from cachestore.events import State
from cachestore.fetching.arrivals import Arrivals
from cachestore.fetching.decide import Ask, Hit, decide, fallback
from cachestore.fetching.holdings import Holdings
from cachestore.fetching.keeper import Keeper
from cachestore.fetching.reports import (
    ON_THE_WAY,
    Arrived,
    Elsewhere,
    Failed,
    Postponed,
    Progress,
    Question,
    RoomWanted,
    Unchanged,
    Verifying,
    Waiting,
)
from cachestore.fetching.wanted import Result, Wanted, distinct, result_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Iterator, Sequence

    from cachestore.entry import Entry
    from cachestore.fetching.clearing import Means
    from cachestore.fetching.decide import Policy
    from cachestore.fetching.reports import Report
    from cachestore.fetching.rooms import Rooms
    from cachestore.fetching.telling import Teller
    from cachestore.fetching.workers import Workers
    from cachestore.store.writer import Store
    from cachestore.track import Track

_TICK = 0.1
_PATIENCE = 1.5
_LAST_CHANCE = 0.7  # seconds to publish what has arrived, after a cancel


class FetchRun:
    """The state of one fetch. `hire` gives the workers when the first question comes up: offline there are none."""

    def __init__(
        self,
        store: Store,
        tracks: Sequence[Track],
        policy: Policy,
        *,
        hire: Callable[[Rooms], Workers],
        means: Means,
        teller: Teller,
        cancel: threading.Event,
    ) -> None:
        self._store = store
        self._policy = policy
        self._hire = hire
        self._workers: Workers | None = None
        self._means = means
        self._tell = teller
        self._cancel = cancel
        self._run_id = ""
        self._began = time.time()
        self._wanted = distinct(tracks)
        self._unanswered = 0
        self._arrivals = Arrivals(store, self._accept)
        self._by_row = {row: wanted for wanted in self._wanted for row in wanted.rows}

    def results(self) -> Generator[Result]:
        """Yield one result a row, in input order. Raise Cancelled, or whatever ends the run as a whole."""
        with ExitStack() as life:  # it outlasts the workers: a sweep takes what they download from the dead
            try:
                self._run_id = life.enter_context(self._store.run("fetch"))
                self._holdings = Holdings(self._store, self._run_id, self._tell)
                self._keeper = self._new_keeper()
                self._arrivals.run_id = self._run_id
                with checked(self._raise_if_cancelled):
                    self._begin()
                for row in sorted(self._by_row):
                    wanted = self._by_row[row]
                    while not self._is_settled(wanted):
                        with checked(self._raise_if_cancelled):
                            self._pump()
                    yield result_of(wanted, row)
                    wanted.delivered = True
                    if row == max(wanted.rows):  # who asks for the next result has linked this one
                        self._holdings.let_go(wanted)
                        self._keeper.look_soon()
            except BaseException:
                self._abandon()
                raise
            finally:
                self._end()

    def _is_settled(self, wanted: Wanted) -> bool:
        """Return whether a track has its outcome; one that gave way is asked for again if what it had is gone."""
        if wanted.gave_way and wanted.outcome is not None:
            self._holdings.reclaim(wanted)
            if wanted.outcome is None:
                self._decide([wanted])
        return wanted.outcome is not None

    def _new_keeper(self) -> Keeper:
        return Keeper(
            self._store,
            self._run_id,
            self._means,
            give_way=lambda number: self._holdings.give_way(self._wanted, number),
            tell=self._tell.waiting_for_room,
            cancel=self._cancel,
        )

    def _begin(self) -> None:
        for wanted in self._wanted:
            self._raise_if_cancelled()
            self._tell.state(wanted, State.QUEUED)
        self._holdings.look_up(self._wanted)
        self._raise_if_cancelled()
        self._decide(self._wanted)

    def _decide(self, several: Sequence[Wanted]) -> None:
        """Settle the tracks that need no server, and ask for the others."""
        now = time.time()
        questions: list[Question] = []
        for wanted in several:
            decision = wanted.refused or decide(wanted.track, wanted.whole, self._policy, now)
            if isinstance(decision, Ask):
                questions.append(Question(wanted.number, wanted.track, decision.known, wanted.stored))
            else:
                self._settle(wanted, decision)
        self._ask(questions)

    def _ask(self, questions: Sequence[Question]) -> None:
        """Hand all questions to the workers; a source that is unknown or wrong is found before the first request."""
        if not questions:
            return
        self._workers = self._workers or self._hire(self._keeper.begin())
        self._workers.ask(questions, self._raise_if_cancelled)
        self._unanswered += len(questions)
        for question in questions:
            self._raise_if_cancelled()
            self._tell.state(self._wanted[question.number], State.CHECKING)

    def _pump(self) -> None:
        """Take in what the workers report, and publish bodies that are there, several in one transaction.

        They wait for others a moment, unless there are none, or somebody waits for room, which theirs is a part of.
        """
        self._raise_if_cancelled()
        left = self._take_in()
        self._keeper.lower()
        if not self._unanswered or self._keeper.is_waited_for or not self._arrivals.patience:
            self._arrivals.publish()
        for number, error in self._keeper.decided():
            if error is not None:
                self._fail(self._wanted[number], error)
            else:
                left.append(self._wanted[number])
        self._look_again(left)

    def _take_in(self) -> list[Wanted]:
        """Take in reports, as long as nothing else has to be done; return for which the store is to be asked again."""
        left: list[Wanted] = []
        patience, until = self._arrivals.patience, time.monotonic() + _TICK
        for report in self._reports(_TICK if patience is None else patience):
            if not self._took(report):
                left.append(self._wanted[report.number])
            if self._arrivals.patience == 0.0 or self._cancel.is_set() or time.monotonic() > until:
                break
        return left

    def _reports(self, timeout: float) -> Iterator[Report]:
        return self._workers.reports(timeout) if self._workers is not None else iter(())

    def _took(self, report: Report) -> bool:
        """Take in a report, and return whether the store has not to be asked for its track again."""
        wanted = self._wanted[report.number]
        self._unanswered -= not isinstance(report, ON_THE_WAY)
        match report:
            case Progress():
                self._tell.progress(wanted, State.DOWNLOADING, report.received, report.total)
            case Verifying():
                self._tell.progress(wanted, State.VERIFYING, report.size, report.size)
            case Waiting():
                self._tell.elsewhere(wanted, report.received, report.total)
            case Unchanged():
                entry = next(entry for entry in wanted.whole if entry.version == report.version)
                self._store.validated(entry)
                self._settle(wanted, Hit(entry))
            case RoomWanted():
                self._keeper.hear(report, wanted.track)
            case Postponed():
                self._keeper.postpone(report, wanted.track)
            case Failed():
                self._fail(wanted, report.error)
            case Arrived():
                self._arrivals.add(report)
            case Elsewhere():
                return False
        return True

    def _look_again(self, several: Sequence[Wanted]) -> None:
        """Take what another process has downloaded since we began, or ask ourselves."""
        if not several:
            return
        self._holdings.look_up(several)
        for wanted in several:
            fresh = next((entry for entry in wanted.whole if self._began <= entry.validated_at <= time.time()), None)
            if fresh is not None:
                self._settle(wanted, Hit(fresh))
        self._decide([wanted for wanted in several if wanted.outcome is None])

    def _fail(self, wanted: Wanted, error: BaseException) -> None:
        """Settle for a stale entry or the track's error; any other error ends the run."""
        if not isinstance(error, TrackError):
            raise error
        hit = fallback(self._holdings.still_whole(wanted), error, self._policy, time.time())
        if hit is not None:
            self._tell.stale(wanted, error)
        self._settle(wanted, hit or error)

    def _accept(self, number: int, outcome: Entry | TrackError) -> None:
        """Take what became of a body that arrived."""
        wanted = self._wanted[number]
        if isinstance(outcome, TrackError):
            self._settle(wanted, outcome)
            return
        wanted.downloaded = True
        if outcome.version.digest:
            self._tell.version_reused(outcome)
        self._settle(wanted, Hit(outcome))

    def _settle(self, wanted: Wanted, outcome: Hit | TrackError) -> None:
        self._holdings.settle(wanted, outcome)
        self._keeper.rooms.release(wanted.number)
        self._tell.outcome(wanted, outcome)

    def _raise_if_cancelled(self) -> None:
        if self._cancel.is_set():
            raise Cancelled

    def _abandon(self) -> None:
        """End early: stop the workers, keep what they had finished, and tell every open row that it is cancelled."""
        if self._workers is not None:
            self._workers.stop(patience=_PATIENCE)
        for report in self._reports(0.0):
            if isinstance(report, Arrived | Unchanged):
                self._took(report)
        self._arrivals.publish_soon(time.monotonic() + _LAST_CHANCE)
        self._tell.cancelled(self._wanted)

    def _end(self) -> None:
        if self._workers is not None:
            self._workers.stop(patience=_PATIENCE)
        hits = [wanted for wanted in self._wanted if isinstance(wanted.outcome, Hit) and not wanted.downloaded]
        self._store.used(wanted.outcome.entry for wanted in hits if isinstance(wanted.outcome, Hit))
        misses = sum(wanted.outcome is not None for wanted in self._wanted) - len(hits)
        self._store.count(hits=len(hits), misses=misses)
        self._wanted, self._by_row = [], {}  # with the keeper we are a cycle, which lives longer than it is needed
