"""A stranger with a shell: the project as somebody uses it who has only the command line. Take the `stranger` fixture.

`stranger.configure(url)` writes a configuration with the sources ``studio`` (bearer token), ``open`` (no token) and
``slow`` of a server of tests/servers.py. `stranger.run("ls", code=0)` runs a command to its end; it must answer `code`
and must never show a traceback or the token.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests import forks
from tests.servers import TOKEN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SOURCES = """
[sources.studio]
kind = "http"
url = "{url}/api/tracks/{{id}}/stream?client=cachestore"
headers = {{ Authorization = "Bearer ${{STUDIO_TOKEN}}" }}
[sources.open]
kind = "http"
url = "{url}/plain/{{id}}"
[sources.slow]
kind = "http"
url = "{url}/slow/{{id}}"
"""
Row = dict[str, Any]


def row(track: str, source: str = "open", **fields: str | float) -> Row:
    """Return a row of a mix, titled like its id."""
    return {"source": source, "id": track, "title": track, **fields}


def manifest(dest: Path) -> Row:
    """Return the bundle.json of a bundle."""
    found: Row = json.loads((dest / "bundle.json").read_text())
    return found


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return the bytes, inode and mtime of every file below `folder`."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command returned and left on the terminal."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> Any:  # noqa: ANN401 - JSON
        """Return what ``--json`` printed."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """Return the only line on stderr."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


class Stranger:
    """A home folder, a configuration in it and a shell."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.root = home / "store"
        self.environment = {"STUDIO_TOKEN": TOKEN, "CACHESTORE_CONFIG": str(home / "config.toml")}

    def configure(self, url: str, *, sources: str = "", **settings: str | float) -> None:
        """Write the configuration; no retries and no reserve of free space, unless `settings` say so."""
        keys = {"root": str(self.root), "min_free": 0, "retries": 0} | settings
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in keys.items()]
        (self.home / "config.toml").write_text("".join(lines) + _SOURCES.format(url=url) + sources)

    def mix(self, *rows: Row, name: str = "mix.json") -> str:
        """Write a mix and return its path."""
        (self.home / name).write_text(json.dumps({"name": "Friday Warm-up", "tracks": rows}))
        return str(self.home / name)

    def run(self, *arguments: str, code: int = 0, stdin: str = "") -> Ran:
        """Run a command in the home folder."""
        ran = self._run(arguments, stdin)
        told = f"{ran.out}{ran.err}"
        assert ran.code == code, told
        assert not [word for word in ("Traceback", "internal error", TOKEN) if word in told], told
        return ran

    def _run(self, arguments: Sequence[str], stdin: str) -> Ran:
        environment = os.environ | self.environment
        if not any(name.startswith("PYTHON") for name in self.environment):
            return Ran(*forks.run(arguments, cwd=self.home, env=environment, stdin=stdin))
        done = subprocess.run(
            [sys.executable, "-m", "cachestore", *arguments],
            cwd=self.home,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def export(self, *rows: Row, dest: str = "DEST", options: tuple[str, ...] = (), code: int = 0) -> Ran:
        """Export a mix of `rows`."""
        return self.run("export", self.mix(*rows), dest, *options, code=code)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command whose stdout is read by the test."""
        return subprocess.Popen(
            [sys.executable, "-m", "cachestore", *arguments],
            cwd=self.home,
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def blobs(self) -> list[Path]:
        """Return all blobs of the store."""
        return [path for path in (self.root / "blobs-v1").rglob("*") if path.is_file()]

    def media(self, dest: str = "DEST") -> list[Path]:
        """Return the audio files of a bundle."""
        return sorted((self.home / dest / "media").iterdir())

    def has_no_bundle(self) -> bool:
        """Return whether the home folder holds nothing that an export has made, but the store."""
        return {path.name for path in self.home.iterdir()} <= {"config.toml", "mix.json", "store"}
