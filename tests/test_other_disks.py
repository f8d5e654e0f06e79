"""Bundles on other disks than the store's: exFAT without links, a mount point, a volume of its own, one with reflinks.

Each test mounts its disk where nobody else sees it, at DISK in the stranger's home.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.clouds import Cloud
from tests.downloads import wave
from tests.stranger import row
from tests.test_bad_places import with_mounts_of_its_own

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRawServer
    from tests.stranger import Stranger

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
# What is there and when it was changed; its inodes are made up anew at each mount by filesystems without any.
NEXT = "--- next step"
STATE = "find DISK/Friday -printf '%p %s %T@\\n' | sort"
ROWS = [
    row("a", title="AC/DC: Who?", artist="E.P."),
    row("b", title="Straße"),
    row("c", title="STRASSE."),
    row("d", title="x" * 300, artist="Ro\u0301s"),
    {"path": "local.wav", "title": "CON"},
]


@pytest.fixture
def cloud(raw_server: StartRawServer, stranger: Stranger) -> Cloud:
    """Return the cloud that the stranger has configured: ``a`` will have other bytes."""
    bodies = {track: [wave(9000 + n, seed=n)] for n, track in enumerate("bcd")}
    cloud = Cloud(bodies | {"a": [wave(8000, seed=7), wave(8000, seed=8)]})
    stranger.configure(raw_server(cloud).url, jobs=1)
    (stranger.home / "local.wav").write_bytes(wave(3000, seed=9))
    (stranger.home / "DISK").mkdir()
    return cloud


def play(stranger: Stranger, attach: str, *steps: str) -> list[str]:
    """Mount a disk at DISK by the shell's function `attach`, take steps, and return what each of them printed."""
    script = f"""
        cachestore() {{ {sys.executable} -m cachestore "$@"; }}
        trap 'umount DISK 2>/dev/null; [ -z "$loop" ] || losetup -d $loop' EXIT
        attach() {{ {attach}; }}
        attach || exit 99
    """ + "".join(f"\n{step} || exit 1\necho {NEXT}" for step in steps)
    done = subprocess.run(
        [*with_mounts_of_its_own(), "sh", "-c", script],
        cwd=stranger.home,
        env=os.environ | stranger.environment | {"PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode == 99:
        pytest.skip(f"NOT RUN: this machine does not mount such a disk ({done.stderr.strip()[-100:]})")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return [part.strip() for part in done.stdout.split(f"{NEXT}\n")][: len(steps)]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return the image of a disk without a filesystem."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(200 * 2**20)
    return image


def make_filesystem(maker: str, image: Path) -> None:
    if shutil.which(maker, path=PATH) is None:
        pytest.skip(f"NOT RUN: there is no {maker}")
    subprocess.run([maker, image], env=os.environ | {"PATH": PATH}, check=True, capture_output=True)


@pytest.mark.long
def test_a_bundle_on_exfat_has_its_names_and_is_as_it_was_when_it_was_unplugged(
    stranger: Stranger, cloud: Cloud, image: Path
) -> None:
    make_filesystem("mkfs.exfat", image)
    attach = f"""
        loop=${{loop:-$(losetup -f --show {image})}}
        mount -t exfat $loop DISK 2>/dev/null || mount.exfat-fuse $loop DISK >/dev/null
    """.strip()
    export = f"cachestore export {stranger.mix(*ROWS)} DISK/Friday --json"
    first, media, *states = play(
        stranger,
        attach.replace("\n", ";"),
        export,
        "ls DISK/Friday/media",
        f"umount DISK && attach && {STATE}",
        f"{export} >/dev/null 2>TOLD && {STATE}",
        "! grep warning TOLD",
        f"{export} >/dev/null && {STATE}",
        "[ $(ls -a DISK | wc -l) = 3 ]",
    )
    assert (json.loads(first)["linked"], json.loads(first)["copied"]) == (0, 5)
    assert {"01 - E.P. - AC_DC_ Who_.wav", "02 - Straße.wav", "03 - STRASSE.wav", "05 - CON.wav"} < {
        *media.splitlines()
    }
    assert len(media.splitlines()) == 5
    assert states[1] == states[3]
    audio = [[line for line in state.splitlines() if "/media/" in line] for state in states[:2]]
    assert audio[0] == audio[1]


@pytest.mark.long
@pytest.mark.parametrize("dest", ["DISK/Friday", "DISK"])
def test_another_volume_and_a_mount_point_get_copies_whole_and_again(
    stranger: Stranger, cloud: Cloud, dest: str
) -> None:
    mix, smaller = stranger.mix(*ROWS), stranger.mix(*ROWS[1:], name="smaller.json")
    first, before, after, left, all_there = play(
        stranger,
        "mount -t tmpfs -o size=9m none DISK",
        f"cachestore export {mix} {dest} --json",
        STATE.replace("DISK/Friday", dest),
        f"cachestore export {mix} {dest} >/dev/null && {STATE.replace('DISK/Friday', dest)}",
        f"cachestore export {smaller} {dest} --quiet && ls {dest}/media",
        f"ls -a {dest}",
    )
    assert (json.loads(first)["linked"], json.loads(first)["copied"]) == (0, 5)
    assert before == after
    assert len(left.splitlines()) == 4
    assert {*all_there.splitlines()} == {".", "..", "Friday Warm-up.m3u8", "bundle.json", "media"}


@pytest.mark.long
@pytest.mark.parametrize("option", ["", "--link-mode copy", "--editable"])
def test_copies_that_do_not_fit_on_another_volume_are_not_begun(stranger: Stranger, cloud: Cloud, option: str) -> None:
    mix = stranger.mix(*ROWS)
    stranger.run("export", mix, "CACHED")
    told, left = play(
        stranger,
        "mount -t tmpfs -o size=24k none DISK",
        f"cachestore export {mix} DISK/Friday {option} 2>&1; [ $? = 4 ]",
        "ls -a DISK",
    )
    last = told.splitlines()[-1]
    assert re.search(r"no space for the bundle at .*: 3[0-9.]+ kB are to be copied and [0-9.]+ kB are free", last), told
    assert {*left.splitlines()} == {".", ".."}


@pytest.mark.long
def test_editable_files_are_reflinks_where_the_disk_has_them(stranger: Stranger, cloud: Cloud, image: Path) -> None:
    make_filesystem("mkfs.btrfs", image)
    rows = [row("a"), row("b"), {"path": "DISK/mine.wav", "title": "Mine"}]
    exported, record, checked = play(
        stranger,
        f"mount -o loop {image} DISK && cp local.wav DISK/mine.wav",
        f"cachestore --root DISK/store export {stranger.mix(*rows)} DISK/Friday --editable --json",
        "cat DISK/Friday/bundle.json",
        "printf x >> 'DISK/Friday/media/01 - a.wav' && cachestore --root DISK/store verify",
    )
    assert json.loads(exported)["copied"] == 3
    assert [own["link_mode"] for own in json.loads(record)["files"] if own["identity"]] == ["reflink"] * 3
    assert checked


_KILLED = """
from pathlib import Path
from cachestore.rows import RunRow
from cachestore.store.writer import Store
with Store.open(Path("DISK/store")) as store, store._transaction() as ledger:
    ledger.put_run("0" * 32, RunRow("export", 0.0, str(Path("DISK/Other").resolve())))
Path(f"DISK/.Other.cachestore-{'0' * 32}").mkdir()
"""


@pytest.mark.long
def test_a_disk_that_is_plugged_in_again_under_another_number_has_the_same_store(
    stranger: Stranger, cloud: Cloud, image: Path
) -> None:
    make_filesystem("mkfs.ext4", image)
    (stranger.home / "killed.py").write_text(_KILLED)
    _, device, _, again, left, info = play(
        stranger,
        f"loop=$(losetup -f --show {image}) && mount $loop DISK",
        f"cachestore --root DISK/store export {stranger.mix(*ROWS)} DISK/Friday --json",
        "stat -c %d DISK",
        f"{sys.executable} killed.py",
        f"next=$(losetup -f --show {image}) && umount DISK && losetup -d $loop && loop=$next && mount $loop DISK && "
        "stat -c %d DISK",
        "cachestore --root DISK/store prune --quiet && ls -A DISK",
        "cachestore --root DISK/store info --json",
    )
    assert again != device
    assert {*left.splitlines()} == {"lost+found", "store", "Friday"}
    assert json.loads(info)["held_bytes"] > 0
