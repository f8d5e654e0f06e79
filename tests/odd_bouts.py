"""Bouts with odd servers, for tests/test_fuzz_servers.py: tracks are fetched several times, and all that is kept is
looked at.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from cachestore.blobs import hash_file
from cachestore.cache import Cache
from cachestore.config import Config, SourceConfig
from cachestore.errors import Cancelled, TrackError
from cachestore.events import TrackEvent
from cachestore.partials.sidecar import read_sidecar, sidecar_of
from cachestore.track import Track, url_track
from cachestore.version import VersionKind
from tests.odd_servers import STALL, OddServer, make_case

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from cachestore.cache import Result
    from cachestore.entry import Entry
    from cachestore.events import Event
    from cachestore.partials.sidecar import Sidecar
    from tests.odd_servers import Case

LONGEST = 10.0  # seconds for a track: far more than the timeouts below, since machines are busy
_HANG = 120.0
_ROUNDS = 3  # in the last one every server is honest


def impatient(root: Path, **sources: SourceConfig) -> Config:
    """Return a configuration without patience."""
    return Config(
        root=root,
        min_free=0,
        retries=2,
        connect_timeout=1,
        stall_timeout=STALL,
        total_timeout=1.5,
        max_track_size=10**6,
        sources=sources,
    )


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
                case.asked = max(case.asked, len(case.moves)) if last else case.asked
            self._round(f"round {number}", last=last)
            with Cache.open(self._config()) as cache:
                self._inspect(f"after round {number}", cache)

    def _round(self, name: str, *, last: bool) -> None:
        """Fetch, sometimes whatever is kept, and sometimes not to the end."""
        rng = random.Random(f"{self.cases[0].seed} {name}")
        refresh, is_cut_short = rng.random() < 0.2, not last and rng.random() < 0.3
        cancel, ended = threading.Event(), dict[int, float]()
        alarm = threading.Timer(2 * rng.random() if is_cut_short else _HANG, cancel.set)
        alarm.start()
        tracks = [self._track(case) for case in self.cases]
        try:
            with Cache.open(self._config()) as cache:
                note = partial(_note_end, ended)
                results = cache.fetch(tracks, jobs=self.jobs, refresh=refresh, on_event=note, cancel=cancel)
                for case, result in zip(self.cases, results, strict=True):
                    self._judge(name, case, result, cache, last=last)
        except Cancelled:
            self._expect(is_cut_short, f"{name}: it hangs")
        finally:
            alarm.cancel()
        self._check_times(name, ended)

    def _check_times(self, name: str, ended: dict[int, float]) -> None:
        for place, case in enumerate(self.cases):
            took = ended.get(place, 0.0) - (case.first_asked or time.monotonic())
            self._expect(took < LONGEST, f"{name}: it took {took:.1f} s", case)

    def _judge(self, name: str, case: Case, result: Result, cache: Cache, *, last: bool) -> None:
        if result.error is not None:
            self._expect(isinstance(result.error, TrackError), f"{name}: {result.error!r}", case)
            self._expect(not last, f"{name}: the server is honest now, but {result.error}", case)
            return
        data = cache.store.blobs.path(result.entry.digest).read_bytes()
        self._expect(data in [state.data for state in case.states], f"{name}: bytes of {self._whose(data)}", case)
        if last and case.kind != "document":  # a service may be late to tell of a change
            is_told = bool(case.final.etag.strip('W/" ')) or not case.final.modified
            self._expect(not is_told or data == case.final.data, f"{name}: not the bytes of now", case)

    def _whose(self, data: bytes) -> str:
        """Return which case has these bytes."""
        numbers = [case.number for case in self.cases if data in [state.data for state in case.states]]
        return f"case {numbers}" if numbers else f"nobody: {len(data)} bytes {data[:40]!r}"

    def _inspect(self, name: str, cache: Cache) -> None:
        """Look at everything that is kept."""
        cases, root = {self._track(case).address: case for case in self.cases}, cache.store.root
        entries = list(cache.store.entries())
        for entry in entries:
            self._inspect_entry(name, cache.store.blobs.path(entry.digest), entry, cases[entry.address])
        blobs = {path for path in root.blobs.rglob("*") if path.is_file()}
        known = {cache.store.blobs.path(entry.digest) for entry in entries}
        self._expect(blobs == known, f"{name}: {len(blobs - known)} blobs without an entry")
        self._expect(not any(root.quarantine.iterdir()), f"{name}: something is in quarantine")
        runs = [path for path in root.runs.iterdir() if path.name != "prune.lock"]
        self._expect(not runs, f"{name}: a run is left")
        self._inspect_partials(name, root.partials, cases)

    def _inspect_entry(self, name: str, path: Path, entry: Entry, case: Case) -> None:
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
            if sidecar is not None:
                self._inspect_partial(name, path.read_bytes(), sidecar, cases[sidecar.address])

    def _inspect_partial(self, name: str, data: bytes, sidecar: Sidecar, case: Case) -> None:
        etag = sidecar.version.value if sidecar.version else ""
        named = [state.data for state in case.states if state.etag == etag and len(state.data) == sidecar.total]
        is_begun = not named or any(whole.startswith(data) for whole in named)
        may_be_flipped = any(move.lie == "flipped" for move in case.moves)
        self._expect(is_begun or may_be_flipped, f"{name}: a partial of {etag} with other bytes", case)

    def _expect(self, fact: object, problem: str, case: Case | None = None) -> None:
        if not fact:
            self.problems.append(f"{problem}\n{case or ''}")

    def _config(self) -> Config:
        return impatient(self.root, **{source.name: source for case in self.cases for source in self._source(case)})

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


def _note_end(ended: dict[int, float], event: Event) -> None:
    if isinstance(event, TrackEvent) and event.state.terminal:
        ended[event.index] = time.monotonic()


def play(seed: int, numbers: Iterable[int], files: Sequence[bytes], folder: Path) -> None:
    """Play cases of a seed; fail with all that went wrong."""
    cases = [make_case(seed, number, files) for number in numbers]
    server = OddServer(cases)
    bout = Bout(cases, server, folder / f"root-{seed}", jobs=16)
    try:
        bout.play()
    finally:
        server.stop()
    assert not bout.problems, "\n\n".join(bout.problems)
