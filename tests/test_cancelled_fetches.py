"""What a cancel leaves of bodies that had arrived: in the store, or to be gone on with."""

from __future__ import annotations

import threading
from importlib.metadata import EntryPoint, EntryPoints
from typing import TYPE_CHECKING, Any

import pytest

from cachestore.blobs import equal_bytes
from cachestore.cache import Cache
from cachestore.config import Config, SourceConfig
from cachestore.errors import Cancelled, NoSpace
from cachestore.events import State, TrackEvent
from cachestore.fetching import run
from cachestore.fetching.asking import Asker
from cachestore.fetching.reports import Arrived, Failed, RoomWanted
from cachestore.fetching.run import FetchRun
from cachestore.fetching.workers import Workers
from cachestore.store import publish
from cachestore.store.writer import Store
from cachestore.track import Track
from tests.downloads import come_true
from tests.library import make_wave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.events import Event
    from cachestore.fetching.reports import Question, Report
    from tests.conftest import StartNginx
    from tests.servers import Nginx

ONE, TWO, TWIN = Track("plain", "one"), Track("plain", "two"), Track("plain", "twin")


@pytest.fixture
def server(nginx: StartNginx, tmp_path: Path) -> Nginx:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "one").write_bytes(make_wave(2_000_000))
    (folder / "twin").write_bytes(make_wave(2_000_000))
    (folder / "two").write_bytes(make_wave(3001))
    return nginx(folder)


@pytest.fixture
def cache(server: Nginx, tmp_path: Path) -> Iterator[Cache]:
    plain = SourceConfig("plain", "http", {"url": f"{server.url}/plain/{{id}}"})
    with Cache.open(Config(root=tmp_path / "root", retries=0, sources={"plain": plain})) as opened:
        yield opened


def states(told: list[Event]) -> list[State]:
    """Return the last state of each row."""
    last = {event.index: event.state for event in told if isinstance(event, TrackEvent)}
    return [last[row] for row in sorted(last)]


def stored(cache: Cache) -> list[str]:
    return sorted(entry.id for entry in cache.store.entries())


def taken_together(monkeypatch: pytest.MonkeyPatch, how_many: int) -> None:
    """Let what comes of questions be heard of only when so many are answered, arrived bodies first."""
    held: list[Report] = []

    def gathered(self: Workers, timeout: float, works: Any = Workers.reports) -> Iterator[Report]:  # noqa: ANN401 - bound
        heard = list(works(self, timeout))
        held.extend(heard)
        ends = [report for report in held if isinstance(report, Arrived | Failed)]
        if len(ends) < how_many:
            return iter([report for report in heard if isinstance(report, RoomWanted)])
        held.clear()
        return iter(sorted(ends, key=lambda report: isinstance(report, Failed)))

    monkeypatch.setattr(Workers, "reports", gathered)


def test_a_cancel_ends_a_long_comparison_and_the_body_is_not_downloaded_again(
    cache: Cache, server: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(cache.fetch([ONE]))
    cancel = threading.Event()

    def cancelled_meanwhile(one: Path, other: Path) -> bool:
        cancel.set()
        return equal_bytes(one, other)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "equal_bytes", cancelled_meanwhile)
        patch.setattr(run, "_LAST_CHANCE", 0.0)
        with pytest.raises(Cancelled):
            list(cache.fetch([TWIN], cancel=cancel))
    assert stored(cache) == ["one"]
    [result] = cache.fetch([TWIN])
    assert result.error is None
    assert [request.status for request in server.requests("/plain/twin")] == [200, 304]
    assert list(cache.store.root.partials.iterdir()) == []


def test_what_has_arrived_is_published_by_a_cancel_that_ends_a_comparison(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(cache.fetch([ONE]))
    taken_together(monkeypatch, 2)
    put, cancel = Store.put, threading.Event()
    told: list[Event] = []

    def cancelled_at_first(*what: Any) -> list[Entry]:  # noqa: ANN401 - what the store is given
        cancel.set()
        return put(*what)

    monkeypatch.setattr(Store, "put", cancelled_at_first)
    with pytest.raises(Cancelled):
        list(cache.fetch([TWIN, TWO], on_event=told.append, cancel=cancel))
    assert stored(cache) == ["one", "twin", "two"]
    assert states(told) == [State.DONE, State.DONE]


def test_what_the_server_confirmed_is_not_told_as_cancelled(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    list(cache.fetch([ONE, TWO]))
    told: list[Event] = []

    def cancelled_when_all_is_answered(self: FetchRun) -> None:
        workers = self._workers
        assert workers is not None
        come_true(lambda: not workers._reports._open)
        raise Cancelled

    monkeypatch.setattr(FetchRun, "_pump", cancelled_when_all_is_answered)
    with pytest.raises(Cancelled):
        list(cache.fetch([ONE, TWO], on_event=told.append))
    assert states(told) == [State.DONE, State.DONE]


def test_a_cancel_while_a_provider_is_asked_again_loses_no_body(
    cache: Cache, server: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(*_: object) -> None:
        raise Cancelled

    with monkeypatch.context() as patch:
        patch.setattr("cachestore.fetching.asking._raise_if_changed", cancelled)
        with pytest.raises(Cancelled):
            list(cache.fetch([ONE]))
    [result] = cache.fetch([ONE])
    assert result.error is None
    assert [request.status for request in server.requests("/plain/one")] == [200, 304]


def test_what_arrived_before_a_full_disk_was_told_is_published(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_together(monkeypatch, 2)
    answer = Asker.answer

    def full(self: Asker, question: Question, tell: Callable[[Report], None]) -> Report:
        if question.track == TWO:
            raise NoSpace(cache.store.root.partials)
        return answer(self, question, tell)

    monkeypatch.setattr(Asker, "answer", full)
    with pytest.raises(NoSpace):
        list(cache.fetch([ONE, TWO]))
    assert stored(cache) == ["one"]


class Slow:
    """A third party's source that is made when it is told to, and cancels the run meanwhile."""

    goes_on, cancel = threading.Event(), threading.Event()

    def __init__(self, *_: object) -> None:
        Slow.cancel.set()
        Slow.goes_on.wait(30)


def test_a_cancel_does_not_wait_for_a_plugin_that_is_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = EntryPoints([EntryPoint("slow", f"{__name__}:Slow", "cachestore.sources")])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points.select(group=group))
    begun: list[threading.Thread] = []
    config = Config(root=tmp_path / "root", sources={"slow": SourceConfig("slow", "slow", {})})
    with Cache.open(config) as opened:
        with pytest.raises(Cancelled):
            list(opened.fetch([Track("slow", "one")], cancel=Slow.cancel))
        begun += [thread for thread in threading.enumerate() if thread.name == "source"]
    assert begun, "it was waited for"
    Slow.goes_on.set()
    for thread in begun:
        thread.join()
