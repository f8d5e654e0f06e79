"""Questions and reports change threads, several at once where that is possible."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from cachestore.fetching import handover
from cachestore.fetching.handover import Questions, Reports
from cachestore.fetching.reports import Elsewhere, Question, RoomWanted
from cachestore.track import Track
from tests.downloads import come_true

if TYPE_CHECKING:
    import pytest

FOR_EVER = 1000.0


def question(number: int) -> Question:
    return Question(number, Track("studio", str(number)), {}, frozenset())


def questions(*numbers: int) -> Questions:
    asked = Questions(lambda _number: True)
    asked.put([question(number) for number in numbers])
    return asked


def test_the_lowest_number_is_asked_first() -> None:
    asked = questions(3, 1, 2).taken()
    assert [next(asked).number for _ in range(3)] == [1, 2, 3]


def test_a_question_that_may_not_begin_waits_and_ends_with_the_others() -> None:
    may_begin = threading.Event()
    asked = Questions(lambda _number: may_begin.is_set())
    asked.put([question(1)])
    with ThreadPoolExecutor(2) as workers:
        taken = [workers.submit(list, asked.taken()) for _ in range(2)]
        may_begin.set()
        come_true(lambda: not asked._here)
        asked.end()
        assert [*taken[0].result(), *taken[1].result()] == [question(1)]


def test_reports_are_taken_together_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_TOGETHER", FOR_EVER)
    reports, all_of_them = Reports(), [Elsewhere(number) for number in range(10)]
    reports.expect(10)
    with ThreadPoolExecutor(1) as run:
        taken = run.submit(lambda: list(reports.taken(FOR_EVER)))
        for report in all_of_them:
            reports.put(report)
        assert taken.result() == all_of_them


def test_a_thread_that_waits_for_room_is_heard_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_TOGETHER", FOR_EVER)
    reports, wish = Reports(), RoomWanted(1, 10, 10, Future())
    reports.expect(10)
    reports.put(Elsewhere(0))
    reports.put(wish)
    assert list(reports.taken(FOR_EVER)) == [Elsewhere(0), wish]


def test_who_answers_waits_while_nobody_hears_it_and_no_longer_than_the_run() -> None:
    reports, heard = Reports(), handover._AHEAD
    reports.expect(100)
    for number in range(heard):
        reports.put(Elsewhere(number))
    with ThreadPoolExecutor(2) as workers:
        late = [workers.submit(reports.put, Elsewhere(number)) for number in range(2)]
        next(reports.taken(0.0))
        come_true(lambda: any(one.done() for one in late))
        reports.end()
        assert [one.result() for one in late] == [None, None]
    assert len(list(reports.taken(0.0))) == heard + 1
