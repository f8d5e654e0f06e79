"""Prune on a disk without a byte left, where SQLite cannot even begin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cachestore.errors import IndexDamaged, NoSpace
from cachestore.root import create_root, giving_up_ballast
from tests.test_bad_places import with_mounts_of_its_own

if TYPE_CHECKING:
    from tests.stranger import Stranger

FILL = """
import sys
from pathlib import Path
from cachestore.store.writer import Store
from tests.stores import put
with Store.open(Path(sys.argv[1])) as store:
    for number in range(6):
        put(store, str(number), bytes([number]) * 500_000)
"""
# The last bytes as well: one that is written alone.
SCRIPT = """
mount -t {kind} || exit 99
python -c "$FILL" $ROOT || exit 98
dd if=/dev/zero of=$ROOT/../others bs=4096 2>/dev/null
for n in 1 2 3 4; do cat /dev/zero > $ROOT/../more$n 2>/dev/null; done
cachestore pin s:1; echo "pin $?"
rm -f $ROOT/index-v1/cache.db-shm
ls $ROOT
cachestore prune --max-size 1MB; echo "prune $?"
cachestore verify; echo "verify $?"
ls $ROOT
"""


def full_disk(stranger: Stranger, mount: str) -> str:
    """Return what is said on a small disk that holds a store and is then filled to the brim."""
    disk = stranger.home / "disk"
    disk.mkdir()
    stranger.configure("http://127.0.0.1:9", min_age=0)
    environment = os.environ | stranger.environment | {
        "ROOT": str(disk / "store"), "CACHESTORE_ROOT": str(disk / "store"), "FILL": FILL,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parent.parent),
    }  # fmt: skip
    script = SCRIPT.replace("mount -t {kind}", mount.format(disk=disk, home=stranger.home))
    done = subprocess.run(
        [*with_mounts_of_its_own(), "sh", "-c", script],
        env=environment, cwd=stranger.home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 99:
        pytest.skip(f"NOT RUN: {done.stderr}")
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


MOUNTS = {
    "tmpfs": "mount -t tmpfs -o size=12m,mode=700 none {disk}",
    "ext4": "truncate -s 16M {home}/image && mkfs.ext4 -q -O ^has_journal -m 0 {home}/image && "
    "mount -o loop {home}/image {disk}",
}


@pytest.mark.long
@pytest.mark.parametrize("kind", MOUNTS)
def test_prune_works_where_nothing_else_can_write(kind: str, stranger: Stranger) -> None:
    told = full_disk(stranger, MOUNTS[kind])
    assert "pin 0" not in told, told
    assert "prune 0" in told, told
    assert "verify 0" in told, told
    assert told.count("ballast") == 2, told


@pytest.mark.parametrize("error", [NoSpace(Path("/x")), OSError(28, "full"), IndexDamaged("x", "disk I/O error")])
def test_the_ballast_is_given_up_once(error: Exception, tmp_path: Path) -> None:
    root = create_root(tmp_path / "root")
    tried: list[bool] = []

    def attempt() -> None:
        tried.append(root.ballast.exists())
        raise error

    with pytest.raises(type(error)):
        giving_up_ballast(root, attempt)
    assert tried == [True, False]
    with pytest.raises(type(error)):
        giving_up_ballast(root, attempt)
    assert tried == [True, False, False]


def test_the_ballast_stays_when_something_else_is_wrong(tmp_path: Path) -> None:
    root = create_root(tmp_path / "root")

    def attempt() -> None:
        raise PermissionError(13, "no")

    with pytest.raises(PermissionError):
        giving_up_ballast(root, attempt)
    assert root.ballast.exists()
