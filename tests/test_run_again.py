"""The last line of a failed export is a command: pasted into a shell, it exports to the same folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.downloads import wave
from tests.stranger import manifest

if TYPE_CHECKING:
    from tests.stranger import Stranger

ROW = {"path": "later.wav", "title": "Later"}
ESC, TURNED, LATIN_1 = "e\x1b[31mx", "rtl\u202ex", b"caf\xe9a".decode("utf-8", "surrogateescape")


@pytest.fixture
def bash(stranger: Stranger) -> Stranger:
    """Return a stranger whose mix has a file that is not there yet."""
    stranger.configure("http://127.0.0.1:9")
    stranger.mix(ROW)
    return stranger


def shell(stranger: Stranger, command: str, code: int, stdin: str = "") -> str:
    """Run a command line in bash and return what it leaves on stderr."""
    done = subprocess.run(
        ["bash", "-c", f'cachestore() {{ {sys.executable} -m cachestore "$@"; }}\n{command}'],
        cwd=stranger.home,
        env=os.environ | stranger.environment,
        input=stdin.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    told = done.stderr.decode()  # in UTF-8, whatever the folder is called
    assert (done.returncode, "Traceback" in told) == (code, False), told
    return told


def failed(stranger: Stranger, *arguments: str) -> str:
    """Export what fails and return the line to paste."""
    done = subprocess.run(
        [sys.executable, "-m", "cachestore", "export", *arguments],
        cwd=stranger.home,
        env=os.environ | stranger.environment,
        input=(stranger.home / "mix.json").read_bytes(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    last = done.stderr.decode().splitlines()[-1]
    assert last.isprintable(), last
    return last.partition("run again: ")[2]


@pytest.mark.parametrize(
    "dest", ["new\nline", TURNED, ESC, LATIN_1, "a'b\\\n", "it's $(x) !", "Ünï 音", "-x", "=ls", "=", "~", "~root"]
)
def test_the_pasted_line_exports_to_the_same_folder(bash: Stranger, dest: str) -> None:
    line = failed(bash, "--name", f"N {dest}", "--", "mix.json", dest)
    (bash.home / "later.wav").write_bytes(wave(3000))
    shell(bash, line, 0)
    assert manifest(bash.home / dest)["finished"]
    assert {path.name for path in bash.home.iterdir() if path.is_dir()} == {dest, "store"}


@pytest.mark.parametrize("option", ["-q", "-v", "-vv"])
def test_the_line_says_as_much_or_as_little_again(bash: Stranger, option: str) -> None:
    assert failed(bash, option, "mix.json", "DEST") == f"cachestore {option} export mix.json DEST"


@pytest.mark.skipif(shutil.which("zsh") is None, reason="NOT RUN: there is no zsh")
def test_the_line_means_the_same_to_zsh(bash: Stranger) -> None:
    line = failed(bash, "mix.json", "=ls")
    assert line.endswith(" '=ls'")
    told = subprocess.run(
        ["zsh", "-fc", f"cachestore() {{ print -r -- $3; }}; {line}"], capture_output=True, check=True
    )
    assert told.stdout == b"=ls\n"


def test_a_mix_from_standard_input_is_asked_for_again(bash: Stranger) -> None:
    line = failed(bash, "-", "DEST")
    assert line == "cachestore export - DEST < MIX"
    (bash.home / "later.wav").write_bytes(wave(3000))
    (bash.home / "mix.json").rename(bash.home / "MIX")
    shell(bash, line, 0)
    assert manifest(bash.home / "DEST")["finished"]


# The folder that a shell stands in


def test_the_current_folder_stays_the_one_that_the_shell_stands_in(bash: Stranger) -> None:
    (bash.home / "later.wav").write_bytes(wave(3000))
    shell(bash, "mkdir -m 700 cwd && cd cwd && cachestore export ../mix.json . && cachestore export ../mix.json .", 0)
    assert manifest(bash.home / "cwd")["finished"]
    assert (bash.home / "cwd").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("arguments", ["../mix.json .", '"$home/mix.json" .', "- /elsewhere <../mix.json"])
def test_a_current_folder_that_is_gone_is_said_to_be(bash: Stranger, arguments: str) -> None:
    told = shell(bash, f"home=$PWD; mkdir gone; cd gone; rmdir ../gone; cachestore export {arguments} || exit 9", 9)
    assert "the current folder, which has been removed or replaced" in told
    assert len([line for line in told.splitlines() if line.startswith("cachestore: ")]) == 1


@pytest.mark.parametrize("arguments", [("export", "mix.json", ""), ("export", "", "DEST"), ("fetch", "--mix", "")])
def test_a_path_that_is_empty_is_wrong_usage_and_no_folder(bash: Stranger, arguments: tuple[str, ...]) -> None:
    before = set(bash.home.rglob("*"))
    assert "it is empty" in bash.run(*arguments, code=2).err
    assert set(bash.home.rglob("*")) == before
