"""Two processes that want the same track download it once; how the second takes over is in test_killed_downloads."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cachestore.cache import Cache
from cachestore.config import load_config
from cachestore.download import downloader
from cachestore.errors import Cancelled
from cachestore.events import Provenance, State, TrackEvent
from cachestore.fetching.workers import Workers
from cachestore.partials import DownloadLock
from cachestore.track import Track
from cachestore.version import Version, VersionKind
from cachestore.web import Web
from tests.downloads import answer, asked, wave
from tests.neighbours import Held, Street, has_seen, is_downloading, is_waiting, ranged, requested, stored
from tests.raw_servers import Drip, Gate
from tests.stranger import row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cachestore.events import Event
    from cachestore.fetching.reports import Report
    from tests.conftest import StartRawServer
    from tests.raw_servers import Answer, RawServer
    from tests.stranger import Stranger

BODY = wave(300_000)
TRACK = "open:t"


@pytest.fixture
def street(stranger: Stranger) -> Iterator[Street]:
    with Street(stranger) as street:
        yield street


def met(event: dict[str, object]) -> bool:
    """Return whether it is clear whether the process downloads or waits."""
    return is_downloading(event) or has_seen(len(BODY) // 2)(event)


@pytest.mark.long
@pytest.mark.parametrize("command", ["fetch", "export"])
@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_want_the_same_track_download_it_once(
    stranger: Stranger, street: Street, raw_server: StartRawServer, command: str, count: int
) -> None:
    held = Held(BODY)
    server = raw_server(held)
    stranger.configure(server.url)
    mix = stranger.mix(row("t"))
    neighbours = [
        street.fetch(TRACK) if command == "fetch" else street.start("export", mix, f"DEST{number}")
        for number in range(count)
    ]
    told = [neighbour.until(met) for neighbour in neighbours]
    waiting = [neighbour for neighbour, event in zip(neighbours, told, strict=True) if is_waiting(event)]
    assert len(waiting) == count - 1
    assert {event["total"] for event in told} == {len(BODY)}
    held.open()
    assert [neighbour.end() for neighbour in neighbours] == [0] * count
    assert len(server.received) == 1
    assert [neighbour.origin() for neighbour in waiting] == ["cache"] * (count - 1)
    assert sorted(str(neighbour.origin()) for neighbour in neighbours) == ["cache"] * (count - 1) + ["network"]
    assert stored(stranger) == [BODY]


def test_what_was_confirmed_under_a_clock_that_was_ahead_is_not_what_another_has_just_stored(
    stranger: Stranger, raw_server: StartRawServer
) -> None:
    stranger.configure(raw_server(answer(wave(20_000), 'ETag: "0"'), ranged(BODY)).url)
    with Cache.open(load_config(stranger.home / "config.toml")) as cache:
        [old] = cache.fetch([Track("open", "t")])
        with cache.store._transaction() as ledger:
            ledger.put_entry(replace(old.entry, validated_at=time.time() + 86_400))
        lock = DownloadLock.acquire(cache.store.root.partials, TRACK)
        assert lock is not None

        def give_up(event: Event) -> None:
            if isinstance(event, TrackEvent) and event.elsewhere:
                lock.release()

        [new] = cache.fetch([Track("open", "t")], on_event=give_up)
    assert not lock.is_real
    assert new.entry.size == len(BODY)


@pytest.mark.long
def test_a_process_goes_alone_when_the_other_stands_still(
    stranger: Stranger, street: Street, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(BODY)
    server = raw_server(held, ranged(BODY))
    stranger.configure(server.url)
    stopped = street.fetch(TRACK)
    stopped.until(is_downloading)
    onlooker = street.fetch(TRACK)
    onlooker.until(has_seen(len(BODY) // 2))
    stopped.send(signal.SIGSTOP)
    onlooker.send(signal.SIGINT)
    assert onlooker.end() == 130
    monkeypatch.setattr(downloader, "_PATIENCE", 0.5)
    events: list[object] = []
    with Cache.open(load_config(stranger.home / "config.toml")) as cache:
        [result] = cache.fetch([Track("open", "t")], on_event=events.append)
    assert result.origin is Provenance.NETWORK
    assert any(isinstance(event, TrackEvent) and event.elsewhere for event in events)
    held.open()
    stopped.send(signal.SIGCONT)
    assert stopped.end() == 0
    assert stopped.origin() == "network"
    assert [bool(part) for part in asked(server, "range")] == [False, True]
    assert stored(stranger) == [BODY]


@pytest.mark.long
def test_a_process_goes_on_where_another_one_failed(
    stranger: Stranger, street: Street, raw_server: StartRawServer
) -> None:
    cut = Held(BODY, sent=len(BODY) // 2)
    server = raw_server(cut, ranged(BODY))
    stranger.configure(server.url)
    first = street.fetch(TRACK)
    first.until(is_downloading)
    second = street.fetch(TRACK)
    second.until(has_seen(len(BODY) // 2))
    cut.open()
    assert first.end() == 75
    assert second.end() == 0
    assert second.origin() == "network"
    assert asked(server, "range") == [None, f"bytes={len(BODY) // 2}-"]
    assert stored(stranger) == [BODY]


@pytest.mark.long
def test_a_process_asks_itself_when_the_server_refused_another_one(
    stranger: Stranger, street: Street, raw_server: StartRawServer
) -> None:
    refusal = Gate(b"", answer(status="404 Not Found"))
    server = raw_server(refusal, ranged(BODY))
    stranger.configure(server.url)
    first = street.fetch(TRACK)
    refusal.wait()
    second = street.fetch(TRACK)
    assert second.until(is_waiting)["bytes"] == 0
    refusal.open()
    assert first.end() == 1
    assert second.end() == 0
    assert second.origin() == "network"
    assert len(server.received) == 2
    assert stored(stranger) == [BODY]


LOCKLESS = """
import cachestore.partials.locks
def created(path):
    raise OSError(95, "flock")
