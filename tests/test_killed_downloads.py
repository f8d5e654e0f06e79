"""Processes that are killed while they download: the bytes stay right, what was there is used, and nothing is left."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from cachestore.partials import unfinished
from tests.downloads import asked, come_true, wave
from tests.neighbours import Held, Street, has_seen, is_downloading, is_waiting, ranged, requested, stored
from tests.raw_servers import Drip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartNginx, StartRawServer
    from tests.raw_servers import Answer
    from tests.stranger import Stranger

BODY = wave(300_000)
TRACK = "open:t"


@pytest.fixture
def street(stranger: Stranger) -> Iterator[Street]:
    with Street(stranger) as street:
        yield street


def left(stranger: Stranger) -> dict[str, int]:
    """Return how many bytes of each track lie among the partials."""
    return {partial.track: partial.received for partial in unfinished(stranger.root / "partials-v1")}


def kill_half_way(stranger: Stranger, street: Street) -> None:
    """Kill a fetch that has received half of the body."""
    victim = street.fetch(TRACK)
    victim.until(is_downloading)
    come_true(lambda: left(stranger).get(TRACK, 0) > len(BODY) // 2 - 8192)
    victim.kill()


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 3])
def test_who_waits_for_a_process_that_is_killed_goes_on_from_where_it_was(
    stranger: Stranger, street: Street, raw_server: StartRawServer, count: int
) -> None:
    server = raw_server(Held(BODY), ranged(BODY))
    stranger.configure(server.url)
    first = street.fetch(TRACK)
    first.until(is_downloading)
    waiting = [street.fetch(TRACK) for _ in range(count)]
    for neighbour in waiting:
        neighbour.until(has_seen(len(BODY) // 2))
    received = left(stranger)[TRACK]
    killed_at = time.monotonic()
    first.kill()
    assert [neighbour.end() for neighbour in waiting] == [0] * count
    assert time.monotonic() - killed_at < 10
    assert asked(server, "range") == [None, f"bytes={received}-"]
    assert sorted(str(neighbour.origin()) for neighbour in waiting) == ["cache"] * (count - 1) + ["network"]
    assert stored(stranger) == [BODY]


@pytest.mark.long
def test_a_real_server_sends_what_a_killed_process_did_not_get(
    stranger: Stranger, street: Street, nginx: StartNginx, tmp_path: Path
) -> None:
    (tmp_path / "t").write_bytes(BODY)
    server = nginx(tmp_path, body=f'location /plain/ {{ alias "{tmp_path}/"; limit_rate 60k; }}')
    stranger.configure(server.url)
    neighbours = [street.fetch(TRACK), street.fetch(TRACK)]
    told = [neighbour.until(lambda event: is_downloading(event) or has_seen(60_000)(event)) for neighbour in neighbours]
    first, second = neighbours[:: -1 if is_waiting(told[0]) else 1]
    first.kill()
    received = left(stranger)[TRACK]
    assert second.end() == 0
    [resumed] = [request for request in server.requests() if request.range]
    assert (resumed.status, resumed.range, resumed.sent) == (206, f"bytes={received}-", len(BODY) - received)
    assert stored(stranger) == [BODY]


@pytest.mark.long
def test_a_kill_at_any_moment_costs_no_byte_that_was_written(
    stranger: Stranger, street: Street, raw_server: StartRawServer
) -> None:
    bodies = {str(number): wave(2_000_000, seed=number) for number in range(24)}
    restarted = False

    def respond(head: bytes) -> Answer:
        whole = ranged(bodies[requested(head)])(head)
        return whole if restarted else Drip(whole, 0.02, 8192)

    server = raw_server(respond)
    stranger.configure(server.url)
    for track in bodies:
        victim = street.fetch(f"open:{track}")
        victim.until(lambda event: event.get("state") == "checking")
        victim.kill(after=random.uniform(0, 1))
    received, killed, restarted = left(stranger), len(server.received), True
    stranger.run("fetch", *(f"open:{track}" for track in bodies))
    ranges = dict(zip(map(requested, server.received), asked(server, "range"), strict=True))
    assert len(server.received) == killed + len(bodies)
    assert ranges == {
        track: f"bytes={received[f'open:{track}']}-" if received.get(f"open:{track}") else None for track in bodies
    }
    assert sum(size > 0 for size in received.values()) > len(bodies) / 2
    assert sorted(stored(stranger)) == sorted(bodies.values())


KILLED = """
import importlib, os, signal
module = importlib.import_module("{module}")
owner, works = module.{owner}, module.{owner}.{name}
def die(*arguments, **options):
    if "{when}" == "after":
        works(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
owner.{name} = die
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("when", "module", "owner", "name", "bodies"),
    [
        ("after", "cachestore.partials.locks", "DownloadLocks", "acquire", 1),
        ("after", "cachestore.partials.partial", "Partial", "begin", 2),
        ("before", "cachestore.partials.partial", "Partial", "finish", 1),
        ("before", "cachestore.store.writer", "Store", "put", 1),
        ("after", "cachestore.blobs", "Blobs", "publish", 2),
        ("after", "cachestore.store.writer", "Store", "put", 1),
    ],
)
def test_a_kill_at_a_bad_moment_is_mended_by_the_next_fetch(
    stranger: Stranger,
    street: Street,
    raw_server: StartRawServer,
    when: str,
    module: str,
    owner: str,
    name: str,
    bodies: int,
) -> None:
    server = raw_server(ranged(BODY))
    stranger.configure(server.url)
    patch = KILLED.format(when=when, module=module, owner=owner, name=name)
    assert street.fetch(TRACK, patch=patch).end() == -9
    stranger.run("fetch", TRACK)
    assert asked(server, "if-none-match").count(None) == bodies
    assert asked(server, "range") == [None] * len(server.received)
    assert stored(stranger) == [BODY]


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_during_a_rescue_leaves_what_was_to_be_rescued(
    stranger: Stranger, street: Street, raw_server: StartRawServer, when: str
) -> None:
    server = raw_server(Held(BODY), ranged(BODY))
    stranger.configure(server.url)
    first = street.fetch(TRACK)
    first.until(is_downloading)
    second = street.fetch(
        TRACK, patch=KILLED.format(when=when, module="cachestore.partials", owner="claims", name="_ownerless")
    )
    second.until(has_seen(len(BODY) // 2))
    first.kill()
    received = left(stranger)[TRACK]
    assert second.end() == -9
    stranger.run("fetch", TRACK)
    assert asked(server, "range") == [None, f"bytes={received}-"]
    assert stored(stranger) == [BODY]


# Room: what the dead left is bounded, too


@pytest.mark.long
def test_what_a_killed_process_left_is_gone_on_with_where_there_is_no_room_for_a_copy(
    stranger: Stranger, street: Street, raw_server: StartRawServer
) -> None:
    server = raw_server(Held(BODY), ranged(BODY))
    stranger.configure(server.url, max_size=len(BODY) + 50_000)
    kill_half_way(stranger, street)
    received = left(stranger)[TRACK]
    assert street.fetch(TRACK).end() == 0
    assert asked(server, "range") == [None, f"bytes={received}-"]
    assert stored(stranger) == [BODY]


@pytest.mark.long
@pytest.mark.parametrize("wanted", [TRACK, "open:u"])
def test_what_a_killed_process_left_is_in_nobodys_way_while_another_one_lives(
    stranger: Stranger, street: Street, raw_server: StartRawServer, wanted: str
) -> None:
    held, slow = iter([Held(BODY)]), Held(BODY[:20_000])
    server = raw_server(
        lambda head: slow if requested(head) == "slow" else next(held, None) or ranged(BODY)(head),
    )
    stranger.configure(server.url, max_size=len(BODY) + 100_000)
    living = street.fetch("open:slow")
    living.until(is_downloading)
    kill_half_way(stranger, street)
    received = left(stranger)[TRACK]
    assert street.fetch(wanted).end() == 0
    assert asked(server, "range")[-1] == (f"bytes={received}-" if wanted == TRACK else None)
    assert [path.read_bytes() for path in stranger.blobs()] == [BODY]
    assert set(left(stranger)) == {"open:slow"}


@pytest.mark.long
def test_what_a_killed_process_left_gives_way_to_another_track(
    stranger: Stranger, street: Street, raw_server: StartRawServer
) -> None:
    stranger.configure(raw_server(Held(BODY), ranged(BODY)).url, max_size=len(BODY) + 50_000)
    kill_half_way(stranger, street)
    assert street.fetch("open:u").end() == 0
    assert left(stranger) == {}
    assert stored(stranger) == [BODY]
