"""Servers that answer anything: whatever they do, only whole, right files enter the store, and nothing hangs.

A failure names its seed and its case; `test_seeds_that_once_failed` is where to put it.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tenacity import wait_none

from cachestore.blobs import hash_file
from cachestore.cache import Cache
from cachestore.config import Config, SourceConfig
from cachestore.errors import Cancelled, TrackError
from cachestore.events import TrackEvent
from cachestore.partials.sidecar import read_sidecar, sidecar_of
from cachestore.track import Track, url_track
from cachestore.version import VersionKind
from cachestore.web import retries, web
from cachestore.web.retries import Retries
from tests.library import Sample, make_sample
from tests.odd_answers import STALL, Case, OddServer, make_case
from tests.servers import program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from cachestore.cache import Result
    from cachestore.entry import Entry
    from cachestore.events import Event
    from cachestore.partials.sidecar import Sidecar

_TOTAL_TIMEOUT = 1.5
_LONGEST = 8.0  # seconds for a track: the total timeout, one wait for headers, and a machine that is busy
_HANG = 120.0
_ROUNDS = 3  # the third one finds every server honest


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Sequence[bytes]:
    """Small audio files of every format, several of each."""
    folder, ffmpeg = tmp_path_factory.mktemp("files"), program("ffmpeg")
    made = [Sample(folder / f"{n}.{ext}", ext, "A", f"T{n}") for ext in ("flac", "mp3", "ogg", "m4a") for n in range(3)]
    for sample in made:
        make_sample(ffmpeg, sample, seconds=0.4)
    return [sample.data for sample in made]


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait between attempts."""
    monkeypatch.setattr(retries, "_BACKOFF", wait_none())
    monkeypatch.setattr(web, "Retries", partial(Retries, wait=lambda cancel, _: cancel.is_set()))


