"""Bodies that have arrived are published in groups, and none waits for long."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from cachestore.cache import Cache
from cachestore.config import Config, SourceConfig
from cachestore.errors import DigestCollision, NoSpace, TrackError
from cachestore.fetching import arrivals
from cachestore.fetching.arrivals import Arrivals
from cachestore.fetching.reports import Arrived
from cachestore.media import Media
from cachestore.store.publish import Incoming
from cachestore.track import Track
from tests.downloads import answer
from tests.library import make_wave
from tests.raw_servers import Gate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.partials import Partial
    from cachestore.store.writer import Store
    from tests.conftest import StartRawServer


@dataclass
class Body:
    """What stands in for a partial: it is released or left once."""

    released: int = 0
    left: int = 0

    def leave(self) -> None:
        self.left += 1

    def release(self) -> None:
        self.released += 1


@dataclass
class Shelf:
    """What stands in for a store: it takes what has no bad digest, and calls an entry what the digest is."""

    groups: list[int] = field(default_factory=list)
    bad: str = ""
    is_full: bool = False

    def put(self, incoming: Sequence[Incoming], _: str) -> list[Entry]:
        if self.is_full:
            raise NoSpace(incoming[0].path)
        if self.bad in {item.digest for item in incoming}:
            raise DigestCollision(self.bad)
        self.groups.append(len(incoming))
        for item in incoming:
            item.path.unlink()
        return [cast("Entry", item.digest) for item in incoming]


@dataclass
class Quay:
    """Arrivals for a shelf, and what became of each."""

    folder: Path
    shelf: Shelf = field(default_factory=Shelf)
    outcomes: dict[int, Entry | TrackError] = field(default_factory=dict)
    bodies: list[Body] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.arrivals = Arrivals(cast("Store", self.shelf), self.outcomes.__setitem__)

    def land(self, how_many: int) -> None:
        for number in range(how_many):
            path = self.folder / str(number)
            path.write_bytes(b"what")
            incoming = Incoming(Track("s", str(number)), None, path, f"d{number}", 4, Media("audio/wav", "wav"))
            self.bodies.append(Body())
            self.arrivals.add(Arrived(number, incoming, cast("Partial", self.bodies[-1])))

    def publish_all(self) -> None:
        while self.arrivals.patience is not None:
            self.arrivals.publish()


@pytest.fixture
def quay(tmp_path: Path) -> Quay:
    return Quay(tmp_path)


def test_what_is_here_is_published_together_a_part_at_a_time(quay: Quay) -> None:
    quay.land(60)
    quay.publish_all()
    assert quay.shelf.groups == [24, 24, 12]
    assert [str(outcome) for outcome in quay.outcomes.values()] == [f"d{number}" for number in range(60)]
    assert {body.released for body in quay.bodies} == {1}
    assert list(quay.folder.iterdir()) == []


def test_nothing_is_waited_for_without_a_body_and_little_with_one(quay: Quay, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quay.arrivals.patience is None
    monkeypatch.setattr(arrivals, "_PATIENCE", 3600.0)
    quay.land(1)
    patience = quay.arrivals.patience
    assert patience is not None
    assert 3000 < patience <= 3600
    monkeypatch.setattr(arrivals, "_PATIENCE", 0.0)
    assert quay.arrivals.patience == 0.0
    quay.arrivals.publish()
    assert quay.arrivals.patience is None


def test_a_full_group_waits_for_nothing(quay: Quay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_PATIENCE", 3600.0)
    quay.land(24)
    assert quay.arrivals.patience == 0.0


def test_a_collision_fails_only_its_own_body_in_whichever_group(quay: Quay) -> None:
    quay.shelf.bad = "d30"
    quay.land(40)
    quay.publish_all()
    failed = {number for number, outcome in quay.outcomes.items() if isinstance(outcome, TrackError)}
    assert failed == {30}
    assert len(quay.outcomes) == 40
    assert {body.released for body in quay.bodies} == {1}
    assert list(quay.folder.iterdir()) == []


def test_a_full_disk_takes_no_body_that_was_there(quay: Quay) -> None:
    quay.shelf.is_full = True
    quay.land(3)
    with pytest.raises(NoSpace):
        quay.arrivals.publish()
    quay.arrivals.publish_soon(time.monotonic() + 60)
    assert [(body.left, body.released) for body in quay.bodies] == [(1, 0)] * 3
    assert len(list(quay.folder.iterdir())) == 3


def test_a_body_does_not_wait_for_one_that_takes_its_time(raw_server: StartRawServer, tmp_path: Path) -> None:
    quick, slow = answer(make_wave(3000)), answer(make_wave(9000))
    gate = Gate(slow[:4000], slow[4000:])
    servers = {"quick": raw_server(quick), "slow": raw_server(gate)}
    sources = {name: SourceConfig(name, "http", {"url": f"{server.url}/{{id}}"}) for name, server in servers.items()}
    with Cache.open(Config(root=tmp_path / "root", sources=sources)) as cache:
        sizes = []
        for result in cache.fetch([Track("quick", "t"), Track("slow", "t")], jobs=2):
            sizes.append(result.entry.size)
            gate.open()  # by the first result, and by nothing else
    assert sizes == [3000, 9000]
