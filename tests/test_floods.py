"""Many small tracks, and whoever is told of them takes its time: little is open at once, and a cancel is heard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from cachestore.cache import Cache
from cachestore.config import Config, SourceConfig
from cachestore.errors import Cancelled
from cachestore.events import State, TrackEvent
from cachestore.fetching.reports import Failed
from cachestore.fetching.rooms import Rooms
from cachestore.fetching.workers import Workers
from cachestore.root import create_root
from cachestore.track import Track
from tests.downloads import come_true
from tests.library import make_wave
from tests.test_signals import is_full

if TYPE_CHECKING:
    from pathlib import Path

    from cachestore.events import Event
    from tests.conftest import StartNginx

_MANY = 400


@pytest.fixture
def config(nginx: StartNginx, tmp_path: Path) -> Config:
    folder = tmp_path / "served"
    folder.mkdir()
    for number in range(_MANY):
        (folder / f"{number}").write_bytes(make_wave(2000, str(number)))
    url = f"{nginx(folder).url}/plain/{{id}}"
    return Config(root=tmp_path / "root", retries=0, sources={"plain": SourceConfig("plain", "http", {"url": url})})


def tracks(many: int = _MANY) -> list[Track]:
    return [Track("plain", str(number)) for number in range(many)]


def test_as_many_bodies_arrive_as_wait_to_be_published(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do not go on while nobody hears what they did."""
    answered = Counter[str]()
    answer = Workers._answer

    def counted(self: Workers, *about: object) -> object:
        answered["all"] += 1
        return answer(self, *about)  # type: ignore[arg-type]

    monkeypatch.setattr(Workers, "_answer", counted)
    with Cache.open(config) as cache:
        results = cache.fetch(tracks(), jobs=4)
        assert next(results).error is None
        first = answered["all"]
        come_true(lambda: answered["all"] >= 24 + 4)
        time.sleep(0.2)
        assert answered["all"] <= first + 24 + 4
        assert [result.error for result in results] == [None] * (_MANY - 1)


def test_a_cancel_is_heard_while_bodies_arrive(config: Config) -> None:
    """Who is told takes longer than a body takes to arrive."""
    cancel, told = threading.Event(), Counter[State]()

    def slowly(event: Event) -> None:
        assert isinstance(event, TrackEvent)
        told[event.state] += 1
        if event.state in {State.DOWNLOADING, State.VERIFYING}:
            time.sleep(0.005)
        if event.state is State.VERIFYING and told[State.VERIFYING] == 30:
            cancel.set()

    with Cache.open(config) as cache, pytest.raises(Cancelled):
        list(cache.fetch(tracks(), jobs=4, on_event=slowly, cancel=cancel))
    assert 0 < told[State.DONE] < 100
    assert told[State.DONE] + told[State.CANCELLED] == _MANY


def test_a_signal_is_heard_whose_handler_returns_after_the_wait_was_over(tmp_path: Path) -> None:
    workers = Workers(Config(root=tmp_path / "root"), create_root(tmp_path / "root"), 1, Rooms())
    last = threading.Timer(5.0, workers._reports.put, [Failed(0, Cancelled())])  # or a wait that is lost never ends
    before = signal.signal(signal.SIGALRM, lambda *_: time.sleep(0.3))
    last.start()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert list(workers.reports(0.2)) == []
    finally:
        signal.signal(signal.SIGALRM, before)
        last.cancel()
        workers.stop(patience=1.0)


@pytest.mark.long
def test_few_files_are_open_however_many_tracks_there_are(config: Config, tmp_path: Path) -> None:
    with started(config, tmp_path) as process:
        assert process.stdout
        done = 0
        for line in process.stdout:  # more slowly than they come
            time.sleep(0.0005)
            done += b'"state":"done"' in line
        assert process.wait() == 0
    assert done == _MANY


@pytest.mark.parametrize("read", [0, 200])
def test_a_signal_ends_a_run_whose_events_nobody_reads(config: Config, tmp_path: Path, read: int) -> None:
    with started(config, tmp_path, more=1500) as process:
        assert process.stdout
        for _ in range(read):
            process.stdout.readline()
        come_true((tmp_path / "root" / "runs-v1").is_dir)
        come_true(lambda: is_full(process.stdout.fileno()))  # type: ignore[union-attr]
        began = time.monotonic()
        process.terminate()
        assert process.wait(20) == 143
        assert time.monotonic() - began < 3
        process.stdout.close()


def started(config: Config, folder: Path, more: int = 0) -> subprocess.Popen[bytes]:
    url = config.sources["plain"].options["url"]
    (folder / "config.toml").write_text(
        f'root = "{folder / "root"}"\nmin_free = 0\nretries = 0\n[sources.plain]\nkind = "http"\nurl = "{url}"\n'
    )
    addresses = [f"plain:{number}" for number in range(_MANY + more)]
    command = (sys.executable, "-m", "cachestore", "fetch")
    return subprocess.Popen(
        ["sh", "-c", 'ulimit -n 128; exec "$@"', "sh", *command, *addresses, "--events", "ndjson"],
        env=os.environ | {"CACHESTORE_CONFIG": str(folder / "config.toml")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