cachestore.partials.locks._created = created
"""


@pytest.mark.long
@pytest.mark.parametrize("lockless", ["first", "second", "both"])
def test_where_locks_do_not_work_each_process_goes_alone(
    stranger: Stranger, street: Street, raw_server: StartRawServer, lockless: str
) -> None:
    held = Held(BODY)
    server = raw_server(held, ranged(BODY))
    stranger.configure(server.url)
    first = street.fetch(TRACK, patch="" if lockless == "second" else LOCKLESS)
    first.until(is_downloading)
    second = street.fetch(TRACK, patch="" if lockless == "first" else LOCKLESS)
    assert second.end() == 0
    held.open()
    assert first.end() == 0
    assert [first.origin(), second.origin()] == ["network", "network"]
    assert not [event for event in second.events if "elsewhere" in event]
    assert stored(stranger) == [BODY]


@pytest.mark.long
def test_a_prune_leaves_what_another_process_downloads_alone(
    stranger: Stranger, street: Street, raw_server: StartRawServer
) -> None:
    held = Held(BODY)
    server = raw_server(held)
    stranger.configure(server.url)
    first = street.fetch(TRACK)
    first.until(is_downloading)
    second = street.fetch(TRACK)
    second.until(has_seen(len(BODY) // 2))
    before = {suffix: path.stat().st_ino for suffix, path in street.partials().items()}
    assert before.keys() == {".work", ".json", ".lock"}
    for path in street.partials().values():
        os.utime(path, (1.0, 1.0))  # the lid was closed for long
    stranger.run("prune")
    assert {suffix: path.stat().st_ino for suffix, path in street.partials().items()} == before
    [partial] = stranger.run("info", "--json").facts["partials"]
    assert (partial["track"], partial["total"]) == (TRACK, len(BODY))
    third = street.fetch(TRACK)
    third.until(is_waiting)
    held.open()
    assert [first.end(), second.end(), third.end()] == [0, 0, 0]
    assert len(server.received) == 1
    assert stored(stranger) == [BODY]


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_cancel_ends_the_wait_for_another_process(
    stranger: Stranger, street: Street, raw_server: StartRawServer, number: int, code: int
) -> None:
    held = Held(BODY)
    server = raw_server(held)
    stranger.configure(server.url)
    first = street.fetch(TRACK)
    first.until(is_downloading)
    second = street.fetch(TRACK)
    second.until(is_waiting)
    started = time.monotonic()
    second.send(number)
    assert second.end() == code
    assert time.monotonic() - started < 3
    held.open()
    assert first.end() == 0
    assert len(server.received) == 1
    assert stored(stranger) == [BODY]


@pytest.mark.long
def test_a_process_that_keeps_the_current_version_waits_for_nobody(
    stranger: Stranger, street: Street, raw_server: StartRawServer
) -> None:
    held = Held(BODY)
    server = raw_server(ranged(BODY), held, ranged(BODY))
    stranger.configure(server.url)
    stranger.run("fetch", TRACK)
    refreshing = street.fetch(TRACK, "--refresh")
    refreshing.until(is_downloading)
    second = street.fetch(TRACK)
    assert second.end() == 0
    assert second.origin() == "cache"
    assert not [event for event in second.events if "elsewhere" in event]
    held.open()
    assert refreshing.end() == 0
    assert stored(stranger) == [BODY]


@pytest.mark.long
def test_two_refreshes_at_once_are_one_download(stranger: Stranger, street: Street, raw_server: StartRawServer) -> None:
    held = Held(BODY)
    server = raw_server(ranged(BODY), held)
    stranger.configure(server.url)
    stranger.run("fetch", TRACK)
    first = street.fetch(TRACK, "--refresh")
    first.until(is_downloading)
    second = street.fetch(TRACK, "--refresh")
    second.until(is_waiting)
    held.open()
    assert [first.end(), second.end()] == [0, 0]
    assert [first.origin(), second.origin()] == ["network", "cache"]
    assert len(server.received) == 2
    assert stored(stranger) == [BODY]


@pytest.mark.long
def test_a_track_that_has_changed_is_downloaded_once_by_those_who_keep_it(
    stranger: Stranger, street: Street, raw_server: StartRawServer
) -> None:
    older = wave(1000)
    held = Held(BODY)
    server = raw_server(answer(older, 'ETag: "0"'), held)
    stranger.configure(server.url)
    stranger.run("fetch", TRACK)
    first = street.fetch(TRACK)
    first.until(is_downloading)
    second = street.fetch(TRACK)
    second.until(is_waiting)
    held.open()
    assert [first.end(), second.end()] == [0, 0]
    assert [first.origin(), second.origin()] == ["network", "cache"]
    assert asked(server, "if-none-match") == [None, '"0"', '"0"']
    assert sorted(stored(stranger), key=len) == [older, BODY]


@pytest.mark.long
@pytest.mark.parametrize(("pin", "code"), [('"1"', 0), ('"0"', 1)])
def test_a_pinned_version_waits_for_the_download_of_the_current_one(
    stranger: Stranger, street: Street, raw_server: StartRawServer, pin: str, code: int
) -> None:
    held = Held(BODY)
    server = raw_server(held, ranged(BODY))
    stranger.configure(server.url)
    first = street.fetch(TRACK)
    first.until(is_downloading)
    second = street.fetch(f"{TRACK}@{Version(VersionKind.STRONG, pin).hex}")
    second.until(is_waiting)
    held.open()
    assert [first.end(), second.end()] == [0, code]
    assert len(server.received) == (1 if code == 0 else 2)
    assert stored(stranger) == [BODY]


def test_a_row_that_pins_a_version_is_not_told_that_its_own_export_is_another(
    stranger: Stranger, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(BODY)
    stranger.configure(raw_server(held, ranged(BODY)).url)
    waits = threading.Event()

    def pause(web: Web, seconds: float) -> None:
        waits.set()
        pause_as_ever(web, seconds)

    pause_as_ever = Web.pause
    monkeypatch.setattr(Web, "pause", pause)
    events: list[object] = []

    def hear(event: object) -> None:
        events.append(event)
        if waits.is_set():
            held.open()

    pinned = Track("open", "t", version=Version(VersionKind.STRONG, '"1"').hex)
    with Cache.open(load_config(stranger.home / "config.toml")) as cache:
        results = list(cache.fetch([Track("open", "t"), pinned], on_event=hear))
    assert waits.is_set()
    assert [result.error for result in results] == [None, None]
    assert [event for event in events if isinstance(event, TrackEvent) and event.elsewhere] == []


def library(raw_server: StartRawServer, tracks: Sequence[str]) -> RawServer:
    """Start a server that sends every one of `tracks` slowly."""
    answers = {track: ranged(body_of(track)) for track in tracks}
    return raw_server(lambda head: Drip(answers[requested(head)](head), 0.02, 4096))


def body_of(track: str) -> bytes:
    return wave(40_000, seed=int(track))


@pytest.mark.long
def test_two_mixes_that_overlap_are_one_download_of_each_track(
    stranger: Stranger, street: Street, raw_server: StartRawServer
) -> None:
    tracks = [str(number) for number in range(24)]
    server = library(raw_server, tracks)
    stranger.configure(server.url)
    orders = [tracks[:20], tracks[:3:-1]]
    neighbours = [street.fetch(*(f"open:{track}" for track in order)) for order in orders]
    assert [neighbour.end() for neighbour in neighbours] == [0, 0]
    assert Counter(map(requested, server.received)) == Counter(tracks)
    assert sorted(stored(stranger)) == sorted(map(body_of, tracks))


@pytest.mark.long
def test_a_process_that_is_cancelled_does_not_disturb_the_others(
    stranger: Stranger, street: Street, raw_server: StartRawServer
) -> None:
    tracks = [str(number) for number in range(20)]
    held, good = Held(body_of("0")), {track: ranged(body_of(track)) for track in tracks}
    first = iter([held])

    def respond(head: bytes) -> Answer:
        return (next(first, None) if requested(head) == "0" else None) or good[requested(head)](head)

    server = raw_server(respond)
    stranger.configure(server.url)
    cancelled = street.fetch(*(f"open:{track}" for track in tracks))
    held.wait()
    other = street.fetch(*(f"open:{track}" for track in reversed(tracks)))
    other.until(lambda event: is_waiting(event) and event["track"] == "open:0")
    cancelled.send(signal.SIGINT)
    assert [cancelled.end(), other.end()] == [130, 0]
    downloads = [head for head in server.received if b"if-none-match" not in head.lower()]
    assert len(tracks) < len(downloads) <= len(tracks) + 4
    assert sorted(stored(stranger)) == sorted(map(body_of, tracks))


def test_what_arrived_before_a_cancel_is_published_though_another_process_sweeps(
    stranger: Stranger, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(BODY)
    server = raw_server(held)
    stranger.configure(server.url)
    arrived = threading.Event()

    def answer_and_tell(self: Workers, *question: object, works: Callable[..., Report] = Workers._answer) -> Report:
        report = works(self, *question)
        arrived.set()
        return report

    def stop_and_sweep(self: Workers, *, patience: float, works: Callable[..., None] = Workers.stop) -> None:
        works(self, patience=patience)
        stranger.run("prune")

    monkeypatch.setattr(Workers, "_answer", answer_and_tell)
    monkeypatch.setattr(Workers, "stop", stop_and_sweep)

    def turn_away(event: Event) -> None:
        if isinstance(event, TrackEvent) and event.state is State.DOWNLOADING:
            held.open()
            assert arrived.wait(10)
            raise Cancelled

    with Cache.open(load_config(stranger.home / "config.toml")) as cache, pytest.raises(Cancelled):
        list(cache.fetch([Track("open", "t")], on_event=turn_away))
    assert stored(stranger) == [BODY]


SLOW_TO_PUBLISH = """
import os, time
from cachestore.store.writer import Store
def put(self, *what, works=Store.put):
    while not os.path.exists("go"):
        time.sleep(0.01)
    return works(self, *what)
