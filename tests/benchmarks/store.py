"""A store of many entries, and one of many bytes: find, prune, verify."""

from __future__ import annotations

import random
import subprocess
from functools import cached_property
from typing import TYPE_CHECKING

from tests.benchmarks.case import Contender, Row
from tests.benchmarks.filled import Filled, filled, has_only, tree
from tests.benchmarks.measure import Command
from tests.benchmarks.workplace import Songs, Workplace, lines

if TYPE_CHECKING:
    from pathlib import Path

_ASKED = 5000


class Finding:
    """Random tracks, looked up one after the other in one process."""

    def __init__(self, work: Workplace) -> None:
        self._work = work

    @cached_property
    def store(self) -> Filled:
        """The store to look in."""
        return filled(self._work, self._work.folder / "find", self._work.scale.entries)

    @cached_property
    def keys(self) -> Path:
        """Addresses of tracks, at random."""
        chance = random.Random(6)
        rows = [f"bench:t{chance.randrange(self._work.scale.entries)}" for _ in range(_ASKED)]
        return lines(self.store.place / "keys", rows)

    def ours(self, _: Path) -> Command:
        """`Cache.find`."""
        return Command(self._work.ours.program("find_loop.py", self.store.options[1], self.keys))

    @cached_property
    def rows(self) -> Path:
        """A diskcache of as many rows."""
        folder = self.store.place / "diskcache"
        entries = str(self._work.scale.entries)
        subprocess.run(self._work.ours.program("diskcache_fill.py", folder, entries), check=True)
        return folder

    def diskcache(self, _: Path) -> Command:
        """`get`, least recently used."""
        return Command(self._work.ours.program("diskcache_loop.py", self.rows, self.keys))

    def sqlite(self, _: Path) -> Command:
        """A SELECT each."""
        return Command(self._work.python.program("sqlite_loop.py", self.rows, self.keys))


def find(work: Workplace) -> Row:
    """What one look into the store takes."""
    do = Finding(work)
    return Row(
        title=f"find among {work.scale.entries:,} entries, in process",
        base="diskcache LRU",
        by="inner",
        goal="15 us at 1,000,000",
        contenders=(
            Contender("cachestore", work.ours, do.ours, kind="ours"),
            Contender("diskcache LRU", work.ours, do.diskcache, "knows no files"),
            Contender("bare sqlite3", work.python, do.sqlite, "knows no files, and no use of a row", kind="bare"),
        ),
        files=_ASKED,
    )


class Pruning:
    """Stores and folders of which half has to go; each run gets a new one."""

    def __init__(self, work: Workplace) -> None:
        self._work = work
        self._half = work.scale.pruned // 2

    def ours(self, place: Path) -> Command:
        """`cachestore prune`."""
        store = filled(self._work, place, self._work.scale.pruned)
        # A prune goes down to nine tenths of the bound; a blob costs a block of 4 kB.
        bound = str(self._half * 4096 * 10 // 9 + 4096)
        argv = self._work.ours.command(*store.options, "prune", "--max-size", bound)
        return Command(argv, has_only(place / "store" / "blobs-v1", self._half + self._half // 50 + 2))

    def loop(self, place: Path) -> Command:
        """os.unlink in a loop."""
        paths = [str(path) for path in tree(self._work.scale.pruned, place / "tree").rglob("*") if path.is_file()]
        argv = self._work.python.program("unlink_loop.py", lines(place / "paths", paths[: self._half]))
        return Command(argv, has_only(place / "tree", self._half))

    def find_delete(self, place: Path) -> Command:
        """`find -delete` of all that is older than the one in the middle."""
        folder = tree(self._work.scale.pruned, place / "tree")
        [middle] = folder.rglob(f"{self._half - 1:08x}")
        argv = ("find", str(folder), "-type", "f", "!", "-newer", str(middle), "-delete")
        return Command(argv, has_only(folder, self._half))

    def ccache(self, place: Path) -> Command:
        """`ccache --trim-dir`."""
        folder = tree(self._work.scale.pruned, place / "tree")
        kilobytes = (self._half + 257) * 4  # it counts the folders, too
        argv = ("ccache", "--trim-max-size", f"{kilobytes}Ki", "--trim-method", "mtime", "--trim-dir", str(folder))
        return Command(argv, has_only(folder, self._half))


def prune(work: Workplace) -> Row:
    """What eviction takes."""
    do = Pruning(work)
    return Row(
        title=f"Prune {work.scale.pruned:,} files to half",
        limit=2.0,
        base="os.unlink loop",
        by="cpu",
        contenders=(
            Contender("cachestore", work.ours, do.ours, "pauses for others, which is no CPU time", kind="ours"),
            Contender("os.unlink loop", work.python, do.loop, "is told what to remove", kind="bare"),
            Contender(
                "find -delete", work.program("find", "findutils"), do.find_delete, "compares with one date", kind="bare"
            ),
            Contender("ccache --trim-dir", work.program("ccache"), do.ccache, "knows no index"),
        ),
        files=work.scale.pruned // 2,
    )


class Verifying:
    """All bytes hashed again, from the system's file cache."""

    def __init__(self, work: Workplace, songs: Songs) -> None:
        self._work = work
        self._songs = songs

    @cached_property
    def store(self) -> tuple[str, ...]:
        """The options for a store that has all songs."""
        place = self._work.folder / "verify"
        place.mkdir()
        options = self._work.config(place, self._songs.source)
        subprocess.run(self._work.ours.command(*options, "fetch", *self._songs.tracks), check=True)
        return options

    def ours(self, _: Path) -> Command:
        """`cachestore verify`."""
        return Command(self._work.ours.command(*self.store, "verify"))

    def xxhsum(self, place: Path) -> Command:
        """Two of them, each with half of the files."""
        names = lines(place / "names", [str(self._songs.folder / name) for name in self._songs.names])
        half = str((self._songs.lot.files + 1) // 2)
        return Command(("xargs", "-a", str(names), "-P", "2", "-n", half, "xxhsum", "-q", "-H2"))

    def b3sum(self, _: Path) -> Command:
        """All cores for each file."""
        return Command(("b3sum", *(str(self._songs.folder / name) for name in self._songs.names)))

    @cached_property
    def cacache_folder(self) -> Path:
        """A cacache with all songs."""
        folder = self._work.folder / "verify-cacache"
        argv = self._work.node("cacache").program("cacache_put.mjs", folder, self._songs.folder)
        subprocess.run(argv, check=True)
        return folder

    def cacache(self, _: Path) -> Command:
        """`verify`."""
        return Command(self._work.node("cacache").program("cacache_verify.mjs", self.cacache_folder))


def verify(work: Workplace) -> Row:
    """What it takes to read all again."""
    lot = work.scale.verified
    do = Verifying(work, work.songs("verified", lot))
    return Row(
        title=f"Verify {lot}, warm",
        limit=1 / 0.9,
        base="xxhsum, two",
        contenders=(
            Contender("cachestore", work.ours, do.ours, kind="ours"),
            Contender("xxhsum, two", work.program("xxhsum", "xxhash"), do.xxhsum, "compares with nothing", kind="bare"),
            Contender("b3sum", work.program("b3sum"), do.b3sum, "compares with nothing", kind="bare"),
            Contender("cacache.verify", work.node("cacache"), do.cacache),
        ),
        files=lot.files,
        size=lot.bytes,
    )


ROWS = {"find": find, "prune": prune, "verify": verify}
