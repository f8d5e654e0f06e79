"""What happens to the file of one track while it is downloaded: that track begins anew or fails, the others go on."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from cachestore.cache import Cache
from cachestore.config import Config, SourceConfig
from cachestore.errors import TooLarge, TrackError
from cachestore.store.writer import Store
from cachestore.track import Track
from tests.downloads import answer, come_true, wave
from tests.neighbours import Street, requested
from tests.raw_servers import Gate

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cachestore.cache import Result
    from cachestore.store.publish import Incoming
    from tests.conftest import StartRawServer
    from tests.raw_servers import Answer
    from tests.stranger import Stranger

SIZE = 300_000
ONE, OTHER = Track("cloud", "one", title="One"), Track("cloud", "other", title="Other")


def whole(track: str) -> bytes:
    return answer(wave(SIZE, len(track)), f'ETag: "{track}"')


@pytest.fixture
def open_cache(raw_server: StartRawServer, tmp_path: Path) -> Iterator[Callable[[Callable[[bytes], Answer]], Cache]]:
    opened: list[Cache] = []

    def open_one(respond: Callable[[bytes], Answer]) -> Cache:
        cloud = SourceConfig("cloud", "http", {"url": f"{raw_server(respond).url}/{{id}}"})
        opened.append(Cache.open(Config(root=tmp_path / "root", retries=0, min_free=0, sources={"cloud": cloud})))
        return opened[-1]

    yield open_one
    for cache in opened:
        cache.close()


def remove_bytes(folder: Path) -> None:
    """Remove what is being written there, as soon as something is."""
    come_true(lambda: any(path.stat().st_size for path in folder.glob("*.work")))
    for path in folder.glob("*.work"):
        path.unlink()


def remove_all(folder: Path) -> None:
    come_true(lambda: any(path.stat().st_size for path in folder.glob("*.work")))
    shutil.rmtree(folder)


class Removing(Gate):
    """An answer in whose middle `remove` is called."""

    def __init__(self, data: bytes, remove: Callable[[], None]) -> None:
        super().__init__(data[:200_000], data[200_000:])
        self._remove = remove

    def play(self, connection: socket.socket, _stopped: threading.Event) -> None:
        connection.sendall(self._first)
        self._remove()
        connection.sendall(self._rest)


@pytest.mark.parametrize("remove", [remove_bytes, remove_all])
def test_a_track_whose_file_is_removed_meanwhile_begins_anew(
    open_cache: Callable[[Callable[[bytes], Answer]], Cache], remove: Callable[[Path], None]
) -> None:
    asked: list[str] = []

    def respond(head: bytes) -> Answer:
        asked.append(requested(head))
        if asked.count("one") == 1 and asked[-1] == "one":
            return Removing(whole("one"), lambda: remove(cache.store.root.partials))
        return whole(asked[-1])

    cache = open_cache(respond)
    assert [result.error for result in cache.fetch([ONE, OTHER], jobs=1)] == [None, None]
    assert asked == ["one", "one", "other"]
    assert [*cache.store.root.partials.iterdir()] == []


def test_a_track_whose_file_is_removed_again_fails_alone(
    open_cache: Callable[[Callable[[bytes], Answer]], Cache],
) -> None:
    def respond(head: bytes) -> Answer:
        data = whole(requested(head))
        is_one = requested(head) == "one"
        return Removing(data, lambda: remove_bytes(cache.store.root.partials)) if is_one else data

    cache = open_cache(respond)
    one, other = cache.fetch([ONE, OTHER], jobs=1)
    assert_removed(one, cache)
    assert other.error is None


def assert_removed(result: Result, cache: Cache) -> None:
    folder = cache.store.root.partials
    said = f"what was downloaded of it was removed from {folder}; let nothing remove files there, and try again"
    assert isinstance(result.error, TrackError)
    assert str(result.error) == f"One: {said}"


def test_a_body_that_is_removed_before_it_is_published_fails_alone(
    open_cache: Callable[[Callable[[bytes], Answer]], Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Store.put

    def put_without_one(self: Store, incoming: Sequence[Incoming], run_id: str = "") -> object:
        for item in incoming:
            if item.track.id == "one":
                item.path.unlink(missing_ok=True)
        return put(self, incoming, run_id)

    monkeypatch.setattr(Store, "put", put_without_one)
    cache = open_cache(lambda head: whole(requested(head)))
    one, other = cache.fetch([ONE, OTHER])
    assert_removed(one, cache)
    assert other.error is None
    assert [*cache.store.root.partials.iterdir()] == []


def test_a_body_that_no_file_can_hold_fails_alone_and_says_what_to_do(
    stranger: Stranger, raw_server: StartRawServer
) -> None:
    large = answer(wave(6_000_000))
    server = raw_server(lambda head: large if requested(head) == "one" else whole(requested(head)))
    stranger.configure(server.url)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))"
    with Street(stranger) as street:
        ran = street.fetch("open:one", "open:other", patch=limit)
        assert ran.end() == 1
    [failed] = [event for event in ran.events if event.get("state") == "failed"]
    folder = stranger.root / "partials-v1"
    remedy = "put ROOT on a disk without such a limit, or raise that of the process (ulimit -f)"
    assert failed["code"] == TooLarge.code
    assert failed["message"] == f"open:one: no file in {folder} can be that large; {remedy}"
    assert len(stranger.blobs()) == 1
    assert [*folder.iterdir()] == []
