"""What a command loads: the network only where it is needed, so that cron and completion stay quick."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import wave
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from cachestore.cli.main import cli

if TYPE_CHECKING:
    from tests.conftest import StartRawServer

ONLINE = {"export", "fetch", "playlists", "demo"}
OFFLINE = sorted(set(cli.list_commands(click.Context(cli))) - ONLINE)
# How each is called when it has something to do; {url} is a cached track, {dest} a folder.
CALLS = {
    "doctor": ["doctor"],
    "info": ["info"],
    "ls": ["ls"],
    "pin": ["pin", "{url}"],
    "prune": ["prune", "--dry-run"],
    "repair": ["repair"],
    "rm": ["rm", "{url}"],
    "show": ["show", "{url}"],
    "unpin": ["unpin", "{url}"],
    "verify": ["verify"],
    "why": ["why", "{dest}/nothing.flac"],
}


def silence() -> bytes:
    """Return a WAV file of a tenth of a second."""
    body = BytesIO()
    with wave.open(body, "wb") as audio:
        audio.setnchannels(2)
        audio.setsampwidth(2)
        audio.setframerate(44100)
        audio.writeframes(bytes(4 * 4410))
    return body.getvalue()


def loaded(arguments: list[str], root: Path) -> set[str]:
    """Return the top-level modules that a command loads; it must not end in a traceback or wrong usage."""
    command = [sys.executable, "-X", "importtime", "-m", "cachestore", *arguments]
    done = subprocess.run(
        command, env=os.environ | {"CACHESTORE_ROOT": str(root)}, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1, 4}, done.stderr[-500:]
    rows = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {row.rpartition("|")[2].strip().partition(".")[0] for row in rows}


@pytest.fixture
def cached(tmp_path: Path, raw_server: StartRawServer) -> tuple[Path, str]:
    """A store with one track in it, and the track's URL."""
    body = silence()
    head = f'HTTP/1.1 200 OK\r\nETag: "1"\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n'
    url = f"{raw_server(head.encode() + body).url}/track"
    modules = loaded(["fetch", url], tmp_path / "root")
    assert "httpx" in modules
    # Of which httpx's own command line would bring the first, and its connections two.
    assert not {"rich", "httpcore", "h11", "tenacity"} & modules
    return tmp_path / "root", url


def test_nothing_is_loaded_before_an_interrupt_is_caught() -> None:
    code = "import __future__, io, sys; had = {*sys.modules}; import cachestore.__main__; print({*sys.modules} - had)"
    bare = [sys.executable, "-S", "-c", code]  # an installed package is found by modules that may need more
    done = subprocess.run(bare, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == {"cachestore", "cachestore.__main__"}


def test_there_is_a_call_for_every_offline_command() -> None:
    assert sorted(CALLS) == OFFLINE


@pytest.mark.parametrize("name", OFFLINE)
def test_an_offline_command_loads_no_network(name: str, cached: tuple[Path, str], tmp_path: Path) -> None:
    root, url = cached
    arguments = [argument.format(url=url, dest=tmp_path) for argument in CALLS[name]]
    assert not {"httpx", "httpcore", "tenacity"} & loaded(arguments, root)


@pytest.mark.parametrize("name", ["ls", "info", "prune"])
def test_what_runs_often_loads_nothing_heavy(name: str, cached: tuple[Path, str]) -> None:
    assert not {"httpx", "rich", "tenacity", "reflink_copy"} & loaded(CALLS[name], cached[0])


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], *([name, "--help"] for name in [*OFFLINE, *sorted(ONLINE)])],
)
def test_help_and_version_load_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    assert not {"httpx", "rich", "diskcache", "tenacity"} & loaded(arguments, tmp_path / "root")


def test_an_export_of_what_is_cached_loads_no_network_when_it_may_not_use_it(
    cached: tuple[Path, str], tmp_path: Path
) -> None:
    root, url = cached
    mix = tmp_path / "mix.json"
    mix.write_text(json.dumps({"tracks": [{"url": url}]}))
    assert not {"httpx", "rich", "tenacity"} & loaded(["export", "--offline", str(mix), str(tmp_path / "dest")], root)
    assert (tmp_path / "dest" / "bundle.json").exists()
