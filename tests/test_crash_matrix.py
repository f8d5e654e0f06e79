"""Every command, killed at every point of its work: what is left is allowed, serves nothing wrong, and is mended.

In CI a few points a command, other ones each time (pytest-randomly prints the seed); all of them with
``CACHESTORE_TESTS_IN_FULL=1``, see docs/testing.md.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.clouds import Cloud
from tests.crashes import IN_FULL, NEVER, Scene, run_to
from tests.downloads import wave
from tests.invariants import blobs_of, bundle_faults, digest_of, faults, holes, leftovers
from tests.stranger import manifest, row, snapshot
from tests.unfinished import kept

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from tests.conftest import StartRawServer
    from tests.stranger import Stranger

POINTS = 4  # of each command, unless in full
# With a place, so that projects are written, too.
MIX = [row("a", start=0), row("b"), row("c"), {"path": "local.wav", "title": "Mine"}]
EXPORT = ("export", "mix.json", "DEST")
DESTS = ("DEST", "OTHER", "FRESH")
MENDING = (EXPORT, ("prune",), ("verify",))
EDITED, CUT = b"EDITED", 100
CRAMPED = 24_000  # bytes: two tracks of the mix, or the largest one while it is downloaded
LOCAL, LOST = wave(3000, seed=6), wave(3200, seed=8)
TWICE = [wave(6000, seed=1), wave(7000, seed=2)]


@pytest.fixture
def cloud(raw_server: StartRawServer, stranger: Stranger) -> Cloud:
    """Return the cloud that the stranger has configured: ``b`` will have other bytes, ``e`` has those of ``a``."""
    bodies = {"a": [wave(9000, seed=3)], "b": TWICE, "c": [wave(5000, seed=4)], "d": [wave(4000, seed=5)]}
    cloud = Cloud(bodies | {"e": bodies["a"]})
    stranger.configure(raw_server(cloud).url, jobs=1)
    (stranger.home / "local.wav").write_bytes(LOCAL)
    stranger.mix(*MIX)
    return cloud


@dataclass(frozen=True)
class Case:
    """A command, what is done before it, and what mends whatever a kill leaves."""

    command: tuple[str, ...]
    prepare: Callable[[Stranger, Cloud], Collection[str] | None]
    mending: tuple[tuple[str, ...], ...] = MENDING
    mended: str = "DEST"
    kept: bytes = b""  # what DEST has and nothing else


def nothing(stranger: Stranger, cloud: Cloud) -> None:
    pass


def some(stranger: Stranger, cloud: Cloud) -> None:
    stranger.run("fetch", "open:a", "open:d")


def empty(stranger: Stranger, cloud: Cloud) -> None:
    some(stranger, cloud)
    (stranger.home / "DEST").mkdir()


def exported(stranger: Stranger, cloud: Cloud) -> None:
    stranger.run(*EXPORT)
    stranger.run("fetch", "open:d", "open:e")


def changed(stranger: Stranger, cloud: Cloud) -> None:
    """Leave a bundle of which one track goes, one comes, and one has other bytes now."""
    stranger.run("export", stranger.mix(row("a"), row("b"), row("d")), "DEST")
    stranger.mix(*MIX)
    cloud.update()


def cramped(stranger: Stranger, cloud: Cloud) -> None:
    """Leave a store that is smaller than the mix, and full: of the last row, and of what others have begun."""
    stranger.run("fetch", "open:c", "open:d")
    config = stranger.home / "config.toml"
    config.write_text(f'max_size = "{CRAMPED}"\nmin_age = "0 s"\n{config.read_text()}')
    partials = stranger.root / "partials-v1"
    kept(partials, cloud.current("e")[:5000], total=9000, address="open:e")
    claimed = kept(partials, cloud.current("d")[:3000], total=4000, address="open:d")
    claimed.rename(claimed.with_suffix(".work"))


def crowded(stranger: Stranger, cloud: Cloud) -> None:
    """Leave such a store, and a first row that takes so long that the one behind it is postponed."""
    cramped(stranger, cloud)
    config = stranger.home / "config.toml"
    keys = config.read_text().replace("jobs = 1", "jobs = 2").replace("retries = 0", "retries = 5")
    config.write_text(f'stall_timeout = "1 s"\n{keys}')  # a third of that is waited with a connection
    # What comes at once has no record: these have.
    cloud.slow = {"a": 0.2, "b": 0.02, "c": 0.02}


def lost(stranger: Stranger, cloud: Cloud) -> None:
    """Leave a bundle in another order than it is to have, and with the last copy of a local file."""
    (stranger.home / "lost.wav").write_bytes(LOST)
    mine = {"path": "lost.wav", "title": "Lost"}
    stranger.run("export", stranger.mix(mine, row("b"), row("a")), "DEST", "--template", "{index}")
    (stranger.home / "lost.wav").unlink()
    stranger.mix(*MIX, name="whole.json")
    stranger.mix(row("b"), mine, row("a"))


def littered(stranger: Stranger, cloud: Cloud) -> None:
    """Leave what prune has to do: too much, a deleted bundle, a blob without a row, a dead run and what it staged."""
    exported(stranger, cloud)
    stranger.run("pin", "open:e")
    stranger.run("export", stranger.mix(row("c"), row("d"), name="other.json"), "OTHER")
    (stranger.home / "OTHER").rename(stranger.home.with_name("gone"))
    run_to(40, ("export", "other.json", "NEVER"), stranger.home, os.environ | stranger.environment)
    unindexed = wave(2000, seed=7)
    name = digest_of(unindexed).partition(":")[2]
    place = stranger.root / "blobs-v1" / "xxh3-128" / name[:2] / name[2:]
    place.parent.mkdir(parents=True)
    place.write_bytes(unindexed)
    place.chmod(0o444)
    os.utime(place, (1.0, 1.0))


def spoiled(stranger: Stranger, cloud: Cloud) -> set[str]:
    """Leave what repair has to do: edited bytes, a file cut short, a file that is gone, a foreign one, a broken row."""
    exported(stranger, cloud)
    edited, cut, gone = (digest_of(cloud.current(track)) for track in "abd")
    blobs = blobs_of(stranger.root)
    overwrite(blobs[edited])
    blobs[cut].chmod(0o644)
    os.truncate(blobs[cut], CUT)
    blobs[gone].unlink()
    (stranger.root / "blobs-v1" / "notes.txt").write_text("mine")
    with closing(sqlite3.connect(stranger.root / "index-v1" / "cache.db", isolation_level=None)) as database:
        database.execute("INSERT INTO Cache (key, raw, mode, value) VALUES ('x:broken', 1, 1, '{}')")
    return {edited, cut}


def without_index(stranger: Stranger, cloud: Cloud) -> None:
    """Leave blobs that no index knows, and the bundle that does."""
    exported(stranger, cloud)
    shutil.rmtree(stranger.root / "index-v1")


def overwrite(path: Path) -> None:
    """Change bytes in place as a tag editor does that restores the times."""
    info = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(EDITED)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


# What was edited in DEST stays there.
REPAIRING = (EXPORT, ("export", "mix.json", "FRESH"), ("repair",), ("prune",), ("verify",))
RENUMBER = (*EXPORT, "--renumber", "--template", "{index}", "--on-error", "skip")
CASES = {
    "fetch": Case(("fetch", "open:a", "open:b"), some),
    "fetch into no store": Case(("fetch", "open:a"), nothing),
    "export": Case(EXPORT, some),
    "export into an empty folder": Case(EXPORT, empty),
    "re-export": Case(EXPORT, changed),
    "renumber": Case((*EXPORT, "--renumber", "--template", "{index} {title}"), changed),
    "export larger than the store": Case(EXPORT, cramped),
    "export with a track that is postponed": Case(EXPORT, crowded),
    "renumber with a hole": Case(RENUMBER, lost, (("export", "whole.json", "DEST"), *MENDING[1:]), kept=LOST),
    "export over damage": Case(EXPORT, spoiled, REPAIRING, "FRESH"),
    "prune": Case(("prune", "--max-size", "8 kB"), littered),
    "repair": Case(("repair",), spoiled, REPAIRING, "FRESH"),
    "adopt": Case(("repair", "--adopt", "DEST"), without_index),
    "verify": Case(("verify",), exported),
    "pin": Case(("pin", "open:a", "open:d"), exported),
    "unpin": Case(("unpin", "open:e"), littered),
    "rm": Case(("rm", "open:a", "open:d"), exported),
}


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_a_kill_at_any_point_leaves_only_what_is_allowed_and_is_mended(
    name: str, stranger: Stranger, cloud: Cloud, record_property: Callable[[str, object], None]
) -> None:
    case, began = CASES[name], time.monotonic()
    damaged = case.prepare(stranger, cloud) or set()
    scene = Scene(stranger.home)
    scene.restore()
    before = others(stranger)
    env = os.environ | stranger.environment
    whole = run_to(NEVER, case.command, stranger.home, env)
    assert whole.code in {0, 1, 3}, whole.told
    step = 1 if IN_FULL else max(1, whole.points // POINTS)
    points = range(1 + random.randrange(step), whole.points + 1, step)
    faulty = []
    for point in points:
        scene.restore()
        attempt = run_to(point, case.command, stranger.home, env)
        assert attempt.code in {-9, whole.code}, attempt.told
        found = [*wrong(stranger, cloud, damaged), *([] if others(stranger) == before else ["other files changed"])]
        found += [] if is_kept(stranger, case.kept) else ["what nothing else had is lost"]
        if found := found or unmended(stranger, cloud, case):
            faulty.append(f"killed at {point} of {whole.points}, before {attempt.place}: {found}")
    told = f"{len(points)} of {whole.points} points tried in {time.monotonic() - began:.0f} s"
    record_property(name, told)
    print(f"{name}: {told}")
    assert not faulty, "\n".join(faulty)


@pytest.mark.long
def test_the_track_that_is_to_be_postponed_is(stranger: Stranger, cloud: Cloud) -> None:
    crowded(stranger, cloud)
    cloud.slow |= {"a": 0.6}
    stranger.run(*EXPORT)
    assert cloud.asked["b"] > 1


def wrong(stranger: Stranger, cloud: Cloud, damaged: Collection[str]) -> list[str]:
    """Return what must never be, in the store and in the bundles."""
    files = snapshot(stranger.home / "DEST") if damaged else {}
    edited = [path for path, (data, *_) in files.items() if EDITED in data or len(data) == CUT]
    found = [fault for dest in DESTS for fault in bundle_faults(stranger.home / dest)]
    return [
        *faults(stranger.root, cloud.served, damaged=damaged),
        *(fault for fault in found if not any(path in fault for path in edited)),
    ]


def is_kept(stranger: Stranger, data: bytes) -> bool:
    return not data or data in [found for found, *_ in snapshot(stranger.home / "DEST").values()]


def others(stranger: Stranger) -> dict[str, tuple[bytes, int]]:
    """Return bytes and mtime of all files that the command has nothing to do with."""
    owned = tuple(f"{stranger.home / name}/" for name in ("store", *DESTS))
    return {
        path: (data, mtime)
        for path, (data, _, mtime) in snapshot(stranger.home).items()
        if not path.startswith(owned) and ".cachestore-" not in path
    }


def unmended(stranger: Stranger, cloud: Cloud, case: Case) -> list[str]:
    """Use the store as anybody would go on to do, and return what is not right then or left over."""
    for command in case.mending:
        try:
            stranger.run(*command)
        except AssertionError as error:
            return [f"then {' '.join(command)}: {error}"]
    expected = [cloud.current(track) for track in "abc"] + [LOCAL]
    bundle = manifest(stranger.home / case.mended)
    files = [stranger.home / case.mended / track["file"] for track in bundle["tracks"]]
    served = [] if [file.read_bytes() for file in files] == expected else ["the bundle has other bytes than it should"]
    return [
        *served,
        *([] if bundle["finished"] else ["the bundle is not finished"]),
        *faults(stranger.root, cloud.served),
        *(f"{path} is left over" for path in leftovers(stranger.root, stranger.home)),
        *(f"{key} has no bytes" for key in holes(stranger.root)),
    ]
