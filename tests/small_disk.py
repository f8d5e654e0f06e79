"""What commands do on a disk that is nearly full: `python -m tests.small_disk HOME URL`, in mounts of its own.

HOME becomes a disk of twelve megabytes. For each command and each number of blocks left it prints one JSON object:
``command``, ``left``, ``code`` and ``told`` of the command, ``prune`` (exit code and words of a prune on the disk as it
is then), and ``wrong``, what must not be, before and after an export with room again.

A command after ``TIGHT`` runs in a store that is smaller than the mix, and full.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests import forks
from tests.downloads import wave
from tests.invariants import bundle_faults, faults
from tests.stranger import Ran, Stranger, row

if TYPE_CHECKING:
    from collections.abc import Iterator

BODIES = {track: wave(30_000, seed=seed) for seed, track in enumerate("abc")}
SERVED = {f"open:{track}": [body] for track, body in BODIES.items()}
TIGHT = "tight: "
COMMANDS = (
    "fetch open:c",
    "export mix.json NEW",
    "export mix.json DEST",
    f"{TIGHT}export mix.json NEW",
    "pin open:a",
    "rm open:b",
    "repair",
    "prune",
)
_BLOCK = 4096
_TIGHT_SIZE = 42_000  # bytes: one track, while it is downloaded


class SmallDisk:
    """A home on a small disk, with a store of two tracks and a bundle of one."""

    def __init__(self, stranger: Stranger, url: str) -> None:
        self.stranger = stranger
        self._url = url
        self._filler = stranger.home / "filler"

    def run(self, command: str) -> Ran:
        """Run a command."""
        env = os.environ | self.stranger.environment
        return Ran(*forks.run(command.split(), cwd=self.stranger.home, env=env))

    def prepare(self, max_size: int) -> None:
        """Begin again."""
        for path in self.stranger.home.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.stranger.configure(self._url, jobs=1, min_age="0 s")
        self.stranger.mix(row("a"))
        assert self.run("export mix.json DEST").code == 0
        assert self.run("fetch open:b").code == 0
        self.stranger.configure(self._url, jobs=1, min_age="0 s", max_size=max_size)
        self.stranger.mix(*map(row, BODIES))

    def fill(self, *, but: int) -> None:
        """Fill the disk but for so many blocks."""
        with self._filler.open("wb", buffering=0) as file:
            with suppress(OSError):
                while True:
                    file.write(bytes(_BLOCK))
            file.truncate(max(0, file.tell() // _BLOCK - but) * _BLOCK)

    def attempt(self, command: str, left: int) -> dict[str, object]:
        """Run a command with so many blocks left, then a prune, then an export with room."""
        self.prepare(_TIGHT_SIZE if command.startswith(TIGHT) else 10**9)
        self.fill(but=left)
        ran = self.run(command.removeprefix(TIGHT))
        wrong = self.wrong()
        prune = self.run("prune")
        self._filler.unlink()
        after = self.run("export mix.json DEST")
        wrong += [*([] if after.code == 0 else [after.err]), *self.wrong()]
        told = {"command": command, "left": left, "code": ran.code, "told": ran.err}
        return told | {"prune": [prune.code, prune.err], "wrong": wrong}

    def wrong(self) -> list[str]:
        """Return what must not be."""
        bundles = [fault for dest in ("DEST", "NEW") for fault in bundle_faults(self.stranger.home / dest)]
        return [*faults(self.stranger.root, SERVED), *bundles]


def attempts(home: Path, url: str, lefts: list[int]) -> Iterator[dict[str, object]]:
    """Make HOME a small disk and try everything on it."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=700", "none", str(home)], check=True)
    disk = SmallDisk(Stranger(home), url)
    for command in COMMANDS:
        for left in lefts:
            yield disk.attempt(command, left)


if __name__ == "__main__":
    for attempt in attempts(Path(sys.argv[1]), sys.argv[2], [*map(int, sys.argv[3:])]):
        print(json.dumps(attempt), flush=True)
