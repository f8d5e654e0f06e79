"""Two processes on one store, as two stores that take turns: between what one reads and what it writes, others happen.

Where `test_barriers.py` stops a command at moments that somebody thought of, here any verb is stopped before any of its
transactions, and any others are done meanwhile.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachestore import links
from cachestore.errors import BlobDamaged, NotInCache
from cachestore.links import LinkMode, NoMoreNames
from cachestore.rows import Bundle, BundleFile
from cachestore.store.writer import Store
from cachestore.sweep import sweep
from cachestore.track import Track
from cachestore.verify import Verification, repair
from tests.invariants import blobs_of, digest_of, faults, rows_of
from tests.stores import etag, incoming
from tests.tries import tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from random import Random

    from cachestore.entry import Entry
    from cachestore.index.writer import Transaction

    Verb = Callable[["World", Store], None]

BODIES = [bytes([65 + number]) * (3000 + 5000 * number) for number in range(2)]
ROOM = 10**9
_link = links.link
_ticks = count(10**18)


class World:
    """A store, two bundles, and a user who edits them; `edits` is what he wrote, by file."""

    def __init__(self, home: Path, choose: Random) -> None:
        self.root = home / "store"
        self.bundles = [home / "one", home / "two"]
        self.choose = choose
        self.numbers = count(1)
        self.edits: dict[Path, bytes] = {}
        self.served: dict[str, set[bytes]] = {}

    def do(self, store: Store, verbs: Iterable[Verb]) -> None:
        for verb in verbs:
            verb(self, store)

    def put(self, store: Store) -> None:
        track, body = str(self.choose.randrange(3)), self.choose.choice(BODIES)
        self.served.setdefault(f"s:{track}", set()).add(body)
        store.put([incoming(store, track, body, version=etag(str(self.choose.randrange(2))))])

    def evict(self, store: Store) -> None:
        for entry in self.some(store):
            store.evict([entry.key])

    def remove(self, store: Store) -> None:
        for entry in self.some(store):
            with suppress(NotInCache):
                store.remove([Track(entry.source, entry.id)])

    def pin(self, store: Store) -> None:
        for entry in self.some(store):
            with suppress(NotInCache):
                store.pin(Track(entry.source, entry.id), pinned=self.choose.random() < 0.5)

    def use(self, store: Store) -> None:
        for entry in self.some(store):
            if store.is_whole(entry):
                store.used([entry])
                store.validated(entry)

    def flush(self, store: Store) -> None:
        store.flush()

    def export(self, store: Store) -> None:
        dest = self.choose.choice(self.bundles)
        dest.mkdir(exist_ok=True)
        files = []
        with store.run("export") as run_id:
            for entry in [*self.some(store), *self.some(store)]:
                store.lease(run_id, [entry.digest])
                path = dest / f"{next(self.numbers)}.wav"
                with suppress(BlobDamaged, FileNotFoundError):  # the bundle may be deleted meanwhile
                    store.link(entry, path, LinkMode.AUTO)
                    files.append(BundleFile(path.name, entry.digest, LinkMode.HARDLINK))
                self.judge(path, entry)
            stamp(dest)
            store.register(Bundle(dest, dest.name, 0.0, tuple(files)))

    def rotate(self, store: Store) -> None:
        """Link a blob that has all the names that a file can have."""
        dest = self.choose.choice(self.bundles)
        dest.mkdir(exist_ok=True)
        for entry in self.some(store):
            path = dest / f"{next(self.numbers)}.wav"
            with one_name_too_many(), suppress(BlobDamaged, FileNotFoundError):
                store.link(entry, path, LinkMode.AUTO)
            self.judge(path, entry)
        stamp(dest)

    def rename(self, _: Store) -> None:
        for path in self.a_file():
            new = path.with_name(f"{next(self.numbers)}.wav")
            path.rename(new)
            stamp(path.parent)
            if path in self.edits:
                self.edits[new] = self.edits.pop(path)

    def delete(self, _: Store) -> None:
        for path in self.a_file():
            path.unlink()
            stamp(path.parent)
            self.edits.pop(path, None)

    def delete_bundle(self, _: Store) -> None:
        dest = self.choose.choice(self.bundles)
        self.edits = {path: data for path, data in self.edits.items() if path.parent != dest}
        shutil.rmtree(dest, ignore_errors=True)

    def edit(self, _: Store) -> None:
        """Write into a file of a bundle, and put its times back as a tag editor does."""
        for path in self.a_file():
            info, data = path.stat(), b"edit %d" % next(self.numbers)
            data = data.ljust(info.st_size + self.choose.choice([0, 9000]), b".")
            path.chmod(0o644)
            path.write_bytes(data)
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
            path.chmod(self.choose.choice([0o444, 0o644]))
            self.edits |= dict.fromkeys((other for other in self.files() if other.samefile(path)), data)

    def lose(self, store: Store) -> None:
        for entry in self.some(store):
            store.blobs.path(entry.digest).unlink(missing_ok=True)

    def look(self, store: Store) -> None:
        store.look_at_bundles()

    def recount(self, store: Store) -> None:
        store.recount()

    def sweep(self, store: Store) -> None:
        sweep(store, time.time(), max_size=ROOM)

    def mend(self, store: Store) -> None:
        for _ in repair(store, Verification(store)):
            pass

    def some(self, store: Store) -> list[Entry]:
        """Return an entry, if there is one."""
        entries = list(store.entries())
        return [self.choose.choice(entries)] if entries else []

    def files(self) -> list[Path]:
        return [path for dest in self.bundles if dest.is_dir() for path in sorted(dest.iterdir())]

    def a_file(self) -> list[Path]:
        """Return a file of a bundle, if there is one."""
        files = self.files()
        return [self.choose.choice(files)] if files else []

    def judge(self, path: Path, entry: Entry) -> None:
        """Let what was linked have the bytes of its track, unless the user has edited it since."""
        with suppress(FileNotFoundError):
            assert path in self.edits or path.read_bytes() in self.served[entry.address]

    def check(self) -> None:
        """Find what must never be, whoever has stopped where."""
        for path, data in self.edits.items():
            assert path.read_bytes() == data
        damaged = {digest for digest, path in blobs_of(self.root).items() if is_edited(digest, path)}
        assert faults(self.root, self.served, damaged=damaged) == []

    def check_after_sweep(self, store: Store) -> None:
        """Find who holds what, and what that costs, as the disk has it."""
        self.sweep(store)
        self.check()
        rows, blobs = rows_of(self.root), blobs_of(self.root)
        bundles = [row for key, row in rows.items() if key.startswith("x:")]
        for digest, path in blobs.items():
            if row := rows.get(f"b:{digest}"):
                linked = [Path(x["dest"], file) for x in bundles for file, of, _ in x["files"] if of == digest]
                holding = {file.parent for file in linked if file.exists() and file.samefile(path)}
                assert len(row["holders"]) == len(holding)
                assert row["cost"] == 512 * path.stat().st_blocks


def is_edited(digest: str, path: Path) -> bool:
    return path.stat().st_mode & 0o222 != 0 or digest_of(path.read_bytes()) != digest


def stamp(folder: Path) -> None:
    """Let a folder that changed have another mtime, however coarse the clock is."""
    with suppress(FileNotFoundError):
        os.utime(folder, ns=(0, next(_ticks)))


@contextmanager
def one_name_too_many() -> Iterator[None]:
    """Let the first hard link be refused as one too many."""
    refused: list[Path | str] = []

    def limited(source: Path | str, dest: Path | str, mode: LinkMode) -> LinkMode:
        if not refused and mode is not LinkMode.COPY:
            refused.append(dest)
            raise NoMoreNames(Path(dest), mode, "it has all its names")
        return _link(source, dest, mode)

    links.link = limited
    try:
        yield
    finally:
        links.link = _link


@contextmanager
def interrupted(store: Store, at: int, happen: Callable[[], None]) -> Iterator[None]:
    """Let others happen right before the transaction number `at` of the block."""
    begin, numbers = store._index.transaction, count()

    def transaction() -> AbstractContextManager[Transaction]:
        if next(numbers) == at:
            happen()
        return begin()

    store._index.transaction = transaction  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        store._index.transaction = begin  # type: ignore[method-assign]


VERBS = [
    World.put,
    World.put,
    World.evict,
    World.remove,
    World.pin,
    World.use,
    World.flush,
    World.export,
    World.export,
    World.rotate,
    World.rename,
    World.delete,
    World.delete_bundle,
    World.edit,
    World.lose,
    World.look,
    World.look,
    World.recount,
    World.sweep,
    World.mend,
]
VERB = st.sampled_from(VERBS)


@dataclass(frozen=True)
class Step:
    """A verb, and what others do right before which of its transactions."""

    verb: Verb
    others: list[Verb]
    at: int


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody pause, and looks keep young stamps, since each change of a folder has one of its own here."""
    monkeypatch.setattr("cachestore.store.pauses._SHORTEST_PAUSE", 0.0)
    monkeypatch.setattr("cachestore.store.pauses._LONGEST_PAUSE", 0.0)
    monkeypatch.setattr("cachestore.store.looking._TICK", 0.0)


@pytest.mark.long
@tries(100, 3000)
@given(
    choose=st.randoms(use_true_random=False),
    steps=st.lists(st.builds(Step, VERB, st.lists(VERB, min_size=1, max_size=2), st.integers(0, 5)), max_size=12),
)
def test_whatever_others_do_between_two_transactions_nothing_is_lost_served_wrong_or_miscounted(
    choose: Random, steps: list[Step]
) -> None:
    with TemporaryDirectory() as home:
        world = World(Path(home), choose)
        with Store.open(world.root) as one, Store.open(world.root) as other:
            for _ in range(4):
                world.put(one)
            world.export(one)
            for step in steps:
                with interrupted(one, step.at, partial(world.do, other, step.others)):
                    step.verb(world, one)
                world.check()
            world.check_after_sweep(one)
        world.check()
