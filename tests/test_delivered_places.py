"""A condition is about the bytes of one place: a 304 of another one says nothing of them, however equal their words."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from cachestore.cache import Cache
from cachestore.config import SourceConfig
from cachestore.download.question import place_of, resource_of
from cachestore.track import Track, url_track
from cachestore.verify.adoption import adopt
from exporter_plugin.export import export_mix
from exporter_plugin.row import Mix, Row
from tests.downloads import answer, asked, rest, unchanged, wave
from tests.odd_bouts import impatient

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRawServer

A, B = wave(9000, seed=1), wave(9000, seed=2)
TAG, DATE = 'ETag: "1"', "Last-Modified: Mon, 05 Oct 2026 10:00:00 GMT"
TRACK = Track("studio", "t42")


@dataclass
class Cloud:
    """A service that redirects each track to where its file is by now, and mirrors that say one word of all files."""

    said: str
    to: str = "/a.wav"
    files: dict[str, bytes] = field(default_factory=lambda: {"/a.wav": A, "/b.wav": B})
    confirms: bool = True
    words: tuple[str, ...] | None = None

    def __call__(self, head: bytes) -> bytes:
        path = head.split()[1].decode()
        if path.startswith("/track"):
            return answer(b"", f"Location: {self.to}", status="302 Found")
        is_conditional = b"if-none-match" in head.lower() or b"if-modified-since" in head.lower()
        if is_conditional and self.confirms:
            return unchanged(*((self.said,) if self.words is None else self.words))
        return answer(self.files[path.partition("?")[0]], self.said)


@pytest.fixture(params=[TAG, 'ETag: W/"1"', DATE], ids=["strong", "weak", "date"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    return Cloud(request.param)


class Listener:
    """Fetches one track of a service time and again into one store."""

    def __init__(self, root: Path, url: str) -> None:
        options = {"url": f"{url}/track/{{id}}"}
        self.config = impatient(root / "store", studio=SourceConfig("studio", "http", options))

    def fetch(self, track: Track = TRACK) -> bytes | str:
        with Cache.open(self.config) as cache:
            [result] = cache.fetch([track])
            if result.error is not None:
                return result.error.code
            return cache.store.blobs.path(result.entry.digest).read_bytes()

    def say_of_rows(self, place: str) -> None:
        """Make the rows say that their bytes are from `place`."""
        with Cache.open(self.config) as cache:
            entries = [*cache.store.entries()]
            with cache.store._transaction() as ledger:
                for entry in entries:
                    ledger.put_entry(replace(entry, place=place))


def conditions(heads: list[bytes]) -> list[bool]:
    """Return of each request to a file whether it had a condition."""
    asked_for = [head.lower() for head in heads if b" /track" not in head]
    return [b"if-none-match" in head or b"if-modified-since" in head for head in asked_for]


def test_what_a_redirect_led_to_is_confirmed_there(cloud: Cloud, tmp_path: Path, raw_server: StartRawServer) -> None:
    server = raw_server(cloud)
    listener = Listener(tmp_path, server.url)
    assert [listener.fetch(), listener.fetch()] == [A, A]
    assert conditions(server.received) == [False, True]


@pytest.mark.parametrize("said", [None, ()], ids=["verbatim", "wordless"])
def test_a_304_of_where_the_redirect_leads_by_now_confirms_nothing(
    cloud: Cloud, tmp_path: Path, raw_server: StartRawServer, said: tuple[str, ...] | None
) -> None:
    server = raw_server(cloud)
    listener = Listener(tmp_path, server.url)
    assert listener.fetch() == A
    cloud.to, cloud.words = "/b.wav", said
    assert listener.fetch() == B
    assert conditions(server.received) == [False, True, False]  # asked again at once, without a condition


def test_each_place_confirms_its_own_bytes_though_the_words_are_equal(
    tmp_path: Path, raw_server: StartRawServer
) -> None:
    cloud = Cloud(TAG)
    server = raw_server(cloud)
    listener = Listener(tmp_path, server.url)
    for cloud.to in ("/a.wav", "/b.wav"):
        listener.fetch()
    before = len(server.received)
    found = []
    for cloud.to in ("/a.wav", "/b.wav", "/a.wav"):
        found.append(listener.fetch())
    assert found == [A, B, A]
    assert conditions(server.received[before:]) == [True, True, True]


def test_a_200_of_another_place_with_a_known_word_brings_its_bytes(
    cloud: Cloud, tmp_path: Path, raw_server: StartRawServer
) -> None:
    listener = Listener(tmp_path, raw_server(cloud).url)
    assert listener.fetch() == A
    cloud.to, cloud.confirms = "/b.wav", False
    assert listener.fetch() == B


def test_of_two_files_that_a_query_tells_apart_none_confirms_the_other(
    cloud: Cloud, tmp_path: Path, raw_server: StartRawServer
) -> None:
    listener = Listener(tmp_path, raw_server(cloud).url)
    cloud.to = "/a.wav?file=1&token=x"
    assert listener.fetch() == A
    cloud.to, cloud.files["/a.wav"] = "/a.wav?file=1&token=y", B
    assert listener.fetch() == A  # confirmed: the token says who asks
    cloud.to = "/a.wav?file=2&token=y"
    assert listener.fetch() == B


def test_a_bare_url_is_no_other(cloud: Cloud, tmp_path: Path, raw_server: StartRawServer) -> None:
    server = raw_server(cloud)
    listener, track = Listener(tmp_path, server.url), url_track(f"{server.url}/track/x")
    assert [listener.fetch(track), listener.fetch(track)] == [A, A]
    cloud.to = "/b.wav"
    assert listener.fetch(track) == B


def test_hosts_that_take_turns_cost_no_download(cloud: Cloud, tmp_path: Path, raw_server: StartRawServer) -> None:
    one, two = raw_server(cloud), raw_server(cloud)
    gate = raw_server(lambda _: answer(b"", f"Location: {cloud.to}", status="302 Found"))
    listener = Listener(tmp_path, gate.url)
    found = []
    for mirror in (one, two):
        cloud.to = f"{mirror.url}/a.wav"
        found.append(listener.fetch())
    assert found == [A, A]
    assert [conditions(mirror.received) for mirror in (one, two)] == [[False], [True]]


@pytest.mark.parametrize("place", ["", "the origin's"])
def test_a_row_that_does_not_say_what_delivered_it_is_downloaded_once_more(
    cloud: Cloud, tmp_path: Path, raw_server: StartRawServer, place: str
) -> None:
    server = raw_server(cloud)
    listener = Listener(tmp_path, server.url)
    listener.fetch()
    listener.say_of_rows(place and place_of(resource_of(f"{server.url}/track/t42")))
    assert [listener.fetch(), listener.fetch()] == [A, A]
    assert conditions(server.received) == [False, True, False, True]


def test_a_304_without_a_condition_is_no_answer(cloud: Cloud, tmp_path: Path, raw_server: StartRawServer) -> None:
    lies = False

    def respond(head: bytes) -> bytes:
        return unchanged(TAG) if lies and b" /track" not in head else cloud(head)

    listener = Listener(tmp_path, raw_server(respond).url)
    listener.fetch()
    cloud.to, lies = "/b.wav", True
    assert listener.fetch() == "bad_response"


def test_what_a_cut_left_of_another_place_is_gone_on_with(tmp_path: Path, raw_server: StartRawServer) -> None:
    """A 304 that is not believed costs no byte of what an earlier run had of where the redirect leads."""
    cloud, is_up = Cloud(TAG), False

    def respond(head: bytes) -> bytes:
        if b" /b.wav" not in head or b"if-none-match" in head.lower():
            return cloud(head)
        if b"range: bytes=5000-" not in head.lower():
            return answer(B[:5000], TAG, length=len(B))
        return rest(B, 5000, TAG) if is_up else answer(status="503 Later")

    server = raw_server(respond)
    listener = Listener(tmp_path, server.url)
    listener.fetch()
    cloud.to = "/b.wav"
    assert listener.fetch() == A  # stale
    before, is_up = len(server.received), True
    assert listener.fetch() == B
    assert asked(server, "Range")[before:] == ["bytes=5000-"] * 4


def test_what_was_adopted_after_a_lost_index_is_confirmed(
    cloud: Cloud, tmp_path: Path, raw_server: StartRawServer
) -> None:
    server = raw_server(cloud)
    listener = Listener(tmp_path, server.url)
    with Cache.open(listener.config) as cache:
        export_mix(Mix("Friday", (Row(track=TRACK),)), tmp_path / "Friday", cache=cache)
    shutil.rmtree(listener.config.root / "index-v1")
    with Cache.open(listener.config) as cache:
        assert [one.adopted for one in adopt(cache.store, tmp_path / "Friday")] == [True]
    assert listener.fetch() == A
    assert conditions(server.received) == [False, True]
