"""What rows work with: a scratch folder, nginx with the songs, a configuration for ours, and the peers."""

from __future__ import annotations

import io
import json
import os
import random
import wave
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

from tests.benchmarks.measure import NotDoneError
from tests.benchmarks.peers import NodePackage, Ours, Program, Python, PythonPackage
from tests.servers import Nginx

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.scale import Lot, Scale

_A_DAY = 1_700_000_000
_COMMIT = "c0ffee" + 34 * "0"  # huggingface_hub wants the commit of the files


@dataclass(frozen=True, slots=True)
class Songs:
    """Files that nginx serves, all of one size; `source` is what ours calls them, and the folder below /songs/."""

    source: str
    folder: Path
    url: str
    lot: Lot

    @property
    def names(self) -> list[str]:
        """The names of the files."""
        return [f"{number}.wav" for number in range(self.lot.files)]

    @property
    def urls(self) -> list[str]:
        """Where they are."""
        return [f"{self.url}/{name}" for name in self.names]

    @property
    def tracks(self) -> list[str]:
        """Their addresses."""
        return [f"{self.source}:{name}" for name in self.names]

    def etag(self, name: str) -> str:
        """Return the ETag that nginx gives a file: its mtime in seconds and its size."""
        stat = (self.folder / name).stat()
        return f'"{int(stat.st_mtime):x}-{stat.st_size:x}"'

    def arrived(self, folder: Path) -> None:
        """Raise NotDoneError unless as many bytes as all songs have are below `folder`."""
        found = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        if found < self.lot.bytes:
            raise NotDoneError(f"{found:,} of {self.lot.bytes:,} bytes arrived")


def _song(chance: random.Random, size: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setparams((2, 2, 44100, 0, "NONE", ""))
        audio.writeframes(chance.randbytes(size - 44))
    return file.getvalue()


def _describe(songs: Songs) -> None:
    """Write what huggingface_hub asks of a repository before its files: its commit, and what is in it."""
    about = {"id": f"bench/{songs.source}", "modelId": f"bench/{songs.source}", "sha": _COMMIT}
    files = [{"type": "file", "path": name, "size": songs.lot.size, "oid": _COMMIT} for name in songs.names]
    siblings = [{"rfilename": name} for name in songs.names]
    songs.folder.with_suffix(".model").write_text(json.dumps(about | {"siblings": siblings}))
    songs.folder.with_suffix(".tree").write_text(json.dumps(files))


class Workplace:
    """Rows take from it what they need; what takes time to make is made when it is first asked for."""

    def __init__(self, folder: Path, scale: Scale, cache: Path | None) -> None:
        self.folder = folder
        self.scale = scale
        self._cache = cache
        self._songs: dict[str, Songs] = {}
        self.ours = Ours(None if cache is None else cache / "ours")
        self.python = Python(self.ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "server" in self.__dict__:
            self.server.stop()

    @cached_property
    def server(self) -> Nginx:
        """An nginx that serves all songs."""
        (self.folder / "nginx").mkdir()
        (self.folder / "songs").mkdir()
        return Nginx(self.folder, self.folder / "nginx", _locations(self.folder / "songs"), tls=False)

    def program(self, name: str, package: str = "") -> Program:
        """Return a program of the system."""
        return Program(name, package or name, install=self._cache is not None)

    def package(self, name: str) -> PythonPackage:
        """Return a package of PyPI."""
        return PythonPackage(name, (self._cache or self.folder) / "pypi", install=self._cache is not None)

    def node(self, name: str) -> NodePackage:
        """Return a package of npm."""
        return NodePackage(name, (self._cache or self.folder) / "npm", install=self._cache is not None)

    def songs(self, source: str, lot: Lot) -> Songs:
        """Return files that are served, made of noise: nothing could compress or share them."""
        if source not in self._songs:
            url = f"{self.server.url}/songs/{source}"
            songs = Songs(source, self.folder / "songs" / source, url, lot)
            songs.folder.mkdir()
            chance = random.Random(source)
            for number, name in enumerate(songs.names):
                (songs.folder / name).write_bytes(_song(chance, lot.size))
                os.utime(songs.folder / name, (_A_DAY + number, _A_DAY + number))  # else all have one ETag
            _describe(songs)
            self._songs[source] = songs
        return self._songs[source]

    def config(self, place: Path, *sources: str) -> tuple[str, ...]:
        """Write a configuration for a store below `place` and return the options that use it."""
        lines = [f"root = {json.dumps(str(place / 'store'))}", 'max_size = "1 TB"', "min_free = 0", 'min_age = "0 s"']
        for source in sources:
            lines += [f"[sources.{source}]", 'kind = "http"', f'url = "{self.server.url}/songs/{source}/{{id}}"']
        path = place / "config.toml"
        path.write_text("\n".join([*lines, ""]))
        return ("--config", str(path), "--quiet")


def _locations(songs: Path) -> str:
    """Serve /songs/, and the same as huggingface_hub asks for it."""
    return f"""
        sendfile on; tcp_nopush on; access_log off; keepalive_requests 1000000;
        location /songs/ {{ alias "{songs}/"; }}
        location ~ "^/api/models/bench/(?<source>[^/]+)/revision/main$" {{
            default_type application/json; alias "{songs}/$source.model"; }}
        location ~ "^/api/models/bench/(?<source>[^/]+)/tree/" {{
            default_type application/json; alias "{songs}/$source.tree"; }}
        location ~ "^/bench/(?<source>[^/]+)/resolve/[^/]+/(?<file>[^/]+)$" {{
            alias "{songs}/$source/$file"; add_header X-Repo-Commit {_COMMIT}; }}"""


def lines(path: Path, rows: list[str]) -> Path:
    """Write rows into a file and return it: argument lists have an end."""
    path.write_text("".join(f"{row}\n" for row in rows))
    return path
