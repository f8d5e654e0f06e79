"""Many commands at once on one small store, with somebody who edits and spoils: twenty seconds of it.

A minute and a half with ``CACHESTORE_TESTS_IN_FULL=1``, see docs/testing.md.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.clouds import Cloud
from tests.crashes import IN_FULL
from tests.downloads import wave
from tests.invariants import blobs_of, digest_of, faults, leftovers
from tests.stranger import Ran, manifest, row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartRawServer
    from tests.stranger import Stranger

SECONDS = 90.0 if IN_FULL else 20.0
TRACKS = [f"t{number}" for number in range(12)]
PINNED = "pinned"
EDITED = b"EDITED"
BOUND = "100 kB"  # of about 240 kB
_TRIES = 10  # others spoil files, and put them away, meanwhile
SPOILED_TWICE = ": its cached file was changed while it was linked, twice; "
FORBIDDEN = ("Traceback", "internal error", "database is locked", "sqlite")


@pytest.fixture
def cloud(raw_server: StartRawServer, stranger: Stranger) -> Cloud:
    cloud = Cloud({track: [wave(20_000, seed=seed)] for seed, track in enumerate([*TRACKS, PINNED])})
    stranger.configure(raw_server(cloud).url, max_size=BOUND, min_age="0 s")
    return cloud


class Crowd:
    """Actors that do one thing after the other, each in its own thread, until the time is over or one has failed."""

    def __init__(self, stranger: Stranger, cloud: Cloud) -> None:
        self.stranger = stranger
        self.cloud = cloud
        self.done: Counter[str] = Counter()
        self.rows = 0  # that exports have asked for
        self._end = time.monotonic() + SECONDS
        self._failed = threading.Event()

    def run(self, *actors: Callable[[random.Random], None]) -> None:
        """Run all actors at once, and raise what the first of them raises."""
        with ThreadPoolExecutor(len(actors)) as pool:
            seeds = [random.randrange(2**32) for _ in actors]
            futures = [pool.submit(self._repeat, actor, seed) for actor, seed in zip(actors, seeds, strict=True)]
        for future in futures:
            future.result()

    def _repeat(self, actor: Callable[[random.Random], None], seed: int) -> None:
        chance = random.Random(seed)
        try:
            while time.monotonic() < self._end and not self._failed.is_set():
                actor(chance)
                self.done[actor.__name__] += 1
        except BaseException:
            self._failed.set()
            raise

    def command(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Ran:
        """Run a command, which must end within a minute with one of `codes`."""
        env = os.environ | self.stranger.environment
        command = [sys.executable, "-m", "cachestore", *arguments]
        done = subprocess.run(
            command, cwd=self.stranger.home, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        ran = Ran(done.returncode, done.stdout, done.stderr)
        told = f"{' '.join(arguments)}: {ran.code}\n{ran.out}{ran.err}"
        assert ran.code in codes, told
        assert not [word for word in FORBIDDEN if word in told], told
        return ran

    def with_room(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Ran:
        """Run a command, again as it says if it finds no room for what is in quarantine, which counts for a day."""
        is_named = True
        for _ in range(_TRIES):
            ran = self.command(*arguments, codes=(*codes, 1, 4))
            if ran.code in codes or "no room" not in ran.err:  # a warning may tell of that, too
                break
            # Another actor may empty quarantine while this is refused, but hardly twice in a row.
            was_named, is_named = is_named, "cachestore rm --quarantined" in ran.err
            assert was_named or is_named, ran.err
            self.command("rm", "--quarantined")
        assert ran.code in codes, ran.err
        return ran

    def one(self, chance: random.Random) -> None:
        self._export(chance, f"ONE{chance.randrange(3)}")

    def two(self, chance: random.Random) -> None:
        self._export(chance, f"TWO{chance.randrange(3)}")

    def _export(self, chance: random.Random, dest: str) -> None:
        """Export to a new or an old bundle, and sometimes delete that one first or move it away."""
        tracks = chance.sample(TRACKS, chance.randint(1, 6))
        bundle = self.stranger.home / dest
        if bundle.exists() and (luck := chance.random()) < 0.4:
            bundle.rename(bundle.with_name(f"MOVED{time.time_ns()}")) if luck < 0.1 else shutil.rmtree(bundle)
        mix = self.stranger.mix(*map(row, tracks), name=f"{dest}.json")
        while (ran := self.with_room("export", mix, dest, codes=(0, 75))).code:
            # One download more puts damage right; what is spoiled again right after that, only the next export does.
            failures = [line for line in ran.err.splitlines() if line.startswith("  ")]
            assert failures, ran.err
            assert all(SPOILED_TWICE in failure for failure in failures), ran.err
        self.rows += len(tracks)
        self.judge(dest, tracks, is_edited=lambda data: EDITED in data)

    def judge(self, dest: str, tracks: list[str], *, is_edited: Callable[[bytes], bool] = lambda _: False) -> None:
        """See that a bundle has all its tracks, each with its own bytes, or with those that the editor made of them.

        The record of a file has to say which, as far as the editor has not been there since.
        """
        bundle = self.stranger.home / dest
        records = manifest(bundle)["tracks"]
        assert [record["track"] for record in records] == [f"open:{track}" for track in tracks]
        for record, track in zip(records, tracks, strict=True):
            data, right = (bundle / record["file"]).read_bytes(), self.cloud.current(track)
            assert data == right or (is_edited(data) and data[:40] == right[:40]), f"{dest}: {track}"
            assert data != right or record["digest"] == digest_of(data), f"{dest}: {record}"

    def judge_records(self, dest: str) -> None:
        """See that each record of a bundle says what its bytes are, now that nobody edits any more."""
        for record in manifest(self.stranger.home / dest)["tracks"]:
            digest = digest_of((self.stranger.home / dest / record["file"]).read_bytes())
            right = digest_of(self.cloud.current(record["track"].removeprefix("open:")))
            assert record["edited"] is (digest != right), f"{dest}: {record}"
            assert record["digest"] == (None if record["edited"] else digest), f"{dest}: {record}"

    def editor(self, chance: random.Random) -> None:
        files = [path for path in self.stranger.home.glob("*/media/*") if ".cachestore-" not in str(path)]
        with suppress(FileNotFoundError):
            if files:
                spoil(chance.choice(files), 60)
        self.command("ls")

    def rot(self, chance: random.Random) -> None:
        pinned = self.cloud.current(PINNED)
        with suppress(FileNotFoundError):
            blobs = [path for path in blobs_of(self.stranger.root).values() if path.read_bytes() != pinned]
            if blobs:
                spoil(chance.choice(blobs), chance.choice([80, 5000]))
        self.command("verify", *chance.choice([[], ["--quick"]]), codes=(0, 1))

    def pruner(self, chance: random.Random) -> None:
        self.command("prune", "--max-size", chance.choice(["0 B", "60 kB", BOUND]), codes=(0, 4, 75))

    def mender(self, chance: random.Random) -> None:
        self.command("repair", codes=(0, 1))  # what an export is using is left to it

    def remover(self, chance: random.Random) -> None:
        self.command("rm", f"open:{chance.choice(TRACKS)}", codes=(0, 1))

    def keeper(self, chance: random.Random) -> None:
        """Pin and unpin a track that nobody else touches: what is pinned stays, and no pin gets lost."""
        self.command("unpin", f"open:{PINNED}", codes=(0, 1))
        while self.command("pin", f"open:{PINNED}", codes=(0, 1)).code:
            self.with_room("fetch", f"open:{PINNED}")  # it was pruned meanwhile
        for _ in range(3):
            [entry] = [entry for entry in self.command("ls", "--json").facts if entry["id"] == PINNED]
            assert entry["pinned"]


def spoil(path: Path, place: int) -> None:
    """Change the bytes at a place and restore the times, as tag editors do."""
    info = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(EDITED)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    path.chmod(0o444)


@pytest.mark.long
def test_many_commands_at_once_on_a_small_store_that_is_edited_and_spoiled_meanwhile(
    stranger: Stranger, cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It polls the processes of other threads, and takes their exit codes away.
    monkeypatch.setattr("multiprocessing.process._cleanup", lambda: None)
    crowd = Crowd(stranger, cloud)
    crowd.command("fetch", f"open:{PINNED}")
    crowd.command("pin", f"open:{PINNED}")
    crowd.run(
        crowd.one, crowd.two, crowd.editor, crowd.rot, crowd.pruner, crowd.pruner, crowd.mender, crowd.remover,
        crowd.keeper,
    )  # fmt: skip
    with capsys.disabled():
        print(f"\n{dict(crowd.done)} in {SECONDS:.0f} s")
    for number, tracks in enumerate((TRACKS[:6], TRACKS[6:])):
        crowd.with_room("export", stranger.mix(*map(row, tracks), name="last.json"), f"LAST{number}")
        crowd.judge(f"LAST{number}", tracks)
    for bundle in stranger.home.glob("[OT][NW][EO]?"):
        crowd.with_room("export", f"{bundle.name}.json", bundle.name)
        crowd.judge_records(bundle.name)
    crowd.command("repair")
    crowd.command("prune", codes=(0, 4))
    crowd.command("verify")
    assert faults(stranger.root, cloud.served) == []
    assert leftovers(stranger.root, stranger.home) == []
    counts = stranger.run("info", "--json").facts
    assert counts["hits"] + counts["misses"] >= crowd.rows
