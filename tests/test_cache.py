"""The cache: real servers, real downloads, and nothing but whole, right files in the store."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cachestore.cache import Cache
from cachestore.config import Config, SourceConfig
from cachestore.errors import (
    BadStatus,
    Cancelled,
    ConfigError,
    Forbidden,
    NotAudio,
    NotCached,
    NotFound,
    TrackError,
    Unauthorized,
    Unreachable,
)
from cachestore.events import Provenance, State, TrackEvent, WarningEvent
from cachestore.sources.account import Account
from cachestore.sources.registry import Sources
from cachestore.track import Origin, Track
from cachestore.version import Version, VersionKind
from tests.servers import TOKEN, most_at_once
from tests.servers import replace as serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cachestore.events import Event
    from tests.conftest import StartNginx
    from tests.library import Sample
    from tests.servers import Nginx


@pytest.fixture
def served(tmp_path: Path, library: Mapping[str, Sample]) -> Path:
    """A folder of five tracks without extensions."""
    folder = tmp_path / "served"
    for ext, sample in library.items():
        sample.copy_to(folder, ext)
    return folder


@pytest.fixture
def server(nginx: StartNginx, served: Path) -> Nginx:
    return nginx(served)


def source(name: str, url: str, **headers: str) -> SourceConfig:
    return SourceConfig(name, "http", {"url": url, "headers": headers})


@pytest.fixture
def config(tmp_path: Path, server: Nginx) -> Config:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    sources = [
        source("studio", f"{server.url}/api/tracks/{{id}}/stream", **bearer),
        source("plain", f"{server.url}/plain/{{id}}"),
        source("modified", f"{server.url}/modified/{{id}}"),
        source("noetag", f"{server.url}/noetag/{{id}}"),
        source("slow", f"{server.url}/slow/{{id}}"),
        source("html", f"{server.url}/html/{{id}}"),
        source("status", f"{server.url}/status/{{id}}/x"),
    ]
    return Config(root=tmp_path / "root", retries=0, sources={each.name: each for each in sources})


@pytest.fixture
def cache(config: Config) -> Iterator[Cache]:
    with Cache.open(config) as opened:
        yield opened


class Heard(list["Event"]):
    """The events of a fetch."""

    def states(self, row: int) -> list[State]:
        found = [event.state for event in self if isinstance(event, TrackEvent) and event.index == row]
        return list(dict.fromkeys(found))

    def terminals(self) -> Counter[int]:
        return Counter(event.index for event in self if isinstance(event, TrackEvent) and event.state.terminal)

    def warnings(self) -> list[str]:
        return [event.code for event in self if isinstance(event, WarningEvent)]


def test_a_track_is_downloaded_once_and_confirmed_afterwards(
    cache: Cache, server: Nginx, library: Mapping[str, Sample]
) -> None:
    tracks = [Track("studio", ext) for ext in library]
    first = list(cache.fetch(tracks))
    assert [result.origin for result in first] == [Provenance.NETWORK] * 5
    assert [result.entry.ext for result in first] == list(library)
    for result in first:
        assert cache.store.blobs.path(result.entry.digest).read_bytes() == library[result.track.id].data
    second = list(cache.fetch(tracks))
    assert [result.origin for result in second] == [Provenance.CACHE] * 5
    assert [result.entry.key for result in second] == [result.entry.key for result in first]
    statuses = [request.status for request in server.requests("/api/")]
    assert statuses == [200] * 5 + [304] * 5


def test_results_come_in_the_order_of_the_input_and_equal_tracks_are_asked_for_once(
    cache: Cache, server: Nginx
) -> None:
    ids = ["flac", "wav", "flac", "mp3", "wav"]
    heard = Heard()
    results = list(cache.fetch([Track("plain", each) for each in ids], on_event=heard.append))
    assert [(result.index, result.track.id) for result in results] == list(enumerate(ids))
    assert [result.origin for result in results].count(Provenance.NETWORK) == 3
    assert len(server.requests("/plain/")) == 3
    assert heard.terminals() == dict.fromkeys(range(5), 1)


def test_a_row_goes_through_its_states_in_order(cache: Cache) -> None:
    heard = Heard()
    list(cache.fetch([Track("plain", "wav"), Track("plain", "none")], on_event=heard.append))
    order = [State.QUEUED, State.CHECKING, State.DOWNLOADING, State.VERIFYING, State.DONE]
    assert heard.states(0) == order
    assert heard.states(1) == [State.QUEUED, State.CHECKING, State.FAILED]
    done = [event for event in heard if isinstance(event, TrackEvent) and event.state is State.DONE]
    assert [(event.origin, event.received == event.total) for event in done] == [(Provenance.NETWORK, True)]


def test_a_file_changed_on_the_server_is_a_new_version_and_the_old_one_stays(
    cache: Cache, served: Path, library: Mapping[str, Sample]
) -> None:
    track = Track("plain", "wav")
    [old] = cache.fetch([track])
    serve(served / "wav", library["flac"].data)
    [new] = cache.fetch([track])
    assert new.origin is Provenance.NETWORK
    assert new.entry.ext == "flac"
    assert cache.store.kept([track])["plain:wav"][1].digest == old.entry.digest
    assert cache.store.is_whole(old.entry)


def test_a_rollback_on_the_server_costs_no_download(
    cache: Cache, server: Nginx, served: Path, library: Mapping[str, Sample]
) -> None:
    track = Track("plain", "wav")
    before = (served / "wav").stat()
    [old] = cache.fetch([track])
    serve(served / "wav", library["flac"].data)
    list(cache.fetch([track]))
    (served / "wav").write_bytes(library["wav"].data)
    os.utime(served / "wav", (before.st_mtime, before.st_mtime))
    [again] = cache.fetch([track])
    assert again.origin is Provenance.CACHE
    assert again.entry.key == old.entry.key
    assert [request.status for request in server.requests("/plain/")] == [200, 200, 304]
    assert cache.find(track) is not None
    assert cache.store.kept([track])["plain:wav"][0].key == old.entry.key


@pytest.mark.parametrize(("name", "statuses"), [("modified", [200, 304]), ("noetag", [200, 200])])
def test_servers_without_etags_are_asked_as_well_as_they_can_be(
    cache: Cache, server: Nginx, name: str, statuses: list[int]
) -> None:
    for _ in statuses:
        [result] = cache.fetch([Track(name, "wav")])
        assert result.entry.ext == "wav"
    assert [request.status for request in server.requests(f"/{name}/")] == statuses
    assert len(list(cache.store.entries())) == 1


def test_the_same_validator_with_other_bytes_is_told_and_gets_its_own_entry(
    cache: Cache, served: Path, library: Mapping[str, Sample]
) -> None:
    track = Track("plain", "wav")
    [old] = cache.fetch([track])
    before = (served / "wav").stat()
    data = bytearray(library["wav"].data)
    data[-1] ^= 1
    (served / "wav").write_bytes(data)
    os.utime(served / "wav", (before.st_mtime, before.st_mtime))
    heard = Heard()
    [new] = cache.fetch([track], refresh=True, on_event=heard.append)
    assert heard.warnings() == ["version_reused"]
    assert new.entry.key != old.entry.key
    assert cache.store.is_whole(old.entry)


def test_a_provider_that_knows_its_version_is_believed_without_a_request(
    cache: Cache, server: Nginx, served: Path, library: Mapping[str, Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = Version(VersionKind.PROVIDER, "revision 1")

    class Provider:
        def resolve(self, track: Track) -> Origin:
            return Origin(f"{server.url}/plain/{track.id}", version=version)

    monkeypatch.setattr(Sources, "account_of", lambda sources, track: Account("studio", Provider()))
    [first] = cache.fetch([Track("studio", "wav")])
    assert first.entry.version == version
    [second] = cache.fetch([Track("studio", "wav")])
    assert second.origin is Provenance.CACHE
    version = Version(VersionKind.PROVIDER, "revision 2")
    serve(served / "wav", library["flac"].data)
    [third] = cache.fetch([Track("studio", "wav")])
    assert (third.origin, third.entry.ext) == (Provenance.NETWORK, "flac")
    assert [request.status for request in server.requests("/plain/")] == [200, 200]


def test_no_request_is_made_offline_within_fresh_for_or_for_a_pinned_version(config: Config, server: Nginx) -> None:
    with Cache.open(config) as cache:
        [result] = cache.fetch([Track("plain", "wav")])
        pinned = Track("plain", "wav", version=result.entry.version.value)
        assert [each.stale for each in cache.fetch([Track("plain", "wav")], offline=True)] == [True]
        assert [each.stale for each in cache.fetch([pinned])] == [False]
        [missing] = cache.fetch([Track("plain", "mp3")], offline=True)
        assert isinstance(missing.error, NotCached)
        with pytest.raises(NotCached):
            _ = missing.entry
    with Cache.open(replace(config, fresh_for=3600.0)) as cache:
        assert [each.stale for each in cache.fetch([Track("plain", "wav")])] == [False]
    assert len(server.requests("/plain/")) == 1


def test_offline_builds_no_client(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_hire", lambda _: pytest.fail("a client was built"))
    [result] = cache.fetch([Track("plain", "wav")], offline=True)
    assert isinstance(result.error, NotCached)


def test_a_version_that_neither_the_cache_nor_the_server_has_fails_and_stores_nothing(cache: Cache) -> None:
    [result] = cache.fetch([Track("plain", "wav", version='"long gone"')])
    assert isinstance(result.error, NotFound)
    assert list(cache.store.entries()) == []
    assert list(cache.store.root.partials.iterdir()) == []


def test_a_server_that_is_down_is_stood_in_for_by_the_cache_with_a_warning(cache: Cache, server: Nginx) -> None:
    track = Track("plain", "wav")
    list(cache.fetch([track]))
    server.stop()
    heard = Heard()
    [kept, missing] = cache.fetch([track, Track("plain", "mp3")], on_event=heard.append)
    assert kept.stale
    assert kept.entry.ext == "wav"
    assert isinstance(missing.error, Unreachable)
    assert heard.warnings() == ["stale"]


@pytest.mark.parametrize(
    ("track", "error"),
    [
        (Track("studio", "none"), NotFound),
        (Track("status", "401"), Unauthorized),
        (Track("status", "403"), Forbidden),
        (Track("status", "410"), NotFound),
        (Track("status", "500"), BadStatus),
        (Track("html", "x"), NotAudio),
    ],
    ids=str,
)
def test_what_is_no_track_fails_by_its_kind_and_leaves_nothing(
    cache: Cache, track: Track, error: type[TrackError]
) -> None:
    [result] = cache.fetch([track])
    assert type(result.error) is error
    assert list(cache.store.entries()) == []
    assert list(cache.store.root.partials.iterdir()) == []


def test_one_failure_stops_no_other_track(cache: Cache) -> None:
    results = list(cache.fetch([Track("status", "500"), Track("plain", "wav"), Track("html", "x")]))
    assert [result.error is None for result in results] == [False, True, False]


def test_a_source_that_is_not_configured_ends_the_run_before_any_request(cache: Cache, server: Nginx) -> None:
    heard = Heard()
    with pytest.raises(ConfigError, match="nobody"):
        list(cache.fetch([Track("nobody", "x"), Track("plain", "wav")], on_event=heard.append))
    assert heard.terminals() == {0: 1, 1: 1}
    assert server.requests("/plain/") == []


def test_a_damaged_file_is_told_and_downloaded_again(cache: Cache, library: Mapping[str, Sample]) -> None:
    [first] = cache.fetch([Track("plain", "wav")])
    blob = cache.store.blobs.path(first.entry.digest)
    blob.chmod(0o644)
    blob.write_bytes(b"garbage")
    heard = Heard()
    [second] = cache.fetch([Track("plain", "wav")], on_event=heard.append)
    assert second.origin is Provenance.NETWORK
    assert heard.warnings() == ["damaged"]
    [kept] = cache.store.root.quarantine.iterdir()
    [warning] = [event.message for event in heard if isinstance(event, WarningEvent)]
    assert warning.endswith(f"; it is kept at {kept}")
    assert kept.read_bytes() == b"garbage"
    assert blob.read_bytes() == library["wav"].data


def test_no_more_than_jobs_downloads_run_at_once(cache: Cache, server: Nginx, library: Mapping[str, Sample]) -> None:
    list(cache.fetch([Track("slow", ext) for ext in library], jobs=2))
    assert most_at_once(server.requests("/slow/")) == 2


def test_cancel_ends_a_slow_download_at_once_and_keeps_what_was_finished(cache: Cache, served: Path) -> None:
    for name in ("long", "longer"):
        (served / name).write_bytes((served / "wav").read_bytes() * 20)
    cancel = threading.Event()
    heard = Heard()

    def listen(event: Event) -> None:
        heard.append(event)
        states = {each.index: each.state for each in heard if isinstance(each, TrackEvent)}
        if states == {0: State.DONE, 1: State.DOWNLOADING, 2: State.DOWNLOADING}:
            cancel.set()

    tracks = [Track("plain", "flac"), Track("slow", "long"), Track("slow", "longer")]
    results = cache.fetch(tracks, jobs=2, on_event=listen, cancel=cancel)
    with pytest.raises(Cancelled):
        list(results)
    assert heard.terminals() == dict.fromkeys(range(3), 1)
    assert [entry.id for entry in cache.store.entries()] == ["flac"]
    assert not any(thread.name.startswith("cachestore") and thread.is_alive() for thread in threading.enumerate())


def test_a_consumer_that_stops_early_leaves_no_worker_behind(cache: Cache) -> None:
    before = set(threading.enumerate())
    results = cache.fetch([Track("plain", "wav"), Track("slow", "flac")])
    next(results)
    results.close()
    assert set(threading.enumerate()) <= before


def test_hits_and_misses_are_counted(cache: Cache) -> None:
    list(cache.fetch([Track("plain", "wav"), Track("plain", "mp3")]))
    list(cache.fetch([Track("plain", "wav"), Track("plain", "none")]))
    meta = cache.store.meta()
    assert (meta.hits, meta.misses) == (1, 3)


def test_a_link_is_made_with_its_folder_and_in_the_configured_mode(cache: Cache, tmp_path: Path) -> None:
    [result] = cache.fetch([Track("plain", "wav")])
    assert cache.link(result.entry, tmp_path / "new" / "01.wav") == "hardlink"
    assert cache.link(result.entry, tmp_path / "new" / "02.wav", "copy") == "copy"


def test_the_bound_holds_once_the_cache_is_closed(config: Config) -> None:
    with Cache.open(replace(config, min_age=3600.0)) as cache:
        list(cache.fetch([Track("plain", "wav")]))
        assert len(list(cache.store.entries())) == 1
        cache.config = replace(config, max_size=1)
    with Cache.open(config) as cache:
        assert list(cache.store.entries()) == []


@pytest.mark.parametrize("jobs", [0, -1])
def test_fewer_than_one_job_is_refused(cache: Cache, jobs: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        list(cache.fetch([Track("plain", "wav")], jobs=jobs))


def test_no_secret_is_in_any_file_of_the_store(cache: Cache, config: Config) -> None:
    list(cache.fetch([Track("studio", "wav"), Track("studio", "none")]))
    cache.close()
    files = [path for path in config.root.rglob("*") if path.is_file()]
    assert files
    assert not any(TOKEN.encode() in path.read_bytes() for path in files)
