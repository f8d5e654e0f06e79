"""What a stranger gets where a bundle or a store cannot be, and for two commands at once: nothing is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.servers import program
from tests.stranger import manifest, row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Nginx
    from tests.stranger import Stranger

# --- the destination


def test_a_folder_that_is_not_ours_is_refused_and_another_suggested(stranger: Stranger, cloud: Nginx) -> None:
    (stranger.home / "Photos").mkdir()
    (stranger.home / "Photos" / "cat.jpg").write_bytes(b"cat")
    sentence = stranger.export(row("t-flac"), dest="Photos", code=4).sentence
    assert "Photos/Friday Warm-up" in sentence
    assert [path.name for path in (stranger.home / "Photos").iterdir()] == ["cat.jpg"]
    assert cloud.requests() == []


def test_a_destination_that_is_a_file(stranger: Stranger, cloud: Nginx) -> None:
    (stranger.home / "DEST").write_bytes(b"mine")
    stranger.export(row("t-flac"), code=4)
    assert (stranger.home / "DEST").read_bytes() == b"mine"


@pytest.mark.parametrize("dest", ["store", "store/bundle", "store/blobs-v1/x", "."])
def test_a_destination_inside_the_store_or_around_it(dest: str, stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"), dest="GOOD")
    before = sorted(stranger.root.rglob("*"))
    assert stranger.export(row("t-flac"), dest=dest, code=4).sentence
    assert sorted(stranger.root.rglob("*")) == before


def test_a_destination_that_cannot_be_written(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"), dest="/proc/DEST", code=4)


# --- the store


def test_a_store_that_belongs_to_somebody_else(stranger: Stranger, cloud: Nginx) -> None:
    stranger.root.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(stranger.root, 12345, 12345)
    root = str(stranger.root) if os.geteuid() == 0 else "/usr"
    for command in (["--root", root, "export", stranger.mix(row("t-flac")), "DEST"], ["--root", root, "ls"]):
        assert root in stranger.run(*command, code=4).sentence
    assert stranger.has_no_bundle()


def test_a_store_that_everybody_may_write(stranger: Stranger, cloud: Nginx) -> None:
    stranger.root.mkdir()
    stranger.root.chmod(0o777)
    assert str(stranger.root) in stranger.export(row("t-flac"), code=4).sentence


def test_a_store_that_cannot_be_made(stranger: Stranger, cloud: Nginx) -> None:
    stranger.run("--root", "/proc/store", "export", stranger.mix(row("t-flac")), "DEST", code=4)
    (stranger.home / "file").write_bytes(b"")
    stranger.run("--root", "file", "export", stranger.mix(row("t-flac")), "OTHER", code=4)


@pytest.mark.parametrize("folder", ["index-v2", "blobs-v2", "index-v99"])
def test_a_store_of_a_newer_format_is_not_touched(folder: str, stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"))
    (stranger.root / folder).mkdir()
    for command in (["ls"], ["prune"], ["verify"], ["export", stranger.mix(row("t-flac")), "NEW"]):
        assert folder in stranger.run(*command, code=4).sentence
    assert not (stranger.home / "NEW").exists()


@pytest.mark.parametrize(
    "command", ["ls", "info", "prune", "verify", "repair", "show open:x", "pin open:x", "rm open:x"]
)
def test_no_store_is_one_line_and_none_is_made(command: str, stranger: Stranger) -> None:
    stranger.configure("http://127.0.0.1:9")
    assert str(stranger.root) in stranger.run(*command.split(), code=4).sentence
    assert not stranger.root.exists()


def with_mounts_of_its_own() -> list[str]:
    """Return the words in front of a command that may mount a small disk which nobody else sees."""
    for mapped in ([], ["--user", "--map-root-user"]):
        aside = [program("unshare"), *mapped, "--mount"]
        tried = subprocess.run([*aside, "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True)
        if tried.returncode == 0:
            return aside
    pytest.skip("NOT RUN: this machine lets nobody mount a small disk")


def test_a_full_disk_publishes_nothing_and_prune_still_works(stranger: Stranger, cloud: Nginx, music: Path) -> None:
    (music / "t-wav").write_bytes((music / "t-wav").read_bytes() + bytes(9_000_000))
    aside = with_mounts_of_its_own()
    stranger.root.mkdir(mode=0o700)
    cachestore = f"{sys.executable} -m cachestore"
    mix = stranger.mix(row("t-flac"), row("t-wav"))
    script = f"""
        mount -t tmpfs -o size=8m,mode=700 none {stranger.root} || exit 99
        {cachestore} export {mix} DEST; echo "export $?"
        {cachestore} ls --json
        {cachestore} prune; echo "prune $?"
        {cachestore} verify; echo "verify $?"
    """
    done = subprocess.run(
        [*aside, "sh", "-c", script],
        cwd=stranger.home,
        env=os.environ | stranger.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 99, done.stderr
    assert "export 4" in done.stdout, done.stderr
    assert "prune 0" in done.stdout
    assert "verify 0" in done.stdout
    assert "full" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (stranger.home / "DEST").exists()


# --- two commands at once


def test_a_command_waits_for_the_store_while_another_program_changes_it(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"))
    [index] = (stranger.root / "index-v1").glob("*.db")
    with closing(sqlite3.connect(index, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with stranger.start("pin", "open:t-flac") as waiting:
            assert [entry["pinned"] for entry in stranger.run("ls", "--json").facts] == [False]
            assert waiting.poll() is None
            holder.execute("ROLLBACK")
            assert waiting.wait(timeout=20) == 0
    assert [entry["pinned"] for entry in stranger.run("ls", "--json").facts] == [True]


@pytest.mark.long
def test_two_exports_to_one_destination_leave_one_whole_bundle(stranger: Stranger, cloud: Nginx) -> None:
    mixes = [stranger.mix(row("t-flac"), name="a.json"), stranger.mix(row("t-mp3"), row("t-ogg"), name="b.json")]
    running = [stranger.start("export", mix, "DEST") for mix in mixes]
    told = [process.communicate(timeout=60)[1] for process in running]
    codes = [process.returncode for process in running]
    assert 0 in codes, told
    assert set(codes) <= {0, 4, 75}, told
    tracks = manifest(stranger.home / "DEST")["tracks"]
    assert [track["file"] for track in tracks] == [f"media/{path.name}" for path in stranger.media()]
    assert not [path for path in stranger.home.iterdir() if path.name.startswith(".")]
