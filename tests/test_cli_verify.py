"""``verify`` and ``repair`` as they are typed: what a lost index, a short night and an edited bundle come to."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cachestore.cli.main import run
from cachestore.store.writer import Store
from tests.stores import put
from tests.stranger import row, snapshot

if TYPE_CHECKING:
    from tests.servers import Nginx
    from tests.stranger import Stranger


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a store of ten tracks."""
    root = tmp_path / "store"
    with Store.open(root) as store:
        for number in range(10):
            put(store, str(number), f"body {number}".encode())
    return root


def blobs(root: Path) -> list[Path]:
    return sorted(path for path in (root / "blobs-v1").rglob("*") if path.is_file())


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"damaged")


def test_a_lost_index_is_recovered_from_the_bundle(stranger: Stranger, cloud: Nginx) -> None:
    rows = (row("t-flac"), row("t-mp3", source="studio"))
    stranger.export(*rows)
    exported = snapshot(stranger.home / "DEST")
    shutil.rmtree(stranger.root / "index-v1")

    assert stranger.run("info", "--json").facts["entries"] == 0
    found = stranger.run("verify", "--json").facts
    assert [problem["kind"] for problem in found["problems"]] == ["unindexed", "unindexed"]
    assert (found["ok"], found["complete"]) == (True, True)
    assert stranger.run("verify").out.splitlines()[-1].endswith("for each run: cachestore repair --adopt DEST")
    assert not (stranger.root / "index-v1").exists()
    assert stranger.run("prune", "--json").facts["evicted"] == []
    assert len(stranger.blobs()) == 2

    adopted = stranger.run("repair", "--adopt", "DEST", "--json").facts
    assert [(track["label"], track["action"]) for track in adopted["tracks"]] == [
        ("t-flac", "indexed again"),
        ("t-mp3", "indexed again"),
    ]
    assert stranger.run("verify", "--json").facts["problems"] == []
    assert stranger.run("info", "--json").facts["held_bytes"] > 0
    done = stranger.export(*rows, dest="AGAIN", options=("--offline", "--json")).facts
    assert (done["cached"], done["downloaded"]) == (2, 0)
    assert [path.stat().st_ino for path in stranger.media("AGAIN")] == [p.stat().st_ino for p in stranger.media()]
    assert snapshot(stranger.home / "DEST") == exported


def test_what_cannot_be_adopted_is_said_and_the_exit_code_is_1(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"), options=("--link-mode", "copy"))
    shutil.rmtree(stranger.root / "index-v1")
    shutil.rmtree(stranger.root / "blobs-v1")
    stranger.root.joinpath("blobs-v1").mkdir(mode=0o700)
    told = stranger.run("repair", "--adopt", "DEST", code=1)
    assert "left alone: the bundle's file is a copy, not a link of this cache; the next export downloads it" in told.out
    assert "0 of 1 cloud track of DEST are in the cache now\n" in told.out


@pytest.mark.parametrize("dest", ["absent", "."])
def test_adopting_what_is_no_bundle_is_one_sentence(stranger: Stranger, cloud: Nginx, dest: str) -> None:
    stranger.export(row("t-flac"))
    told = stranger.run("repair", "--adopt", dest, code=4)
    assert "has no bundle.json; name the folder of a bundle that an export has made" in told.sentence
    assert told.out == ""


def test_a_moved_bundle_is_registered_where_it_is_now(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"))
    (stranger.home / "DEST").rename(stranger.home / "Moved")
    assert stranger.run("info", "--json").facts["held_bytes"] == 0
    stranger.run("repair", "--adopt", "Moved")
    assert stranger.run("info", "--json").facts["held_bytes"] > 0
    assert stranger.run("why", str(stranger.media("Moved")[0]), "--json").facts["bundle"] == str(
        stranger.home / "Moved"
    )


@pytest.mark.parametrize("restored", [False, True])
def test_an_edit_through_a_bundle_is_noticed_named_and_healed_and_the_work_is_kept(
    stranger: Stranger, cloud: Nginx, *, restored: bool
) -> None:
    stranger.export(row("t-flac"), dest="FIRST")
    stranger.export(row("t-flac"), dest="SECOND")
    original = stranger.media("FIRST")[0].read_bytes()
    edited = stranger.media("FIRST")[0]
    before = edited.stat()
    edited.chmod(0o644)
    edited.write_bytes(original[:-4] + b"work")
    if restored:
        edited.chmod(0o444)
        os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))

    [problem] = stranger.run("verify", "--quick", "--json", code=1).facts["problems"]
    assert (problem["kind"], problem["label"]) == ("corrupt", "t-flac")
    assert problem["bundles"] == [str(stranger.home / name) for name in ("FIRST", "SECOND")]
    third = stranger.export(row("t-flac"), dest="THIRD", options=("--json",))
    assert (third.facts["downloaded"], third.facts["cached"]) == (1, 0)
    assert all(str(stranger.home / name) in third.err for name in ("FIRST", "SECOND"))
    assert stranger.media("THIRD")[0].read_bytes() == original
    assert [stranger.media(name)[0].read_bytes()[-4:] for name in ("FIRST", "SECOND")] == [b"work", b"work"]
    assert stranger.run("verify", "--json").facts["problems"] == []


