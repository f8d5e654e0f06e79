"""Room is reserved before a body is written, by all processes together, and given back on every way out."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections import Counter, namedtuple
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cachestore import runs
from cachestore.blobs import Blobs
from cachestore.cache import Cache
from cachestore.config import Config, SourceConfig
from cachestore.errors import Cancelled, FetchFailed, NoRoom, NoRoomYet, TooLarge, Truncated
from cachestore.events import State, TrackEvent, WarningEvent
from cachestore.fetching import clearing, keeper
from cachestore.fetching.rooms import Rooms
from cachestore.links import LinkMode
from cachestore.partials import DownloadLock, Partial, claim
from cachestore.prune import Limits, apply, plan_for, prune
from cachestore.quantities import format_size
from cachestore.rows import LEASES, RUNS, LeaseRow, Totals
from cachestore.runs import RunLock, staging_suffix
from cachestore.store import costs
from cachestore.store.costs import cost_of
from cachestore.store.reservations import SIDECAR, Announced, Bounds, Room, cost_of_body, room_of
from cachestore.store.writer import Store
from cachestore.sweep import sweep
from cachestore.track import Track
from cachestore.usage import usage
from exporter_plugin import export_mix
from exporter_plugin.row import Mix, Row
from tests.downloads import answer, bare, come_true
from tests.invariants import faults, leftovers
from tests.library import make_wave
from tests.neighbours import Street, is_downloading, ranged, requested
from tests.raw_servers import Gate
from tests.stores import count_blocks_late, lock, plant_row, put
from tests.stranger import row
from tests.test_stress import spoil
from tests.unfinished import age, killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cachestore.cache import Result
    from cachestore.entry import Entry
    from cachestore.events import Event
    from cachestore.rows import Bundle
    from tests.conftest import StartRawServer
    from tests.raw_servers import Answer
    from tests.stranger import Stranger

SIZE = 200_000
COST = cost_of_body(SIZE)
PLENTY = Bounds(10**9, 0)


def body(track: str, size: int = SIZE) -> bytes:
    return make_wave(size, track)


def serve(head: bytes) -> bytes:
    """Answer with the body of any track, with an ETag."""
    track = requested(head)
    return answer(body(track), f'ETag: "{track}"')


def serve_without_length(head: bytes) -> bytes:
    data = body(requested(head))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (data[:90_000], data[90_000:]))
    return bare(chunks + b"0\r\n\r\n", "Transfer-Encoding: chunked", 'ETag: "1"')


def tracks(count: int) -> list[Track]:
    return [Track("cloud", f"t{number}", title=f"T{number}") for number in range(count)]


@pytest.fixture
def open_cache(raw_server: StartRawServer, tmp_path: Path) -> Iterator[Callable[..., Cache]]:
    """Open caches of one small store, whose server answers in a given way."""
    opened: list[Cache] = []

    def open_one(respond: Callable[[bytes], Answer] = serve, *, root: str = "root", **settings: Any) -> Cache:  # noqa: ANN401
        cloud = SourceConfig("cloud", "http", {"url": f"{raw_server(respond).url}/{{id}}"})
        known: dict[str, Any] = {"root": tmp_path / root, "retries": 0, "min_free": 0, "max_size": 10**9} | settings
        opened.append(Cache.open(Config(sources={"cloud": cloud}, **known)))
        return opened[-1]

    yield open_one
    for cache in opened:
        cache.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    with Store.open(store.root.path) as opened:
        yield opened


def errors(results: list[Result]) -> list[str]:
    return [str(result.error) for result in results if result.error]


# The row


def test_what_one_run_reserves_another_cannot(store: Store, other: Store) -> None:
    bounds = Bounds(100_000, 0)
    with store.run("fetch") as one, other.run("fetch") as two:
        assert store.reserve(one, 70_000, spare=0, unwritten=0, bounds=bounds) == 70_000
        assert other.reserve(two, 70_000, spare=0, unwritten=0, bounds=bounds) == 0
        assert other.reserve(two, 30_000, spare=0, unwritten=0, bounds=bounds) == 30_000
        assert store.reserved() == 100_000
    assert store.reserved() == 0


def test_as_much_to_spare_is_reserved_as_there_is_room_for(store: Store) -> None:
    with store.run("fetch") as run_id:
        assert store.reserve(run_id, 10_000, spare=500, unwritten=0, bounds=PLENTY) == 10_500
        assert store.reserve(run_id, 10_000, spare=10**6, unwritten=7_000, bounds=Bounds(20_000, 0)) == 13_000
        assert store.reserved() == 20_000


def test_what_a_killed_run_has_reserved_counts_for_nothing_and_is_swept(store: Store) -> None:
    with store.run("fetch") as run_id:
        store.reserve(run_id, 70_000, spare=0, unwritten=0, bounds=PLENTY)
        row_of_the_dead = dict(store.runs())[run_id]
    dead = "0" * 32
    with store._transaction() as ledger:
        ledger.put_run(dead, row_of_the_dead)
    assert row_of_the_dead.reserved == 70_000
    assert store.reserved() == 0
    sweep(store, time.time(), max_size=10**9)
    assert store.existing(RUNS, [dead]) == set()


def test_a_reservation_is_lowered_by_whatever_is_written_next(store: Store, other: Store) -> None:
    with store.run("fetch") as run_id:
        store.reserve(run_id, 70_000, spare=0, unwritten=0, bounds=PLENTY)
        store.lower(run_id, 5_000, 0)
        assert other.reserved() == 70_000
        put(store, "1", b"1")
        assert other.reserved() == 5_000


def test_the_disk_bounds_a_reservation_too(store: Store) -> None:
    room = room_of(store)
    assert Bounds(10**15, room.free - 500).left(Room(0, room.free, 100)) == 400
    with store.run("fetch") as run_id:
        assert store.reserve(run_id, 10**12, spare=0, unwritten=0, bounds=Bounds(10**15, room.free)) == 0


def test_a_run_without_a_reservation_is_read_as_before(store: Store) -> None:
    lock = RunLock(store.root.runs)
    with store._transaction() as ledger:
        plant_row(ledger._rows, RUNS.key(lock.id), {"command": "fetch", "started_at": 1.0, "dest": None})
    assert dict(store.runs())[lock.id].reserved == 0
    lock.release()


def test_nobody_waits_for_the_lock_while_quarantine_is_added_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.root.quarantine / "photo.jpg").write_bytes(bytes(60_000))
    stat, seen = costs._stat, []

    def noted(path: Path | str) -> Any:  # noqa: ANN401
        if str(path).endswith("photo.jpg"):
            seen.append(path)
            with closing(sqlite3.connect(store.root.index / "cache.db", timeout=0)) as other:
                other.execute("BEGIN IMMEDIATE")
        return stat(path)

    monkeypatch.setattr(costs, "_stat", noted)
    with store.run("fetch") as run_id:
        assert store.reserve(run_id, 50_000, spare=0, unwritten=0, bounds=Bounds(100_000, 0)) == 0
        assert store.reserve(run_id, 30_000, spare=0, unwritten=0, bounds=Bounds(100_000, 0)) == 30_000
    assert seen


def test_what_is_received_and_not_on_the_disk_yet_is_no_more_than_is_reserved_for_it(tmp_path: Path) -> None:
    with claim(tmp_path, "cloud:t", DownloadLock.without(tmp_path), threading.Event()) as partial:
        partial.begin(None, None, SIZE)
        for size in (1, 4000, 4000, 90, 9000, 4095, 70_000, 5):
            partial.write(bytes(size))
            unwritten = partial.received - partial.path.stat().st_size
            assert unwritten <= cost_of_body(0) - SIDECAR


# One run


def test_nothing_stays_reserved_when_a_fetch_is_done(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache()
    assert errors(list(cache.fetch(tracks(5)))) == []
    assert cache.store.reserved() == 0


def test_room_for_the_whole_body_is_reserved_when_its_first_bytes_are_written(
    open_cache: Callable[..., Cache],
) -> None:
    whole = serve(b"GET /t0 HTTP/1.1")
    gate = Gate(whole[:60_000], whole[60_000:])
    cache = open_cache(lambda _: gate)
    seen: list[int] = []

    def look() -> None:
        with Store.open(cache.store.root.path) as other:
            gate.wait()
            come_true(lambda: other.reserved() > 0)
            seen.append(other.reserved())
        gate.open()

    looking = threading.Thread(target=look)
    looking.start()
    assert errors(list(cache.fetch(tracks(1)))) == []
    looking.join()
    assert seen[0] >= COST
    assert cache.store.reserved() == 0


def test_a_track_larger_than_the_store_never_fits(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache(max_size=SIZE)
    [result] = cache.fetch(tracks(1))
    assert type(result.error) is NoRoom
    takes = f"T0: it takes {format_size(COST - SIDECAR)}"
    assert str(result.error) == f"{takes}, and max_size allows 200 kB for the whole store; raise it"
    assert list(cache.store.root.partials.iterdir()) == []


def test_a_disk_below_min_free_has_no_room_and_says_what_to_do(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache(min_free=10**15)
    [result] = cache.fetch(tracks(1))
    assert type(result.error) is NoRoom
    assert result.error.exit_code == 4
    said = str(result.error)
    assert said.startswith(f"T0: there is no room for its {format_size(COST - SIDECAR)}: min_free keeps")
    assert said.endswith(" are; free space there or lower min_free")


def test_the_bound_holds_on_a_disk_that_counts_the_blocks_of_a_file_some_seconds_late(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache(max_size=3 * COST)
    with monkeypatch.context() as late:
        count_blocks_late(late)
        for track in tracks(5):
            assert errors(list(cache.fetch([track]))) == []
        assert usage(cache.store).bounded_bytes >= 2 * SIZE
    assert cost_of(cache.store.root.blobs) <= 3 * COST


def test_a_file_that_was_not_just_written_costs_its_blocks(store: Store) -> None:
    sparse = store.root.quarantine / "sparse"
    sparse.touch()
    os.truncate(sparse, 10**6)
    assert cost_of(sparse) == 10**6
    os.utime(sparse, (0, time.time() - 100))
    assert cost_of(sparse) == sparse.stat().st_blocks * 512 < 10**6


def test_what_is_locked_keeps_nothing_else_from_making_room(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache(max_size=3 * SIZE)
    one, two, three = tracks(3)
    list(cache.fetch([one]))
    list(cache.fetch([two]))
    [kept] = cache.store.named(one)
    lock(monkeypatch, cache.store.blobs.path(kept.digest))
    assert errors(list(cache.fetch([three]))) == []
    assert [cache.find(track) is not None for track in (one, two, three)] == [True, False, True]


def test_many_that_are_locked_are_looked_at_a_few_times_each(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache(min_free=10**9)
    store = cache.store
    locked = [put(store, f"locked-{number}", number.to_bytes(2, "big")) for number in range(600)]
    put(store, "big", bytes(2 * COST))
    lock(monkeypatch, *(store.blobs.path(entry.digest) for entry in locked))
    disk = 10**9 + cost_of(store.root.path / "blobs-v1")  # the ballast has been made
    free_of = namedtuple("free_of", ["free"])
    monkeypatch.setattr("shutil.disk_usage", lambda path: free_of(disk - cost_of(path / "blobs-v1")))
    looks: Counter[str] = Counter()
    stat = Blobs.stat

    def counted(blobs: Blobs, digest: str) -> os.stat_result | None:
        looks[digest] += 1
        return stat(blobs, digest)

    monkeypatch.setattr(Blobs, "stat", counted)
    assert errors(list(cache.fetch(tracks(1)))) == []
    assert {looks[entry.digest] for entry in locked} <= {1, 2, 3, 4}


def test_what_was_unlocked_goes_at_the_end_of_the_next_export(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache(max_size=SIZE)
    entry = put(cache.store, "1", bytes(2 * SIZE))
    with monkeypatch.context() as locking:
        lock(locking, cache.store.blobs.path(entry.digest))
        cache.enforce_bound()
        assert len(list(cache.store.entries())) == 1
    cache.enforce_bound()
    assert list(cache.store.entries()) == []


def test_what_is_pinned_leaves_no_room_and_nobody_waits_for_it(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache(max_size=COST + SIZE // 2)
    one, two = tracks(2)
    list(cache.fetch([one]))
    cache.store.pin(one, pinned=True)
    [result] = cache.fetch([two])
    assert type(result.error) is NoRoom
    assert "unpin tracks or raise max_size" in str(result.error)
    assert cache.find(one) is not None


def test_a_fetch_of_three_times_the_store_evicts_what_was_asked_for_before(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache(max_size=5 * COST)
    for result in cache.fetch(tracks(15)):
        assert cache.store.is_whole(result.entry)
        assert room_of(cache.store).bounded <= 5 * COST
    assert cache.store.totals().exclusive <= 5 * COST


def test_the_first_row_gets_its_room_from_what_came_for_later_rows(open_cache: Callable[..., Cache]) -> None:
    late = Gate(b"", serve(b"GET /t0 HTTP/1.1"))
    cache = open_cache(lambda head: late if requested(head) == "t0" else serve(head), max_size=2 * COST + 4096)

    def open_when_another_is_done(event: Event) -> None:
        if isinstance(event, TrackEvent) and event.state is State.DONE:
            late.open()

    for result in cache.fetch(tracks(4), on_event=open_when_another_is_done):
        assert cache.store.is_whole(result.entry)


@pytest.mark.long
def test_a_row_that_gave_way_begins_before_the_one_that_waits(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large row waits for what those before it lease; they give way to the first one, and are asked for again."""
    monkeypatch.setattr(keeper, "_PATIENCE", 8.0)
    monkeypatch.setattr(keeper, "_UNTOLD", 0.0)
    late = Gate(b"", serve(b"GET /t0 HTTP/1.1"))

    def respond(head: bytes) -> Answer:
        track = requested(head)
        data = body(track, 2 * SIZE if track == "t4" else SIZE)
        return late if track == "t0" else answer(data, f'ETag: "{track}"')

    def open_when_one_waits(event: Event) -> None:
        if isinstance(event, WarningEvent) and event.code == "waiting_for_room":
            late.open()

    cache = open_cache(respond, max_size=2 * COST + 30_000, stall_timeout=9.0)
    for result in cache.fetch(tracks(6), on_event=open_when_one_waits):
        assert cache.store.is_whole(result.entry)


