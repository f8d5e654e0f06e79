"""A clock that jumps back, a root that cannot be written, a process that forks in the middle: nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.clouds import Cloud
from tests.downloads import wave
from tests.invariants import bundle_faults, faults, leftovers
from tests.stranger import row
from tests.test_bad_places import with_mounts_of_its_own

if TYPE_CHECKING:
    from tests.conftest import StartRawServer
    from tests.stranger import Stranger

DAY = 86_400
_JUMPED = """
import sys, time
real = time.time
time.time = lambda: real() + {seconds}
from cachestore.__main__ import main
sys.exit(main())
"""
_FORKED = """
import os
from cachestore import Cache, Track
with Cache.open() as cache:
    entry = cache.find(Track("open", "a"))
    child = os.fork()
    mine = "child" if child == 0 else "parent"
    for number in range(50):
        found = cache.find(Track("open", "a"))
        assert found == entry, found
        cache.link(found, f"{mine}/{number}.wav")
        cache.store.pin(Track("open", "b"), pinned=number % 2 == 0)
    if child:
        _, status = os.waitpid(child, 0)
        assert status == 0, status
"""


@pytest.fixture
def cloud(raw_server: StartRawServer, stranger: Stranger) -> Cloud:
    cloud = Cloud({track: [wave(20_000, seed=seed)] for seed, track in enumerate("abc")})
    stranger.configure(raw_server(cloud).url)
    stranger.mix(row("a"), row("b"))
    stranger.run("fetch", "open:a", "open:b")
    return cloud


def run(stranger: Stranger, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program in the home folder."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=stranger.home,
        env=os.environ | stranger.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def judge(stranger: Stranger, cloud: Cloud) -> None:
    assert faults(stranger.root, cloud.served) == []
    assert bundle_faults(stranger.home / "DEST") == []
    stranger.run("verify")


@pytest.mark.long
@pytest.mark.parametrize("days", [-30, 400])
def test_a_clock_that_jumps_and_comes_back(days: int, stranger: Stranger, cloud: Cloud) -> None:
    jumped = _JUMPED.format(seconds=days * DAY)
    for command in ("export mix.json DEST", "pin open:a", "prune", "fetch open:c", "verify"):
        done = run(stranger, jumped, *command.split())
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        judge(stranger, cloud)
    stranger.run("export", "mix.json", "DEST")
    stranger.run("fetch", "open:c")
    stranger.run("prune", "--max-age", "20 days")
    judge(stranger, cloud)
    assert {entry["id"] for entry in stranger.run("ls", "--json").facts} == set("abc")
    assert leftovers(stranger.root, stranger.home) == []


@pytest.mark.long
def test_one_prune_under_a_clock_that_is_ahead_takes_nothing_for_its_age(stranger: Stranger, cloud: Cloud) -> None:
    stranger.run("export", "mix.json", "DEST", "--link-mode", "copy")
    stranger.run("prune", "--max-age", "20 days")
    config = stranger.home / "config.toml"
    config.write_text(f'max_age = "20 days"\n{config.read_text()}')
    jumped = _JUMPED.format(seconds=400 * DAY)
    for command in ("fetch open:c", "prune"):  # both enforce the bounds
        done = run(stranger, jumped, *command.split())
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        assert {entry["id"] for entry in stranger.run("ls", "--json").facts} == set("abc")
    stranger.run("prune")
    assert {entry["id"] for entry in stranger.run("ls", "--json").facts} == set("abc")
    done = run(stranger, jumped, "prune")
    done = run(stranger, jumped, "prune")
    assert {entry["id"] for entry in stranger.run("ls", "--json").facts} == {"c"}


@pytest.mark.long
def test_a_root_that_cannot_be_written_can_be_looked_at_and_says_so_to_who_would_change_it(
    stranger: Stranger, cloud: Cloud
) -> None:
    reading = ("ls", "info", "show open:a", "verify", "prune --dry-run")
    writing = ("pin open:a", "rm open:a", "prune", "repair", "fetch open:c", "export mix.json DEST")
    script = "\n".join(
        [
            f"mount --bind {stranger.root} {stranger.root} && mount -o remount,ro,bind {stranger.root} || exit 99",
            *(f"{sys.executable} -m cachestore {command} >&2; echo $?" for command in (*reading, *writing)),
        ]
    )
    done = subprocess.run(
        [*with_mounts_of_its_own(), "sh", "-c", script],
        cwd=stranger.home,
        env=os.environ | stranger.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 99, done.stderr
    assert [*map(int, done.stdout.split())] == [0] * len(reading) + [4] * len(writing), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("cachestore: ") == len(writing), done.stderr
    assert not (stranger.home / "DEST").exists()
    judge(stranger, cloud)


@pytest.mark.long
def test_a_process_that_forks_in_the_middle_may_use_its_cache_in_both(stranger: Stranger, cloud: Cloud) -> None:
    done = run(stranger, _FORKED)
    assert done.returncode == 0, done.stderr
    bundles = [stranger.home / name for name in ("parent", "child")]
    bodies = {path.read_bytes() for bundle in bundles for path in bundle.iterdir()}
    assert bodies == {cloud.current("a")}
    assert [len(list(bundle.iterdir())) for bundle in bundles] == [50, 50]
    judge(stranger, cloud)