@dataclass
class Bout:
    """Cases that are fetched together, several times, into one store."""

    cases: Sequence[Case]
    server: OddServer
    root: Path
    jobs: int
    problems: list[str] = field(default_factory=list)

    def play(self) -> None:
        """Fetch every track in each round, and note what is wrong."""
        for number in range(_ROUNDS):
            last = number == _ROUNDS - 1
            for case in self.cases:
                case.first_asked = None
                if last:
                    case.answered = max(case.answered, len(case.moves))
            self._round(f"round {number}", last=last)

    def _round(self, name: str, *, last: bool) -> None:
        ended: dict[int, float] = {}
        cancel = threading.Event()
        rng = random.Random(f"{self.cases[0].seed} {name}")
        refresh, soon = rng.random() < 0.2, not last and rng.random() < 0.3
        alarm = threading.Timer(2 * rng.random() if soon else _HANG, cancel.set)
        alarm.start()

        def note(event: Event) -> None:
            if isinstance(event, TrackEvent) and event.state.terminal:
                ended[event.index] = time.monotonic()

        try:
            with Cache.open(self._config()) as cache:
                tracks = [self._track(case) for case in self.cases]
                results = cache.fetch(tracks, jobs=self.jobs, refresh=refresh, on_event=note, cancel=cancel)
                for case, result in zip(self.cases, results, strict=True):
                    self._judge(name, case, result, cache, last=last)
        except Cancelled:
            self._expect(soon, f"{name}: it hangs")
        finally:
            alarm.cancel()
        with Cache.open(self._config()) as cache:
            self._inspect(name, cache)
        for place, case in enumerate(self.cases):
            took = ended.get(place, time.monotonic()) - (case.first_asked or time.monotonic())
            self._expect(took < _LONGEST, f"{name}: it took {took:.1f} s", case)

    def _judge(self, name: str, case: Case, result: Result, cache: Cache, *, last: bool) -> None:
        if result.error is not None:
            self._expect(isinstance(result.error, TrackError), f"{name}: {result.error!r}", case)
            self._expect(not last, f"{name}: the server is honest now, but {result.error}", case)
            return
        data = cache.store.blobs.path(result.entry.digest).read_bytes()
        self._expect(data in [state.data for state in case.states], f"{name}: bytes of {self._whose(data)}", case)
        if last and case.kind != "document":
            told = case.final.etag.strip('W/" ') or not case.final.modified
            self._expect(not told or data == case.final.data, f"{name}: not the bytes of now", case)

    def _whose(self, data: bytes) -> str:
        """Return which case has these bytes."""
        numbers = [case.number for case in self.cases if data in [state.data for state in case.states]]
        return f"case {numbers}" if numbers else f"nobody: {len(data)} bytes {data[:40]!r}"

    def _inspect(self, name: str, cache: Cache) -> None:
        """Look at everything that is kept."""
        cases = {self._track(case).address: case for case in self.cases}
        entries = list(cache.store.entries())
        for entry in entries:
            self._inspect_entry(name, cache, entry, cases[entry.address])
        blobs = {path for path in cache.store.root.blobs.rglob("*") if path.is_file()}
        known = {cache.store.blobs.path(entry.digest) for entry in entries}
        self._expect(blobs == known, f"{name}: {len(blobs - known)} blobs without an entry")
        self._expect(not any(cache.store.root.quarantine.iterdir()), f"{name}: something is in quarantine")
        self._expect(not any(cache.store.root.runs.iterdir()), f"{name}: a run is left")
        self._inspect_partials(name, cache.store.root.partials, cases)

    def _inspect_entry(self, name: str, cache: Cache, entry: Entry, case: Case) -> None:
        path = cache.store.blobs.path(entry.digest)
        data = path.read_bytes()
        self._expect(hash_file(path) == entry.digest, f"{name}: a blob under another digest", case)
        self._expect(data in [state.data for state in case.states], f"{name}: an entry with bytes of nobody", case)
        if entry.version.kind in {VersionKind.STRONG, VersionKind.WEAK}:
            named = [state.data for state in case.states if state.etag == entry.version.value]
            self._expect(not named or data in named, f"{name}: the bytes of another ETag", case)

    def _inspect_partials(self, name: str, folder: Path, cases: dict[str, Case]) -> None:
        kept = [path for path in folder.iterdir() if path.suffix == ".part"]
        others = {path.name for path in folder.iterdir()} - {p.name for path in kept for p in (path, sidecar_of(path))}
        self._expect(not others, f"{name}: left over are {others}")
        for path in kept:
            sidecar = read_sidecar(sidecar_of(path))
            self._expect(sidecar is not None and sidecar.resumable, f"{name}: a partial that is of no use")
            if sidecar is not None and sidecar.version is not None:
                self._inspect_partial(name, path.read_bytes(), sidecar, cases[sidecar.address])

    def _inspect_partial(self, name: str, data: bytes, sidecar: Sidecar, case: Case) -> None:
        version = sidecar.version.value if sidecar.version else ""
        named = [s.data for s in case.states if s.etag == version and len(s.data) == sidecar.total]
        honest = {"flipped"}.isdisjoint(move.lie for move in case.moves)
        good = not named or any(whole.startswith(data) for whole in named)
        self._expect(good or not honest, f"{name}: a partial of {version} with other bytes", case)

    def _expect(self, fact: object, problem: str, case: Case | None = None) -> None:
        if not fact:
            self.problems.append(f"{problem}\n{case or ''}")

    def _config(self) -> Config:
        sources = {config.name: config for case in self.cases for config in self._source(case)}
        return Config(
            root=self.root,
            min_free=0,
            retries=2,
            connect_timeout=1,
            stall_timeout=STALL,
            total_timeout=_TOTAL_TIMEOUT,
            max_track_size=10**6,
            sources=sources,
        )

    def _source(self, case: Case) -> Iterator[SourceConfig]:
        url, headers = f"{self.server.url}/{case.number}", {"Authorization": "Bearer t", "X-Api-Key": "k"}
        if case.kind == "template":
            yield SourceConfig(f"s{case.number}", "http", {"url": f"{url}/stream?id={{id}}", "headers": headers})
        if case.kind == "document":
            pointers = {"stream_pointer": "/url", "version_pointer": "/version", "headers": headers}
            yield SourceConfig(f"s{case.number}", "http", {"resolve_url": f"{url}/{{id}}", **pointers})

    def _track(self, case: Case) -> Track:
        if case.kind == "url":
            return url_track(f"{self.server.url}/{case.number}/stream?signature=x")
        return Track(f"s{case.number}", "document")


def play(seed: int, numbers: Iterable[int], files: Sequence[bytes], folder: Path, *, jobs: int = 8) -> None:
    """Play cases of a seed; fail with all that went wrong."""
    cases = [make_case(seed, number, files) for number in numbers]
    server = OddServer(cases)
    try:
        bout = Bout(cases, server, folder / f"root-{seed}", jobs)
        bout.play()
    finally:
        server.stop()
    assert not bout.problems, "\n\n".join(bout.problems)


def test_only_whole_right_files_enter_the_store(files: Sequence[bytes], tmp_path: Path) -> None:
    play(random.getrandbits(32), range(100), files, tmp_path)