def test_a_track_that_is_asked_for_twice_gives_way_in_between(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_PATIENCE", 10.0)
    cache = open_cache(max_size=3 * COST)
    for result in cache.fetch([*tracks(6), *tracks(6)]):
        assert cache.store.is_whole(result.entry)


def test_a_new_version_gets_its_room_from_the_old_one(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_PATIENCE", 5.0)
    served = ["old"]
    cache = open_cache(lambda _: answer(body(served[0]), f'ETag: "{served[0]}"'), max_size=COST + 4096)
    [old] = cache.fetch(tracks(1))
    served[0] = "new"
    [new] = cache.fetch(tracks(1))
    assert new.entry.digest != old.entry.digest
    assert cache.store.is_whole(new.entry)


@pytest.mark.parametrize("status", ["200 OK", "500 Oops"])
def test_a_new_version_that_fails_for_now_is_asked_for_once_and_fails_so(
    open_cache: Callable[..., Cache], status: str
) -> None:
    """Where both versions do not fit, the old one had to go; what came of the new one is gone on with by the next."""
    new = ranged(body("new"))
    answers: list[Any] = [answer(body("old"), 'ETag: "0"')]
    cut = answer(body("new")[:90_000], 'ETag: "1"', length=SIZE)
    failing = cut if status == "200 OK" else answer(b"", status=status)
    asked: list[bytes] = []

    def respond(head: bytes) -> bytes:
        asked.append(head)
        return answers.pop() if answers else new(head)

    cache = open_cache(respond, max_size=COST + 4096)
    [old] = cache.fetch(tracks(1))
    answers.extend([failing, failing])
    states: list[State] = []
    [result] = cache.fetch(tracks(1), on_event=lambda event: states.extend(states_of(event)))
    assert len(asked) == 2
    assert states.count(State.FAILED) == (1 if status == "200 OK" else 0)
    if status == "200 OK":
        assert isinstance(result.error, Truncated)
        assert (result.error.exit_code, result.error.retryable) == (75, True)
    else:
        assert (result.stale, result.entry) == (True, old.entry)
    answers.clear()
    [result] = cache.fetch(tracks(1))
    assert result.entry.version != old.entry.version
    assert (b"range: bytes=" in asked[-1].lower()) is (status == "200 OK")


def states_of(event: Event) -> list[State]:
    return [event.state] if isinstance(event, TrackEvent) else []


def test_a_body_without_a_length_gets_room_as_it_grows(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache(serve_without_length, max_size=3 * COST)
    assert errors(list(cache.fetch(tracks(6)))) == []
    assert cache.store.reserved() == 0


def test_a_body_without_a_length_that_outgrows_the_store_stops(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache(serve_without_length, max_size=SIZE - 50_000)
    [result] = cache.fetch(tracks(1))
    assert isinstance(result.error, NoRoom)
    assert list(cache.store.root.partials.iterdir()) == []


def test_a_body_without_a_length_ends_at_max_track_size(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache(serve_without_length, max_track_size=SIZE - 1)
    [result] = cache.fetch(tracks(1))
    assert isinstance(result.error, TooLarge)


def test_a_body_longer_than_announced_stops_at_what_was_reserved(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = Partial.write

    def noted(self: Partial, chunk: bytes) -> None:
        write(self, chunk)
        written.append(self.received)

    monkeypatch.setattr(Partial, "write", noted)
    data = body("t0")
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (data, data)) + b"0\r\n\r\n"
    head = f"Content-Range: bytes 0-{SIZE - 1}/{SIZE}"
    cache = open_cache(lambda _: bare(chunked, head, "Transfer-Encoding: chunked"), max_track_size=SIZE)
    [result] = cache.fetch(tracks(1))
    assert result.error is not None
    assert max(written, default=0) <= SIZE


def test_many_small_bodies_share_one_reservation(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    reserve = Store.reserve

    def counted(self: Store, run_id: str, need: int, **rest: Any) -> int:  # noqa: ANN401
        asked.append(need)
        return reserve(self, run_id, need, **rest)

    monkeypatch.setattr(Store, "reserve", counted)
    cache = open_cache(max_size=20 * 10**9)
    assert errors(list(cache.fetch(tracks(40)))) == []
    assert len(asked) <= 4


# Several runs


@contextmanager
def hold(store: Store, size: int) -> Iterator[None]:
    """Reserve room as another run."""
    with store.run("fetch") as run_id:
        assert store.reserve(run_id, size, spare=0, unwritten=0, bounds=PLENTY) == size
        yield


@pytest.mark.long
def test_a_fetch_waits_for_what_another_run_reserves_and_goes_on(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache(max_size=2 * COST)
    other = Store.open(cache.store.root.path)
    warned = threading.Event()
    freed = threading.Event()

    def neighbour() -> None:
        with Store.open(cache.store.root.path) as mine, hold(mine, COST + 8192):
            freed.set()
            warned.wait(60)

    thread = threading.Thread(target=neighbour)
    thread.start()
    freed.wait(60)

    def hear(event: Event) -> None:
        if isinstance(event, WarningEvent) and event.code == "waiting_for_room":
            warned.set()

    assert errors(list(cache.fetch(tracks(1), on_event=hear))) == []
    assert warned.is_set()
    thread.join()
    other.close()


def test_patience_ends_and_the_failure_is_temporary(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_PATIENCE", 0.5)
    cache = open_cache(max_size=2 * COST)
    with Store.open(cache.store.root.path) as other, hold(other, 2 * COST):
        results = list(cache.fetch(tracks(3)))
    assert [type(result.error) for result in results] == [NoRoomYet] * 3
    failures = [result.error for result in results if result.error]
    assert FetchFailed(failures, 3, 1).exit_code == 75
    assert errors(list(cache.fetch(tracks(1)))) == []


@pytest.mark.long
def test_a_cancel_ends_the_wait_for_room(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache(max_size=2 * COST)
    cancel = threading.Event()

    def hear(event: Event) -> None:
        if isinstance(event, WarningEvent):
            cancel.set()
            began.append(time.monotonic())

    began: list[float] = []
    with Store.open(cache.store.root.path) as other, hold(other, 2 * COST):
        with pytest.raises(Cancelled):
            list(cache.fetch(tracks(3), on_event=hear, cancel=cancel))
        assert time.monotonic() - began[0] < 3
    assert cache.store.reserved() == 0


def cancel_when(happened: threading.Event, cancel: threading.Event) -> None:
    happened.wait(30)
    cancel.set()


@pytest.mark.long
def test_who_waits_long_holds_no_connection(open_cache: Callable[..., Cache]) -> None:
    closed = threading.Event()

    class Patient(Gate):
        """See whether the client closes before all is sent."""

        def play(self, connection: Any, stopped: threading.Event) -> None:  # noqa: ANN401
            whole = serve(b"GET /t0 HTTP/1.1")
            connection.sendall(whole[:60_000])
            connection.settimeout(30)
            if connection.recv(1) == b"":
                closed.set()

    first = Patient(b"", b"")
    answers: list[Any] = [first]
    cache = open_cache(lambda head: answers.pop() if answers else serve(head), max_size=2 * COST, stall_timeout=3.0)
    with Store.open(cache.store.root.path) as other, hold(other, 2 * COST):
        cancel = threading.Event()
        threading.Thread(target=cancel_when, args=(closed, cancel), daemon=True).start()
        with pytest.raises(Cancelled):
            list(cache.fetch(tracks(1), cancel=cancel))
    assert closed.is_set()
    assert list(cache.store.root.partials.glob("*.work")) == []


def test_a_partial_that_nobody_goes_on_with_gives_way(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache(max_size=COST + 8192)
    (cache.store.root.partials / f"{'0' * 32}.{'1' * 32}.part").write_bytes(bytes(SIZE))
    assert errors(list(cache.fetch(tracks(1)))) == []
    assert list(cache.store.root.partials.iterdir()) == []


@pytest.mark.parametrize("is_rot", [True, False])
def test_quarantine_gives_way_but_for_what_may_be_an_edit_of_today(
    open_cache: Callable[..., Cache], *, is_rot: bool
) -> None:
    cache = open_cache(max_size=2 * COST)
    for result in cache.fetch(tracks(2)):
        cache.store.blobs.move(result.entry.digest, cache.store.root.quarantine, is_rot=is_rot)
        cache.store.evict([result.entry.key])
    [result] = cache.fetch([Track("cloud", "t9", title="T9")])
    if is_rot:
        assert cache.store.is_whole(result.entry)
    else:
        kept = format_size(cost_of(cache.store.root.quarantine))
        assert str(result.error).endswith(
            f", or look whether you need anything of the {kept} in quarantine (cachestore ls --quarantined) "
            "and empty it: cachestore rm --quarantined"
        )
        assert len(list(cache.store.root.quarantine.iterdir())) == 2


def test_where_the_locks_of_the_living_can_be_had_what_was_just_written_is_left_alone(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache()
    left = killed(cache.store.root.partials, b"abc")
    monkeypatch.setattr(runs, "_had", lambda *_, **__: True)
    assert errors(list(cache.fetch(tracks(1)))) == []
    assert left.exists()
    age(left, time.time() - 130)
    assert errors(list(cache.fetch(tracks(2)))) == []
    assert not left.exists()


def test_a_fetch_that_may_download_nothing_looks_at_no_partials(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache()
    monkeypatch.setattr(clearing, "reclaim", lambda *_, **__: pytest.fail("it listed the partials"))
    assert len(errors(list(cache.fetch(tracks(1), offline=True)))) == 1


def test_who_needs_what_a_later_row_has_gets_it_at_once(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache(max_size=COST + 8192)
    late = Track("cloud", "t9", title="T9")
    assert errors(list(cache.fetch([late]))) == []
    monkeypatch.setattr(keeper.Keeper, "_wait", lambda *_: pytest.fail("it waits for its own lease"))
    assert errors(list(cache.fetch([*tracks(1), late]))) == []


def test_nobody_waits_for_a_partial_that_nobody_has_written_for_long(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_PATIENCE", 0.5)
    cache = open_cache(max_size=COST + 8192)
    left = killed(cache.store.root.partials, bytes(SIZE))
    for path in (left, left.with_suffix(".json")):  # what is called like another track's is nobody's, and stays
        age(path.rename(path.with_name(f"{'0' * 32}.{'1' * 32}{path.suffix}")), time.time() - 1000)
    [result] = cache.fetch(tracks(1))
    assert type(result.error) is NoRoom
    assert "unfinished" in str(result.error)


def test_what_a_run_left_that_died_meanwhile_gives_way(open_cache: Callable[..., Cache]) -> None:
    cache = open_cache(max_size=COST + 8192)

    def die(event: Event) -> None:
        if isinstance(event, TrackEvent) and event.state is State.QUEUED:
            age(killed(cache.store.root.partials, bytes(SIZE), total=2 * SIZE), time.time() - 1000)

    assert errors(list(cache.fetch(tracks(1), on_event=die))) == []
    assert list(cache.store.root.partials.iterdir()) == []


def test_what_a_living_run_may_have_claimed_is_waited_for_and_the_failure_is_temporary(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_PATIENCE", 0.5)
    cache = open_cache(max_size=COST + 8192)
    path = killed(cache.store.root.partials, bytes(SIZE), total=2 * SIZE)
    age(path, time.time() - 1000)
    with Store.open(cache.store.root.path) as other, other.run("fetch"):
        [result] = cache.fetch(tracks(1))
    assert type(result.error) is NoRoomYet
    assert path.exists()
    assert errors(list(cache.fetch(tracks(1)))) == []


def test_what_others_put_among_the_partials_stays_and_nobody_waits_for_it(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_PATIENCE", 0.5)
    cache = open_cache(max_size=COST + 8192)
    recording, folder = (cache.store.root.partials / name for name in ("my recording.part", "x.part"))
    recording.write_bytes(bytes(SIZE))
    folder.mkdir()
    (folder / "song").write_bytes(bytes(SIZE))
    [result] = cache.fetch(tracks(1))
    assert type(result.error) is NoRoom
    assert {*cache.store.root.partials.iterdir()} == {recording, folder}


def test_what_is_dropped_of_a_body_is_reserved_anew() -> None:
    rooms = Rooms()
    asked: list[int] = []
    kept, need = 150_000 + SIDECAR, COST - 150_000 - SIDECAR
    rooms.expect(0, kept)
    rooms.grant(0, need, need)

    def ask(size: int, _least: int) -> bool:
        asked.append(size)
        rooms.grant(0, size, size)
        return True

    take = rooms.room_of(0, ask)
    take(SIZE, SIZE, 150_000)
    assert (asked, rooms.reserved) == ([], need)
    take(SIZE, SIZE, 0)
    assert (asked, rooms.reserved) == ([150_000], COST - SIDECAR)
    take(SIZE, SIZE, SIZE)
    assert (len(asked), rooms.reserved) == (1, COST - SIDECAR - SIZE)


# A length is only announced


LARGE = 12 * SIZE
FULL = 20 * COST


def serve_large(head: bytes) -> bytes:
    """Answer as `serve`, with a large body for the track `large`."""
    track = requested(head)
    return answer(body(track, LARGE if track == "large" else SIZE), f'ETag: "{track}"')


def lie(_head: bytes) -> bytes:
    return answer(body("large")[:10], 'ETag: "large"', length=19 * SIZE)


def filled(cache: Cache) -> Cache:
    """Fill a store of the size `FULL`."""
    assert errors(list(cache.fetch(tracks(18)))) == []
    return cache


def large() -> list[Track]:
    return [Track("cloud", "large", title="Large")]


def test_a_length_that_is_a_lie_evicts_no_more_than_a_small_body_would(open_cache: Callable[..., Cache]) -> None:
    cache = filled(open_cache(lambda head: lie(head) if requested(head) == "large" else serve(head), max_size=FULL))
    [result] = cache.fetch(large())
    assert isinstance(result.error, Truncated)
    assert cache.store.totals().entries >= 17
    assert cache.store.announced() == cache.store.reserved() == 0


def test_a_large_body_evicts_as_it_comes_and_the_bound_holds_at_every_byte(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(open_cache(serve_large, max_size=FULL))
    write, seen = Partial.write, []
    most = threading.Lock()

    def noted(self: Partial, chunk: bytes) -> None:
        write(self, chunk)
        with most, Store.open(cache.store.root.path) as other:
            assert room_of(other).bounded <= FULL
            seen.append((self.received, other.totals().entries))

    monkeypatch.setattr(Partial, "write", noted)
    assert errors(list(cache.fetch(large()))) == []
    assert len({entries for _, entries in seen}) > 2
    for received, entries in seen:
        assert (18 - entries) * COST <= 2 * received + FULL / 10 + 2 * COST


def test_what_is_announced_to_one_run_is_promised_to_no_other(store: Store, other: Store) -> None:
    bounds = Bounds(100_000, 0)
    with store.run("fetch") as one, other.run("fetch") as two:
        first = Announced(10_000, own=20_000)
        assert store.reserve(one, 90_000, spare=500, unwritten=0, bounds=bounds, announced=first) == 10_000
        assert (store.reserved(), store.announced(), usage(other).reserved_bytes) == (10_000, 100_000, 110_000)
        for known, granted in ((-1, 0), (99_999, 0), (100_000, 5_000)):
            late = Announced(5_000, known=known)
            assert other.reserve(two, 50_000, spare=0, unwritten=0, bounds=bounds, announced=late) == granted
        store.lower(one, 0, 0)
        store.write_notes()
        assert other.announced(but=two) == 0
        assert other.reserve(two, 50_000, spare=0, unwritten=0, bounds=bounds, announced=late) == 50_000
    assert store.announced() == 0


def test_the_steps_of_a_body_grow_with_what_has_come() -> None:
    rooms = Rooms()
    asked: list[int] = []
    whole = 100 * SIZE

    def ask(need: int, least: int) -> bool:
        asked.append(least)
        assert rooms.is_announced(0, need) is (len(asked) > 1)
        rooms.withdraw(0)
        rooms.grant(0, need, max(least, SIZE))
        return True

    take = rooms.room_of(0, ask)
    take(whole, 0, 0)
    for received in range(10_000, whole, 10_000):
        take(whole, received, received - 10_000)
        assert rooms.reserved <= max(received, SIZE) + 10_000
        assert rooms.reserved + rooms.announced + received >= whole
    assert len(asked) < 12


def test_a_large_body_goes_on_while_a_row_before_it_waits_for_its_end(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_UNTOLD", 0.0)
    whole = serve_large(b"GET /large HTTP/1.1")
    gate = Gate(whole[:100_000], whole[100_000:])
    asked: list[str] = []

    def respond(head: bytes) -> Answer:
        asked.append(requested(head))
        if requested(head) == "large":
            return gate if asked.count("large") == 1 else whole
        if requested(head) == "first":
            gate.wait()
            come_true(lambda: any(path.stat().st_size for path in partials.glob("*.work")))
            return answer(body("first", 9 * SIZE))
        return serve(head)

    cache = filled(open_cache(respond, max_size=FULL))
    partials = cache.store.root.partials
    told: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, WarningEvent) and event.code == "waiting_for_room":
            gate.open()
        elif isinstance(event, TrackEvent) and event.state is State.DONE:
            told.append(event.track)

    first = Track("cloud", "first", title="First")
    assert errors(list(cache.fetch([first, *large()], on_event=hear, jobs=2))) == []
    assert told == ["cloud:large", "cloud:first"]


def test_a_body_without_a_length_goes_on_at_once_while_a_row_behind_it_waits_for_its_end(
    open_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_UNTOLD", 0.0)
    monkeypatch.setattr(keeper, "_SECONDS_BETWEEN_LOOKS", 5.0)
    whole = serve_without_length(b"GET /t0 HTTP/1.1")
    gate = Gate(whole[:90_000], whole[90_000:])
    asked: list[str] = []

    def respond(head: bytes) -> Answer:
        asked.append(requested(head))
        if requested(head) == "t0":
            return gate
        gate.wait()
        come_true(lambda: sum(path.stat().st_size for path in partials.glob("*.work")) > COST / 3)
        return serve(head)

    def hear(event: Event) -> None:
        if isinstance(event, WarningEvent) and event.code == "waiting_for_room":
            gate.open()

    cache = open_cache(respond, max_size=int(1.3 * COST), stall_timeout=3)
    partials = cache.store.root.partials
    assert errors(list(cache.fetch(tracks(2), on_event=hear, jobs=2))) == []
    assert asked.count("t0") == 1


def test_a_row_that_was_delivered_gives_way_to_another_run_while_the_next_one_takes_its_time(
    open_cache: Callable[..., Cache],
) -> None:
    gate = Gate(serve(b"GET /t1 HTTP/1.1")[:90_000], serve(b"GET /t1 HTTP/1.1")[90_000:])
    cache = open_cache(lambda head: gate if requested(head) == "t1" else serve(head), max_size=int(2.3 * COST))
    config = replace(cache.config, root=cache.store.root.path, total_timeout=5.0)
    said: list[str] = []

    def neighbour() -> None:
        gate.wait()
        try:
            with Cache.open(config) as mine:
                said.extend(errors(list(mine.fetch(tracks(3)[2:]))))
        finally:
            gate.open()

    thread = threading.Thread(target=neighbour)
    thread.start()
    assert errors(list(cache.fetch(tracks(2), jobs=2))) == []
    thread.join()
    assert said == []


@pytest.mark.long
def test_two_large_bodies_in_a_full_store_come_one_after_the_other(open_cache: Callable[..., Cache]) -> None:
    whole = serve_large(b"GET /large HTTP/1.1")
    gate = Gate(whole[:100_000], whole[100_000:])
    cache = filled(open_cache(lambda head: gate if requested(head) == "large" else serve(head), max_size=FULL))
    other = open_cache(lambda head: answer(body("other", LARGE), 'ETag: "other"'), max_size=FULL)
    waits = threading.Event()

    def hear(event: Event) -> None:
        if isinstance(event, WarningEvent) and event.code == "waiting_for_room":
            waits.set()

    said: list[str] = []
    path = cache.store.root.path

    def neighbour() -> None:
        with Cache.open(replace(other.config, root=path)) as mine:
            said.extend(errors(list(mine.fetch([Track("cloud", "other", title="Other")], on_event=hear))))

    def open_when_waiting() -> None:
        gate.wait()
        thread.start()
        waits.wait(60)
        gate.open()

    thread = threading.Thread(target=neighbour)
    opening = threading.Thread(target=open_when_waiting)
    opening.start()
    for result in cache.fetch(large()):
        assert result.error is None
    opening.join()
    thread.join()
    assert (said, waits.is_set()) == ([], True)


# An export larger than the store


def mix_of(stranger: Stranger, count: int) -> str:
    return stranger.mix(*(row(f"t{number}") for number in range(count)))


@pytest.mark.long
@pytest.mark.parametrize("mode", ["hardlink", "copy"])
def test_a_mix_of_three_times_the_store_is_exported(mode: str, stranger: Stranger, raw_server: StartRawServer) -> None:
    server = raw_server(serve)
    stranger.configure(server.url, max_size=5 * COST)
    stranger.run("export", mix_of(stranger, 15), "DEST", "--link-mode", mode)
    assert [path.read_bytes() for path in stranger.media()] == [body(f"t{number}") for number in range(15)]
    info = stranger.run("info", "--json").facts
    assert info["exclusive_bytes"] + info["partial_bytes"] <= 5 * COST
    assert info["reserved_bytes"] == 0
    kept = len(stranger.run("ls", "--json").facts)
    assert kept == 15 if mode == "hardlink" else kept <= 5
    served = {f"open:t{number}": [body(f"t{number}")] for number in range(15)}
    assert faults(stranger.root, served) == []
    stranger.run("prune")
    assert leftovers(stranger.root, stranger.home) == []
    asked = len(server.received)
    stranger.run("export", mix_of(stranger, 15), "OTHER", "--link-mode", mode)
    if mode == "hardlink":
        statuses = [head for head in server.received[asked:] if b"if-none-match" not in head.lower()]
        assert statuses == []


def test_a_prune_in_the_middle_of_an_export_spares_what_is_staged(
    open_cache: Callable[..., Cache], tmp_path: Path
) -> None:
    cache = open_cache()
    mix = Mix("M", tuple(Row(track) for track in tracks(3)))

    def pruned(event: Event) -> None:
        if isinstance(event, TrackEvent) and event.state is State.DONE and event.index == 1:
            with Store.open(cache.store.root.path) as other:
                gone.extend(apply(other, plan_for(other, Limits(0), time.time())))

    gone: list[Any] = []
    export_mix(mix, tmp_path / "DEST", cache=cache, on_event=pruned)
    assert [outcome for outcome in gone if not outcome.stayed] == []
    assert len(list(cache.store.entries())) == 3


def test_a_prune_right_after_the_rename_spares_what_is_not_registered_yet(
    open_cache: Callable[..., Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache(max_size=COST + 4096)
    register = Store.register
    gone: list[Any] = []

    def late(self: Store, bundle: Bundle) -> None:
        assert bundle.dest.exists()
        with Store.open(cache.store.root.path) as other:
            gone.extend(apply(other, prune(other, Limits(0), time.time())))
        register(self, bundle)

    monkeypatch.setattr(Store, "register", late)
    export_mix(Mix("M", tuple(Row(track) for track in tracks(6))), tmp_path / "DEST", cache=cache)
    assert [outcome for outcome in gone if not outcome.stayed] == []
    assert cache.store.totals().blobs == 6
    assert cache.store.totals().exclusive == 0


def test_an_export_does_not_wait_for_the_room_of_what_it_has_staged(
    open_cache: Callable[..., Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process put the blob's file away and stored it anew: what is staged holds the file of before."""
    monkeypatch.setattr(keeper, "_PATIENCE", 5.0)
    cache = open_cache(max_size=COST + 4096)

    link = Cache.link

    def stored_anew(self: Cache, entry: Entry, dest: Path, mode: LinkMode) -> LinkMode:
        used = link(self, entry, dest, mode)
        if entry.id == "t0":
            with Store.open(cache.store.root.path) as other:
                other.blobs.remove(entry.digest)
                assert put(other, "t0", body("t0")).digest == entry.digest
        return used

    monkeypatch.setattr(Cache, "link", stored_anew)
    export_mix(Mix("M", tuple(Row(track) for track in tracks(3))), tmp_path / "DEST", cache=cache)
    assert cache.store.totals().exclusive <= COST + 4096


def test_an_export_into_a_store_that_was_put_back_from_a_backup_waits_for_nobody(
    open_cache: Callable[..., Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows say that bundles hold what they have no link to, and the first row comes when the others have all."""
    monkeypatch.setattr(keeper, "_PATIENCE", 2.0)
    others_are_there = threading.Event()
    published: set[str] = set()

    def late(head: bytes) -> Answer:
        if requested(head) == "t3":
            others_are_there.wait(5)
        return serve(head)

    cache = open_cache(late, max_size=2 * COST - 8192)
    first, second = (Mix("M", tuple(Row(track) for track in half)) for half in (tracks(3), tracks(6)[3:]))
    export_mix(first, tmp_path / "FIRST", cache=cache)
    for entry in list(cache.store.entries()):
        blob = cache.store.blobs.path(entry.digest)
        shutil.copy2(blob, tmp_path / "backup")
        (tmp_path / "backup").replace(blob)

    def opened(event: Event) -> None:
        if isinstance(event, TrackEvent) and event.state is State.LINKING:
            published.add(event.track)
            if len(published) == 2:
                others_are_there.set()

    export_mix(second, tmp_path / "SECOND", cache=cache, on_event=opened)
    assert usage(cache.store).bounded_bytes <= 2 * COST - 8192


def test_each_link_of_an_export_is_held_once_however_often_room_is_short(
    open_cache: Callable[..., Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache(max_size=COST + 4096)
    held: list[str] = []
    hold = Store.hold

    def counted(self: Store, run_id: str, links: list[tuple[Path, str]]) -> None:
        held.extend(digest for _, digest in links)
        hold(self, run_id, links)

    monkeypatch.setattr(Store, "hold", counted)
    monkeypatch.setattr(Store, "register", lambda *_: pytest.fail("it is registered before it is a bundle"))
    mix = Mix("M", tuple(Row(track) for track in tracks(8)))
    with pytest.raises(pytest.fail.Exception, match="before it is a bundle"):
        export_mix(mix, tmp_path / "DEST", cache=cache)
    assert len(held) == len(set(held)) >= 6
    assert cache.store.totals().held == 0


def stage_dead(store: Store, tmp_path: Path) -> Path:
    """Leave what an export leaves that was killed while it held what it had staged, and return its staging folder."""
    entry = put(store, "a", body("a"))
    dead = "0" * 32
    staging = tmp_path / f".DEST{staging_suffix(dead)}"
    staging.mkdir()
    store.link(entry, staging / "01.wav", LinkMode.HARDLINK)
    with store.run("export", dest=tmp_path / "DEST") as run_id:
        store.lease(run_id, [entry.digest])
        with store._transaction() as ledger:
            ledger.put_run(dead, dict(store.runs())[run_id])
            ledger.put_leases(f"{dead}:0", LeaseRow((entry.digest,)))
            blob = ledger.blob(entry.digest)
            assert blob is not None
            ledger.put_blob(entry.digest, blob.held_by(dead, holds=True))
    assert store.totals().held > 0
    return staging


@pytest.mark.parametrize("mend", ["sweep", "recount"])
def test_what_a_killed_export_held_is_let_go(store: Store, tmp_path: Path, mend: str) -> None:
    staging = stage_dead(store, tmp_path)
    if mend == "recount":
        store.recount()
        assert store.totals().held == 0
    sweep(store, time.time(), max_size=10**9)
    assert not staging.exists()
    assert store.totals().held == 0
    assert list(store.names(RUNS)) == list(store.names(LEASES)) == []


def test_what_a_killed_export_held_counts_at_once_and_is_bounded_by_the_next_run(
    open_cache: Callable[..., Cache], tmp_path: Path
) -> None:
    cache = open_cache(max_size=SIZE // 2)
    staging = stage_dead(cache.store, tmp_path)
    figures = usage(cache.store)
    assert figures.held_bytes == 0
    assert figures.exclusive_bytes >= SIZE
    cache.enforce_bound()
    assert not staging.exists()
    assert cache.store.totals() == Totals()


def test_a_failed_export_leaves_no_staging_registered(open_cache: Callable[..., Cache], tmp_path: Path) -> None:
    def respond(head: bytes) -> bytes:
        return answer(b"", status="404 Not Found") if requested(head) == "t9" else serve(head)

    cache = open_cache(respond, max_size=3 * COST)
    mix = Mix("M", tuple(Row(track) for track in tracks(10)))
    with pytest.raises(Exception, match="1 of 10 tracks failed"):
        export_mix(mix, tmp_path / "DEST", cache=cache)
    assert list(cache.store.bundles()) == []
    assert cache.store.totals().held == 0
    cache.enforce_bound()
    assert cache.store.totals().exclusive <= 3 * COST


# Processes


@pytest.mark.long
def test_two_processes_share_the_last_room_and_both_get_done(stranger: Stranger, raw_server: StartRawServer) -> None:
    stranger.configure(raw_server(serve).url, max_size=2 * COST + 4096, min_age=0)
    with Street(stranger) as street:
        one = street.fetch(*(f"open:a{number}" for number in range(4)))
        two = street.fetch(*(f"open:b{number}" for number in range(4)))
        assert (one.end(), two.end()) == (0, 0)
    assert stranger.run("info", "--json").facts["reserved_bytes"] == 0
    served = {f"open:{name}{number}": [body(f"{name}{number}")] for name in "ab" for number in range(4)}
    assert faults(stranger.root, served) == []


@pytest.mark.long
def test_the_room_of_a_killed_process_is_had_by_the_one_that_waits(
    stranger: Stranger, raw_server: StartRawServer
) -> None:
    held = Gate(serve(b"GET /held HTTP/1.1")[:20_000], b"")
    server = raw_server(lambda head: held if requested(head) == "held" else serve(head))
    stranger.configure(server.url, max_size=COST + 60_000, min_age=0)
    with Street(stranger) as street:
        dying = street.fetch("open:held")
        dying.until(is_downloading)
        waiting = street.fetch("open:t1")
        waiting.until(lambda event: event.get("code") == "waiting_for_room")
        dying.kill()
        assert waiting.end() == 0
    assert [entry["id"] for entry in stranger.run("ls", "--json").facts] == ["t1"]


def test_damage_of_most_of_a_store_blocks_it_until_the_command_that_the_refusal_names(
    stranger: Stranger, raw_server: StartRawServer
) -> None:
    stranger.configure(raw_server(serve).url, max_size=3 * COST + 8192, min_age=0)
    stranger.run("fetch", "open:t0", "open:t1", "open:t2")
    for blob in stranger.blobs():
        spoil(blob, 5000)
    stranger.run("repair")
    assert "cachestore rm --quarantined" in stranger.run("fetch", "open:t3", code=4).err
    assert "(cachestore rm --quarantined)" in stranger.run("prune", "--max-size", "0", code=4).err
    quarantine = stranger.root / "quarantine-v1"
    (quarantine / "copied there").write_bytes(bytes(SIZE))  # it counts, too
    removed = stranger.run("rm", "--quarantined").out.splitlines()
    assert [line.split()[0] for line in removed] == ["removed"] * 4
    assert [*quarantine.iterdir()] == []
    stranger.run("fetch", "open:t0", "open:t1", "open:t2")
    stranger.run("rm", "open:t0", "--quarantined", code=2)
    stranger.run("rm", code=2)


def test_a_store_that_has_no_room_for_it_ends_a_fetch_with_4(stranger: Stranger, raw_server: StartRawServer) -> None:
    stranger.configure(raw_server(serve).url, max_size=SIZE)
    said = stranger.run("fetch", "open:t0", code=4).err
    assert "max_size allows 200 kB" in said
    stranger.configure(raw_server(serve).url, min_free="900 TB")
    said = stranger.run("fetch", "open:t0", code=4).err
    assert "lower min_free" in said
