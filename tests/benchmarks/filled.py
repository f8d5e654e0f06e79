"""Stores of many entries, and copies of the same files in a flat folder for those who have no store."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

from tests.benchmarks.large_stores import fill
from tests.benchmarks.measure import NotDoneError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.workplace import Workplace


@dataclass(frozen=True, slots=True)
class Filled:
    """A store of `entries` tiny songs below `place`; `options` use it, `mix` wants all of them."""

    place: Path
    entries: int
    options: tuple[str, ...]

    @property
    def blobs(self) -> list[str]:
        """The paths of all blobs."""
        return [
            os.path.join(folder, name)  # noqa: PTH118 - a hundred thousand of them
            for folder, _, names in os.walk(self.place / "store" / "blobs-v1")
            for name in names
        ]

    @property
    def mix(self) -> Path:
        """A mix of all entries."""
        path = self.place / "mix.json"
        if not path.exists():
            tracks = [
                {"source": "bench", "id": f"t{number}", "artist": f"Artist {number % 1000}", "title": f"Song {number}"}
                for number in range(self.entries)
            ]
            path.write_text(json.dumps({"tracks": tracks}))
        return path

    def flat(self) -> Path:
        """Return a folder with a copy of each blob.

        No links: another link to a blob, made or removed, is a change that ours has to see to, by hashing it again.
        """
        folder = self.place / "flat"
        if not folder.exists():
            folder.mkdir()
            for number, path in enumerate(self.blobs):
                shutil.copy(path, folder / f"{number:06}.flac")
        return folder


def filled(work: Workplace, place: Path, entries: int) -> Filled:
    """Fill a store in another process: its memory would count as that of what is measured."""
    place.mkdir(exist_ok=True)
    process = get_context("spawn").Process(target=fill, args=(place / "store", entries))
    process.start()
    process.join()
    if process.exitcode:
        raise NotDoneError("the store could not be filled")
    return Filled(place, entries, work.config(place))


def tree(files: int, place: Path) -> Path:
    """Make a tree of files of 4 kB at `place`, in 256 folders, as old as their number says; return it."""
    for number in range(files):
        folder = place / f"{number % 256:02x}"
        if number < 256:
            folder.mkdir(parents=True)
        path = folder / f"{number:08x}"
        path.write_bytes(b"%04096d" % number)
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
    return place


def has(folder: Path, files: int) -> Callable[[], None]:
    """Return a proof that so many files are below `folder`."""
    return partial(_has, folder, files)


def _has(folder: Path, files: int) -> None:
    found = sum(len(names) for _, _, names in os.walk(folder))
    if found < files:
        raise NotDoneError(f"{found:,} of {files:,} files are there")


def has_only(folder: Path, files: int) -> Callable[[], None]:
    """Return a proof that not more than so many files are below `folder`, and most of them."""
    return partial(_has_only, folder, files)


def _has_only(folder: Path, files: int) -> None:
    found = sum(len(names) for _, _, names in os.walk(folder))
    if not files * 3 // 4 <= found <= files:
        raise NotDoneError(f"{found:,} files are there; {files:,} were to stay")
