"""Two commands at once, one of which is stopped at a bad moment until the other one has ended."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.clouds import Cloud
from tests.downloads import wave
from tests.invariants import bundle_faults, faults, leftovers
from tests.stranger import manifest, row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartRawServer
    from tests.stranger import Stranger

_PATIENCE = 120.0
# In the process that is to be stopped: the first call that `is_it` tells the other side and waits for its word.
_STOP = """
import importlib
owner = importlib.import_module("{module}")
for part in "{owner}".split("."):
    owner = getattr(owner, part) if part else owner
works, stopped = getattr(owner, "{name}"), []
def stop(*arguments, **options):
    if not stopped and {when}:
        stopped.append(True)
        open("{folder}/reached", "w").close()
        open("{folder}/go", "rb", 0).read(1)
    return works(*arguments, **options)
setattr(owner, "{name}", stop)
"""


_RUN = "\nimport sys\nfrom cachestore.__main__ import main\nsys.exit(main())"


@dataclass(frozen=True)
class Moment:
    """Right before a function is called for the first time for which `when` holds of its `arguments`."""

    module: str
    owner: str
    name: str
    when: str = "True"


LINKING = Moment("os", "", "link", "'blobs-v1' in str(arguments[0])")
FOUND = Moment("cachestore.store.writer", "Store", "link")
STAGED = Moment("os", "", "rename", "str(arguments[1]).endswith('/DEST')")
LEASING = Moment("cachestore.store.writer", "Store", "lease")
DOWNLOADED = Moment("cachestore.store.writer", "Store", "put")
PUBLISHING = Moment("os", "", "replace", "'/DEST/media/' in str(arguments[1])")
REGISTERING = Moment("cachestore.store.writer", "Store", "register")
EVICTING = Moment("cachestore.store.writer", "Store", "evict")
UNLINKING = Moment("cachestore.blobs", "Blobs", "remove")
SWEEPING = Moment("cachestore.store.writer", "Store", "bill")
RETIRING = Moment("cachestore.store.writer", "Store", "retire")


class Stopped:
    """A command that has stopped at a moment; it goes on when this has been told so, or dies with the test."""

    def __init__(self, stranger: Stranger, folder: Path, moment: Moment, arguments: tuple[str, ...]) -> None:
        os.mkfifo(folder / "reached")
        os.mkfifo(folder / "go")
        self._go = os.open(folder / "go", os.O_RDWR)  # so that nobody waits for the other side to open it
        reached = os.open(folder / "reached", os.O_RDONLY | os.O_NONBLOCK)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _STOP.format(**vars(moment), folder=folder) + _RUN, *arguments],
            cwd=stranger.home,
            env=os.environ | stranger.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        is_there, _, _ = select.select([reached], [], [], _PATIENCE)
        os.close(reached)
        if not is_there:
            self.kill()
            pytest.fail("the process never came to the moment")

    def go_on(self) -> None:
        """Let it go on."""
        os.write(self._go, b"go")

    def end(self) -> int:
        """Let it go on to its end, and return its exit code."""
        self.go_on()
        _, told = self._process.communicate(timeout=_PATIENCE)
        assert "Traceback" not in told, told
        assert "internal error" not in told, told
        return self._process.returncode

    def kill(self) -> None:
        """End it; more than once does no harm."""
        os.close(self._go)
        self._process.kill()
        with self._process:
            pass  # closes the pipe and waits


@pytest.fixture
def cloud(raw_server: StartRawServer, stranger: Stranger) -> Cloud:
    cloud = Cloud({track: [wave(20_000, seed=seed)] for seed, track in enumerate("abc")})
    stranger.configure(raw_server(cloud).url, min_age="0 s", max_size="30 kB")
    return cloud


class Scenario:
    """A mix of two tracks, one of them cached, that is exported to DEST."""

    def __init__(self, stranger: Stranger, cloud: Cloud, folder: Path, life: ExitStack) -> None:
        self.stranger = stranger
        self._cloud = cloud
        self._folder = folder
        self._life = life
        self.mix = stranger.mix(row("a"), row("b"))

    def stopped(self, moment: Moment, *arguments: str) -> Stopped:
        """Start a command and return it when it has stopped."""
        stopped = Stopped(self.stranger, self._folder, moment, arguments)
        self._life.callback(stopped.kill)
        return stopped

    def judge(self, *dests: str) -> None:
        """See that the bundles are right, and that nothing is wrong with the store or left over."""
        for dest in dests:
            bundle = self.stranger.home / dest
            assert bundle_faults(bundle) == []
            files = [bundle / track["file"] for track in manifest(bundle)["tracks"]]
            assert [file.read_bytes() for file in files] == [self._cloud.current(track) for track in "ab"]
        self.stranger.run("prune")
        self.stranger.run("verify")
        assert faults(self.stranger.root, self._cloud.served) == []
        assert leftovers(self.stranger.root, self.stranger.home) == []


@pytest.fixture
def scenario(stranger: Stranger, cloud: Cloud, tmp_path: Path) -> Iterator[Scenario]:
    stranger.run("fetch", "open:a", "open:c")
    with ExitStack() as life:
        yield Scenario(stranger, cloud, tmp_path, life)


MEANWHILE = ["prune --max-size 0B", "rm open:a", "repair", "verify", "export"]
PAIRS = [
    pytest.param(moment, meanwhile, id=f"{moment.name}-{meanwhile}")
    for moment in (LEASING, DOWNLOADED, FOUND, LINKING, STAGED, REGISTERING)
    for meanwhile in MEANWHILE
    # Another export would wait for what this one has not published yet.
    if meanwhile != "export" or moment not in {DOWNLOADED, FOUND, LINKING}
]


@pytest.mark.long
@pytest.mark.parametrize(("moment", "meanwhile"), PAIRS)
def test_an_export_that_stands_still_while_another_command_runs_is_whole(
    scenario: Scenario, moment: Moment, meanwhile: str
) -> None:
    export = scenario.stopped(moment, "export", scenario.mix, "DEST")
    other = f"export {scenario.mix} OTHER" if meanwhile == "export" else meanwhile
    ran = scenario.stranger._run(other.split(), "")
    assert ran.code in {0, 1, 4}, ran.err  # in use, over the bound
    assert export.end() == 0
    scenario.judge("DEST", *(["OTHER"] if meanwhile == "export" else []))


@pytest.mark.long
def test_exports_of_two_stores_to_one_folder_never_mix(scenario: Scenario) -> None:
    """No row of the one store says to the other one that somebody writes there."""
    stranger = scenario.stranger
    stranger.run("export", stranger.mix(row("c"), name="other.json"), "DEST")
    export = scenario.stopped(PUBLISHING, "export", scenario.mix, "DEST")
    refused = stranger.run("export", "other.json", "DEST", "--root", "elsewhere", code=75)
    assert refused.err.splitlines()[-1].endswith("DEST is busy with another command; try again in a moment")
    assert export.end() == 0
    scenario.judge("DEST")
    stranger.run("export", "other.json", "DEST", "--root", "elsewhere")
    assert bundle_faults(stranger.home / "DEST") == []


@pytest.mark.long
@pytest.mark.parametrize("moment", [EVICTING, SWEEPING], ids=lambda m: m.name)
def test_a_prune_that_stands_still_takes_nothing_that_an_export_uses_meanwhile(
    scenario: Scenario, moment: Moment
) -> None:
    place = scenario.stranger.root / "blobs-v1" / "xxh3-128" / "00" / f"{0:030x}"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"an orphan, or there is nothing to be swept")
    prune = scenario.stopped(moment, "prune", "--max-size", "0B")
    scenario.stranger.run("export", scenario.mix, "DEST")
    assert prune.end() in {0, 4}
    scenario.judge("DEST")


@pytest.mark.long
def test_an_export_waits_while_a_prune_removes_a_blob(scenario: Scenario) -> None:
    prune = scenario.stopped(UNLINKING, "prune", "--max-size", "0B")
    with scenario.stranger.start("export", scenario.mix, "DEST") as export:
        assert prune.end() in {0, 4}
        assert export.wait(_PATIENCE) == 0
    scenario.judge("DEST")


@pytest.mark.long
def test_a_repair_that_stands_still_leaves_what_an_export_has_healed(scenario: Scenario) -> None:
    for blob in scenario.stranger.blobs():
        blob.chmod(0o644)
        blob.write_bytes(b"damaged")
    repair = scenario.stopped(RETIRING, "repair")
    scenario.stranger.run("export", scenario.mix, "DEST")
    assert repair.end() == 0
    scenario.judge("DEST")
    assert {entry["id"] for entry in scenario.stranger.run("ls", "--json").facts} >= {"a", "b"}