def test_repair_names_the_bundles_and_keeps_the_work_too(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"))
    edited = stranger.media()[0]
    edited.chmod(0o644)
    edited.write_bytes(b"work")
    facts = stranger.run("repair", "--json").facts
    [repair] = facts["repairs"]
    assert (repair["kind"], repair["mended"]) == ("truncated", True)
    assert repair["bundles"] == [str(stranger.home / "DEST")]
    assert edited.read_bytes() == b"work"
    assert stranger.export(row("t-flac"), dest="AGAIN", options=("--json",)).facts["downloaded"] == 1


def test_short_passes_come_round_to_every_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in blobs(root):
        damage(path)
    told: list[str] = []
    for _ in range(2):
        while True:
            assert run(["--root", str(root), "verify", "--time-limit", "0s", "--json"]) in {0, 1}
            facts = json.loads(capsys.readouterr().out)
            told += [problem["label"] for problem in facts["problems"]]
            if facts["complete"]:
                break
            assert facts["left"] == 10 - len(told) % 10 or len(told) % 10 == 0
    assert sorted(told) == sorted([f"Artist - Title {number}" for number in range(10)] * 2)
    assert not (root / "verify.json").exists()


def test_a_pass_without_a_limit_looks_at_everything_and_keeps_the_position(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--root", str(root), "verify", "--time-limit", "0s"]) == 0
    page = capsys.readouterr().out
    assert "not complete: 10 files left, where the next verify with --time-limit goes on\n" in page
    kept = (root / "verify.json").read_bytes()
    assert run(["--root", str(root), "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checked"] == 10
    assert (root / "verify.json").read_bytes() == kept


def test_cron_hears_nothing_when_all_is_well(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--quick"], ["--time-limit", "0s"]):
        assert run(["--root", str(root), "verify", "--quiet", *options]) == 0
    assert run(["--root", str(root), "repair", "--quiet"]) == 0
    (root / "index-v1/cache.db").unlink()
    assert run(["--root", str(root), "verify", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_damaged_index_is_set_aside_and_the_files_stay(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "index-v1/cache.db").write_bytes(b"no database" * 1000)
    for name in ("cache.db-wal", "cache.db-shm"):
        (root / "index-v1" / name).unlink(missing_ok=True)
    assert run(["--root", str(root), "verify"]) == 1
    assert "run: cachestore repair" in capsys.readouterr().err
    assert run(["--root", str(root), "repair", "--json"]) == 0
    captured = capsys.readouterr()
    assert "it is in quarantine, and a new index was begun" in captured.err
    assert [repair["kind"] for repair in json.loads(captured.out)["repairs"]] == ["unindexed"] * 10
    assert len(blobs(root)) == 10


def test_a_pipe_in_the_place_of_the_index_is_not_waited_for_but_set_aside(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "index-v1/cache.db").unlink()
    os.mkfifo(root / "index-v1/cache.db")
    for command in ("info", "ls", "verify", "prune"):
        assert run(["--root", str(root), command]) == 1
        assert "it is no regular file; run: cachestore repair" in capsys.readouterr().err
    assert run(["--root", str(root), "repair"]) == 0
    assert "it is in quarantine, and a new index was begun" in capsys.readouterr().err
    assert run(["--root", str(root), "info"]) == 0


def on_a_terminal(*arguments: str) -> str:
    """Run a command whose stderr is a terminal, and return what is drawn there."""
    terminal, end = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "cachestore", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=end,
        env=os.environ | {"TERM": "xterm"},
        check=True,
    )
    assert done.returncode == 0
    os.close(end)
    drawn = b""
    try:
        while piece := os.read(terminal, 4096):
            drawn += piece
    except OSError:  # how Linux ends a terminal that nobody writes to
        pass
    os.close(terminal)
    return drawn.decode()


@pytest.mark.long
@pytest.mark.parametrize("command", ["verify", "repair"])
def test_a_bar_is_drawn_on_a_terminal_unless_quiet(root: Path, command: str) -> None:
    assert "10/10" in on_a_terminal("--root", str(root), command)
    assert on_a_terminal("--root", str(root), command, "--quiet") == ""


def open_files(pid: int) -> set[str]:
    """Return what a process has open at this moment."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(descriptor.readlink()))
    return found


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells when the file is open")
def test_verify_is_cancelled_in_the_middle_of_a_large_file(stranger: Stranger) -> None:
    with Store.open(stranger.root) as store:
        entry = put(store, "large", b"begin")
        path = store.blobs.path(entry.digest)
    path.chmod(0o644)
    os.truncate(path, 200 * 10**9)  # a hole: hashing it takes a minute
    stranger.configure("http://127.0.0.1:1")
    process = stranger.start("verify")
    try:
        while str(path) not in open_files(process.pid):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 143
    assert told == "cachestore: cancelled; what was finished stays in the cache\n"