Store.put = put
"""


@pytest.mark.long
def test_who_waits_goes_on_waiting_until_the_track_is_published(
    stranger: Stranger, street: Street, raw_server: StartRawServer
) -> None:
    server = raw_server(ranged(BODY))
    stranger.configure(server.url)
    first = street.fetch(TRACK, patch=SLOW_TO_PUBLISH)
    first.until(lambda event: event.get("state") == "verifying")
    second = street.fetch(TRACK)
    second.until(has_seen(len(BODY)))
    (stranger.home / "go").touch()
    assert [first.end(), second.end()] == [0, 0]
    assert [first.origin(), second.origin()] == ["network", "cache"]
    assert len(server.received) == 1
    assert stored(stranger) == [BODY]


@pytest.mark.long
@pytest.mark.parametrize("options", [(), ("--refresh",)])
def test_what_another_process_stored_since_a_run_began_is_not_asked_for_again(
    stranger: Stranger, street: Street, raw_server: StartRawServer, options: tuple[str, ...]
) -> None:
    held, other = Held(BODY), wave(1000)
    server = raw_server(lambda head: held if requested(head) == "t" else ranged(other)(head))
    stranger.configure(server.url)
    first = street.fetch(TRACK, "open:later", "--jobs", "1", *options)
    first.until(is_downloading)
    stranger.run("fetch", "open:later")
    held.open()
    assert first.end() == 0
    assert [first.origin(0), first.origin(1)] == ["network", "cache"]
    assert [requested(head) for head in server.received] == ["t", "later"]
    assert sorted(stored(stranger), key=len) == [other, BODY]
