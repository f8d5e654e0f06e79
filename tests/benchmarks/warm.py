"""Exports of what is cached: new bundles, and bundles that are up to date."""

from __future__ import annotations

import shutil
import subprocess
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

from tests.benchmarks.case import Contender, Row
from tests.benchmarks.filled import Filled, filled, has
from tests.benchmarks.measure import Command
from tests.benchmarks.workplace import Workplace, lines

if TYPE_CHECKING:
    from pathlib import Path

_NO_CHECK = "checks no file, writes no playlist or list of files"


class Exports:
    """What each contender does to get `entries` cached files into a folder."""

    def __init__(self, work: Workplace, entries: int) -> None:
        self._work = work
        self._entries = entries
        self._numbers = count()

    @cached_property
    def store(self) -> Filled:
        """The store to export from."""
        return filled(self._work, self._work.folder / f"warm-{self._entries}", self._entries)

    @cached_property
    def paths(self) -> Path:
        """A file with the paths of as many files, of the same bytes."""
        return lines(self.store.place / "paths", [str(path) for path in self.store.flat().iterdir()])

    def ours(self, _: Path) -> Command:
        """`cachestore export --offline` to a new folder, which stays: removing it would change every blob."""
        bundle = self.store.place / f"bundle-{next(self._numbers)}"
        argv = self._work.ours.command(*self.store.options, "export", "--offline", self.store.mix, bundle)
        return Command(argv, has(bundle / "media", self._entries))

    @cached_property
    def again(self) -> Path:
        """A bundle that is up to date."""
        bundle = self.store.place / "bundle"
        argv = self._work.ours.command(*self.store.options, "export", "--offline", self.store.mix, bundle)
        subprocess.run(argv, check=True)
        return bundle

    def ours_again(self, _: Path) -> Command:
        """The same, to a bundle that is up to date."""
        argv = self._work.ours.command(*self.store.options, "export", "--offline", self.store.mix, self.again)
        return Command(argv, has(self.again / "media", self._entries))

    def loop(self, place: Path) -> Command:
        """os.link in a loop."""
        argv = self._work.python.program("link_loop.py", self.paths, place / "loop")
        return Command(argv, has(place / "loop", self._entries))

    def cp(self, place: Path) -> Command:
        """`cp -al` of a flat folder."""
        argv = ("cp", "-al", str(self.store.flat()), str(place / "copy"))
        return Command(argv, has(place / "copy", self._entries))

    @cached_property
    def repository(self) -> Path:
        """A DVC project that has the files in its cache, and links them into the folder media."""
        place = self.store.place / "dvc"
        shutil.copytree(self.store.flat(), place / "media")
        for words in ("init --quiet --no-scm", "config cache.type hardlink", "add --quiet media"):
            self._dvc(place, *words.split())
        return place

    def _dvc(self, place: Path, *words: str) -> None:
        subprocess.run([self._work.package("dvc").bin / "dvc", *words], cwd=place, check=True, capture_output=True)

    def dvc(self, _: Path) -> Command:
        """`dvc checkout` of a folder that is not there."""
        media = self.repository / "media"
        shutil.rmtree(media, ignore_errors=True)
        argv = (str(self._work.package("dvc").bin / "dvc"), "checkout", "--quiet")
        return Command(argv, has(media, self._entries), cwd=self.repository)

    def dvc_again(self, place: Path) -> Command:
        """`dvc status` of a folder that is up to date."""
        if not (self.repository / "media").exists():
            subprocess.run(self.dvc(place).argv, cwd=self.repository, check=True)
        argv = (str(self._work.package("dvc").bin / "dvc"), "status", "--quiet")
        return Command(argv, cwd=self.repository)

    @cached_property
    def cacache_folder(self) -> Path:
        """A cacache with all files."""
        folder = self.store.place / "cacache"
        argv = self._work.node("cacache").program("cacache_put.mjs", folder, self.store.flat())
        subprocess.run(argv, check=True)
        return folder

    def cacache(self, place: Path) -> Command:
        """`get.copy` of all."""
        argv = self._work.node("cacache").program("cacache_copy.mjs", self.cacache_folder, place / "copy")
        return Command(argv, has(place / "copy", self._entries))


def _warm(work: Workplace, entries: int, limit: float) -> Row:
    do = Exports(work, entries)
    return Row(
        title=f"Export of {entries:,} cached tracks",
        limit=limit,
        base="os.link loop",
        contenders=(
            Contender("cachestore", work.ours, do.ours, kind="ours"),
            Contender("os.link loop", work.python, do.loop, _NO_CHECK, kind="bare"),
            Contender("cp -al", work.program("cp", "coreutils"), do.cp, _NO_CHECK, kind="bare"),
            Contender("dvc checkout", work.package("dvc"), do.dvc, "with hard links"),
            Contender("cacache get.copy", work.node("cacache"), do.cacache, "copies; hashes while it copies"),
        ),
        files=entries,
    )


def warm_few(work: Workplace) -> Row:
    """A large mix."""
    return _warm(work, work.scale.warm[0], 4.0)


def warm_many(work: Workplace) -> Row:
    """A whole library."""
    return _warm(work, work.scale.warm[1], 3.0)


def no_op(work: Workplace) -> Row:
    """The export of a bundle that is up to date."""
    entries = work.scale.warm[1]
    do = Exports(work, entries)
    return Row(
        title=f"Re-export of the same {entries:,}",
        limit=1.5,
        base="os.link loop",
        contenders=(
            Contender("cachestore", work.ours, do.ours_again, kind="ours"),
            Contender("os.link loop", work.python, do.loop, "makes all links; checks nothing", kind="bare"),
            Contender("dvc status", work.package("dvc"), do.dvc_again),
        ),
        files=entries,
    )


ROWS = {"warm-few": warm_few, "warm-many": warm_many, "no-op": no_op}
