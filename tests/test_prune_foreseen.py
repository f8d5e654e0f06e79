"""A dry run shows what applying does: the same victims in the same order, with the same reasons and bytes."""

from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cachestore.links import LinkMode
from cachestore.prune import Limits, apply, plan_for, prune
from cachestore.root import BALLAST, drop_ballast
from cachestore.rows import RUNS, Bundle, BundleFile, LeaseRow, RunRow
from cachestore.runs import staging_suffix
from cachestore.store.writer import Store
from cachestore.sweep import foresee
from cachestore.track import Track
from tests.stores import plant_row, put

if TYPE_CHECKING:
    from cachestore.entry import Entry
    from cachestore.prune import Outcome

DEAD = "0" * 32
DAY = 86400.0
DISK = 10_000_000
DiskUsage = namedtuple("DiskUsage", "free")


@dataclass(frozen=True)
class Body:
    """A track to be in the store: bodies of equal `data` share a blob. `age` in hours since its last use.

    `lost` when its file is gone, as if a process had been killed that was about to write so.
    """

    data: int
    blocks: int
    age: int
    pinned: bool
    linked: str
    lost: bool


BODIES = st.builds(
    Body,
    data=st.integers(0, 6),
    blocks=st.integers(1, 4),
    age=st.integers(0, 100),
    pinned=st.sampled_from([False, False, False, True]),
    linked=st.sampled_from(["", "", "", "bundle", "deleted bundle", "backup", "staging", "held staging"]),
    lost=st.sampled_from([False, False, False, True]),
)
LEFT_BEHIND = st.sets(st.sampled_from(["partial", "quarantine", "copy in staging", "ballast", "unindexed", "grown"]))
LIMITS = st.builds(
    Limits,
    max_size=st.integers(0, 150_000),
    min_free=st.sampled_from([0, 0, DISK - BALLAST - 60_000, DISK]),
    max_age=st.sampled_from([None, None, 50 * 3600.0]),
    min_age=st.sampled_from([0.0, 3600.0, 20 * 3600.0]),
)


HELD_BY_THE_DEAD = [Body(0, 3, 0, pinned=False, linked="held staging", lost=False)]
TWICE_STAGED = [Body(0, 3, 0, pinned=False, linked="staging", lost=lost) for lost in (False, True)]
GROWN_SINCE_IT_WAS_LINKED = [
    Body(0, 1, 0, pinned=False, linked=linked, lost=False) for linked in ("deleted bundle", "backup")
]


@settings(deadline=None, max_examples=60)
@example(GROWN_SINCE_IT_WAS_LINKED, {"grown"}, Limits(0))
@example(TWICE_STAGED, set(), Limits(150_000, DISK))
@example(HELD_BY_THE_DEAD, set(), Limits(0))
@given(st.lists(BODIES, max_size=10), LEFT_BEHIND, LIMITS)
def test_a_dry_run_shows_what_applying_does(bodies: list[Body], left_behind: set[str], limits: Limits) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        home = Path(folder).resolve()
        patch.setattr("shutil.disk_usage", lambda _: DiskUsage(DISK - used(home)))
        now = time.time() + 31 * DAY
        with Store.open(home / "root") as store:
            fill(store, home, bodies, left_behind, now, patch)
            left = foresee(store, now, max_size=limits.max_size)
            totals = store.totals() + store.held_change().totals + left.change
            plan = plan_for(store, limits, now, left=left)
            shown = [
                (victim.blob.digest, victim.reason, victim.blob.frees, keys(victim.blob.entries)) for victim in plan
            ]
            made = prune(store, limits, now)
            assert totals == store.totals() + store.held_change().totals
            assert shown == [told(outcome) for outcome in apply(store, made)]
            figures = (plan.bounded, plan.frees, plan.stayed, plan.over_max_size, plan.under_min_free)
            assert figures == (made.bounded, made.frees, made.stayed, made.over_max_size, made.under_min_free)


def told(outcome: Outcome) -> tuple[str, str, int, list[str]]:
    blob = outcome.victim.blob
    return blob.digest, outcome.victim.reason, outcome.freed, keys(blob.entries)


def keys(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.key for entry in entries]


def used(home: Path) -> int:
    """Return the bytes of disk that all files cost, the index's left out."""
    files = [path.lstat() for path in home.rglob("*") if path.is_file() and "index-v1" not in path.parts]
    return sum({info.st_ino: info.st_blocks * 512 for info in files}.values())


def fill(
    store: Store, home: Path, bodies: list[Body], left_behind: set[str], now: float, patch: pytest.MonkeyPatch
) -> None:
    staging = home / f".export{staging_suffix(DEAD)}"
    staging.mkdir()
    (store.root.runs / DEAD).touch()
    with store._index.transaction() as rows:
        plant_row(rows, RUNS.key(DEAD), RunRow("export", 0.0, str(home / "export")).to_row())
    lost: set[str] = set()
    for number, body in enumerate(bodies):
        used_at = now - body.age * 3600.0
        with patch.context() as then:
            then.setattr("cachestore.store.publish.time", SimpleNamespace(time=lambda used_at=used_at: used_at))
            entry = put(store, str(number), bytes([body.data]) * 4096 * body.blocks)
        store.pin(Track("s", str(number)), pinned=body.pinned)
        if body.linked:
            link(store, entry, home / f"{body.linked} {number}", staging, body.linked)
        lost |= {entry.digest} if body.lost else set()
    if bodies and "grown" in left_behind:
        grow(store.blobs.path(entry.digest))
    for digest in lost:
        store.blobs.remove(digest)
    store.swept(now)
    leave_behind(store, staging, left_behind)


def grow(blob: Path) -> None:
    """Edit a blob, as through another of its names."""
    blob.chmod(0o644)
    with blob.open("ab") as file:
        file.write(b"?" * 21_000)


def link(store: Store, entry: Entry, place: Path, staging: Path, how: str) -> None:
    dest = staging if "staging" in how else place
    dest.mkdir(exist_ok=True)
    store.link(entry, dest / place.name, LinkMode.HARDLINK)
    if "bundle" in how:
        file = BundleFile(place.name, entry.digest, LinkMode.HARDLINK)
        store.register(Bundle(dest, dest.name, time.time(), (file,)))
    if how == "held staging":
        with store._transaction() as ledger:
            row = ledger.blob(entry.digest)
            assert row is not None
            ledger.put_blob(entry.digest, row.held_by(DEAD, holds=True))
            ledger.put_leases(f"{DEAD}:{entry.id}", LeaseRow((entry.digest,)))
    if how == "deleted bundle":
        shutil.rmtree(dest)


def leave_behind(store: Store, staging: Path, what: set[str]) -> None:
    """Leave what crashes leave, each with a size of its own, to be 31 days old."""
    if "partial" in what:
        name = store.root.partials / f"{'1' * 32}.{'2' * 32}"
        name.with_suffix(".part").write_bytes(b"?" * 9000)
        name.with_suffix(".json").write_text("{}")
    if "quarantine" in what:
        (store.root.blobs / "photo.jpg").write_bytes(b"?" * 17_000)
        store.quarantine_file(store.root.blobs / "photo.jpg")
    if "copy in staging" in what:
        (staging / "copy.wav").write_bytes(b"?" * 65_000)
    if "unindexed" in what:
        blob = store.blobs.path(f"xxh3-128:{'3' * 32}")
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(b"?" * 13_000)
        os.utime(blob, (1.0, 1.0))
    if "ballast" in what:
        drop_ballast(store.root)
