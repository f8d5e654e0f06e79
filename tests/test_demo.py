"""exporter_plugin.demo: the whole demo, as a person runs it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from exporter_plugin.demo.story import tell_shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Played:
    code: int
    out: str
    err: str
    left: list[Path]  # in the folder for temporary files


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Played]:
    """Run the demo in a process of its own, as a person would, away from the folder for temporary files."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def run(*arguments: str | Path, **environ: str) -> Played:
        command = [sys.executable, "-W", "error", "-m", "cachestore", "demo", *arguments]
        environment = os.environ | {"TMPDIR": str(temporary)} | environ
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
        return Played(done.returncode, done.stdout, done.stderr, list(temporary.iterdir()))

    return run


def test_the_demo_downloads_twelve_tracks_then_none_and_says_the_same_every_time(play: Callable[..., Played]) -> None:
    first, again = play(), play()
    assert first.code == 0, first.err
    assert "  12 downloaded\n" in first.out
    assert "  0 downloaded, 12 from the cache: 12 conditional requests, 12 times" in first.out
    assert "  12 of 14 files in media/ are one file in both bundles\n" in first.out
    assert "  12 files with 3 names each: one in the store, one in each bundle\n" in first.out
    assert "    02 - Anna Lind - Low Tide.wav           hard link\n" in first.out
    assert first.out == again.out


def test_the_demo_leaves_nothing_behind(play: Callable[..., Played], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert play(HOME=str(home)).left == []
    assert {path.name for path in tmp_path.iterdir()} == {"home", "temporary"}
    assert list(home.iterdir()) == []


def test_without_a_terminal_every_row_has_its_line_on_stderr(play: Callable[..., Played]) -> None:
    played = play()
    assert Counter(line.split()[1] for line in played.err.replace("[ ", "[").splitlines()) == {
        "downloaded": 12,
        "cached": 14,
        "local": 4,
    }
    assert play("-q").err == ""


def test_dest_keeps_the_bundles_the_mix_and_the_store(play: Callable[..., Played], tmp_path: Path) -> None:
    dest = tmp_path / "new" / "demo"
    played = play(dest)
    assert played.code == 0, played.err
    assert played.left == []
    assert {path.name for path in dest.iterdir()} == {
        "Friday Warm-up",
        "Friday Warm-up (again)",
        "Local",
        "mix.json",
        "store",
    }
    assert f"cachestore --root {dest / 'store'} ls" in played.out
    listed = subprocess.run(
        [sys.executable, "-m", "cachestore", "--root", dest / "store", "ls"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.count("held") == 12
    first, again = (
        sorted((dest / name / "media").glob("*Low Tide.wav")) for name in ("Friday Warm-up", "Friday Warm-up (again)")
    )
    assert first[0].samefile(again[0])


def test_a_dest_that_is_not_empty_is_refused_and_untouched(play: Callable[..., Played], tmp_path: Path) -> None:
    (tmp_path / "song.txt").write_text("mine")
    played = play(tmp_path)
    assert (played.code, played.out) == (4, "")
    assert played.err == f"cachestore: {tmp_path} is not empty; name a new or an empty folder\n"
    assert (tmp_path / "song.txt").read_text() == "mine"


def test_a_dest_that_is_a_file_is_refused(play: Callable[..., Played], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert play(file).code == 4
    assert file.read_text() == "mine"


def test_a_proxy_of_the_environment_does_not_stop_the_demo(play: Callable[..., Played], closed_port: int) -> None:
    proxy = f"http://127.0.0.1:{closed_port}"
    assert play(HTTP_PROXY=proxy, http_proxy=proxy, ALL_PROXY=proxy).code == 0


def test_the_users_own_store_and_configuration_are_not_touched(play: Callable[..., Played], tmp_path: Path) -> None:
    root, config = tmp_path / "root", tmp_path / "config.toml"
    config.write_text("this is no configuration")
    assert play(CACHESTORE_ROOT=str(root), CACHESTORE_CONFIG=str(config)).code == 0
    assert not root.exists()


@pytest.fixture
def terminal() -> Iterator[int]:
    """Give a pseudo-terminal that swallows what is drawn on it."""
    master, slave = pty.openpty()
    reader = threading.Thread(target=_swallow, args=(master,))
    reader.start()
    yield slave
    os.close(slave)
    reader.join()


def _swallow(master: int) -> None:
    with os.fdopen(master, "rb", buffering=0) as screen, suppress(OSError):
        while screen.read(65536):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_demo_within_three_seconds_and_leaves_nothing(
    number: signal.Signals, tmp_path: Path, terminal: int
) -> None:
    temporary, dest = tmp_path / "temporary", tmp_path / "dest"
    temporary.mkdir()
    # On a terminal the downloads are slow enough to be interrupted.
    with subprocess.Popen(
        [sys.executable, "-m", "cachestore", "demo", dest],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=os.environ | {"TMPDIR": str(temporary), "TERM": "xterm"},
    ) as child:
        assert child.stdout
        assert any(line.startswith(b"Export to") for line in child.stdout)
        began = time.monotonic()
        child.send_signal(number)
        assert b"downloaded" not in child.stdout.read()
    assert time.monotonic() - began < 3
    assert child.returncode == 128 + number
    assert list(temporary.iterdir()) == []
    assert not dest.exists()


def test_help_has_an_example_and_the_exit_codes(play: Callable[..., Played]) -> None:
    out = play("--help").out
    assert "cachestore demo ~/Desktop/demo" in out
    assert "130" in out


def test_where_there_are_no_hard_links_the_demo_says_copies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for bundle in ("one", "other"):
        (tmp_path / bundle / "media").mkdir(parents=True)
        (tmp_path / bundle / "media" / "01.wav").write_bytes(b"audio")
    tell_shared(tmp_path / "one", tmp_path / "other")
    assert capsys.readouterr().out.splitlines()[2:] == [
        "  0 of 1 files in media/ are one file in both bundles",
        "  there are no hard links on this filesystem, so each bundle has copies of its own",
    ]
