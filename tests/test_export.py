"""The main job: a mix with cloud and local tracks becomes a bundle, through a real cache and a real server."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shlex
import shutil
import sqlite3
import stat
import threading
import wave
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import click
import pytest
from click.testing import CliRunner

from cachestore.blobs import hash_file
from cachestore.cache import Cache
from cachestore.cli.main import cli
from cachestore.config import Config, SourceConfig
from cachestore.errors import Cancelled, DestinationError, LinkError, NoSpace
from cachestore.events import Provenance, State, TrackEvent, WarningEvent
from cachestore.links import LinkMode, _copy
from cachestore.rows import RunRow
from cachestore.runs import RunLock, staging_suffix
from cachestore.track import Track
from exporter_plugin import destination, gather, publish
from exporter_plugin.export import export_mix
from exporter_plugin.facts import Facts
from exporter_plugin.manifest import write_manifest
from exporter_plugin.mix import read_mix
from exporter_plugin.options import Options
from exporter_plugin.outcome import ExportFailed
from exporter_plugin.plan import plan_export
from exporter_plugin.row import Mix, Row
from exporter_plugin.space import NoSpaceForCopies
from exporter_plugin.template import TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    from cachestore.entry import Entry
    from cachestore.events import Event
    from exporter_plugin.manifest import Manifest
from exporter_plugin.outcome import Outcome, Report


def sound(seed: str) -> bytes:
    """Return a short WAV whose samples depend on `seed`."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(seed.encode().ljust(64, b"~") * 64)
    return out.getvalue()


class Music(ThreadingHTTPServer):
    """A music cloud: bytes by id with ETags, statuses for ids that fail, and what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.tracks = {f"t{n}": sound(f"t{n}") for n in range(1, 5)}
        self.statuses: dict[str, int] = {}
        self.asked: list[tuple[str, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{{id}}"

    def downloads(self) -> int:
        return sum(status == 200 for _, status in self.asked)


class _Answer(BaseHTTPRequestHandler):
    server: Music

    def do_GET(self) -> None:
        track = self.path.partition("?")[0].strip("/")
        body = self.server.tracks.get(track, b"")
        etag = f'"{hash(body):x}"'
        status = self.server.statuses.get(track, 200 if body else 404)
        if status == 200 and self.headers.get("If-None-Match") == etag:
            status = 304
        self.server.asked.append((track, status))
        self.send_response(status)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body) if status == 200 else 0))
        self.end_headers()
        if status == 200:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@contextmanager
def running(server: Music) -> Iterator[Music]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def music() -> Iterator[Music]:
    with running(Music()) as server:
        yield server


class House:
    """A store with one source, a mix of two cloud tracks and one local, and what was told."""

    def __init__(self, folder: Path, music: Music) -> None:
        self.folder = folder
        self.dest = folder / "out" / "Friday"
        self.mix = folder / "friday.json"
        self.local = folder / "Local" / "Intro.wave"
        self.local.parent.mkdir()
        self.local.write_bytes(sound("local"))
        self.config = Config(
            root=folder / "root",
            min_free=0,
            retries=0,
            sources={"studio": SourceConfig("studio", "http", {"url": music.url})},
        )
        self.told: list[Event] = []
        self.write("t1", "t2")

    def write(self, *ids: str, **fields: object) -> None:
        cloud = [{"source": "studio", "id": track, "title": f"Title {track}", "artist": "E.P."} for track in ids]
        rows = [*cloud, {"path": "Local/Intro.wave", "title": "Intro", **fields}]
        self.mix.write_text(json.dumps({"name": "Friday Warm-up", "tracks": rows}))

    def export(self, dest: Path | None = None, **options: Any) -> Report:  # noqa: ANN401 - the fields of Options
        self.told.clear()
        with Cache.open(self.config) as cache:
            return export_mix(self.mix, dest or self.dest, Options(**options), cache=cache, on_event=self.told.append)

    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.dest / "bundle.json").read_text())
        return manifest

    def media(self, dest: Path | None = None) -> list[str]:
        return sorted(path.name for path in ((dest or self.dest) / "media").iterdir())

    def states(self, index: int) -> list[State]:
        told = [event for event in self.told if isinstance(event, TrackEvent) and event.index == index]
        return list(dict.fromkeys(event.state for event in told))

    def warnings(self) -> list[str]:
        return [event.code for event in self.told if isinstance(event, WarningEvent)]

    def assert_nothing_left(self) -> None:
        assert not self.dest.exists()
        assert not self.dest.parent.exists() or list(self.dest.parent.iterdir()) == []


@pytest.fixture
def house(tmp_path: Path, music: Music) -> House:
    return House(tmp_path, music)


# A whole bundle


def test_a_mix_becomes_a_bundle_of_read_only_links_and_private_copies(house: House) -> None:
    report = house.export()
    assert house.media() == ["01 - E.P. - Title t1.wav", "02 - E.P. - Title t2.wav", "03 - Intro.wav"]
    assert (report.downloaded, report.cached, report.local, report.linked, report.copied) == (2, 0, 1, 2, 1)
    assert (report.total, report.failed, report.result, report.exit_code) == (3, 0, "ok", 0)
    assert report.bytes == 3 * len(sound("t1"))
    linked, private = (house.dest / "media" / house.media()[n] for n in (0, 2))
    assert linked.stat().st_nlink == 2
    assert stat.S_IMODE(linked.stat().st_mode) == 0o444
    assert private.stat().st_nlink == 1
    assert stat.S_IMODE(private.stat().st_mode) & 0o600 == 0o600
    assert private.stat().st_ino != house.local.stat().st_ino


def test_the_bundle_says_what_it_holds_and_is_registered(house: House) -> None:
    house.export()
    manifest = house.manifest()
    row = manifest["tracks"][0]
    assert (manifest["bundle"], manifest["name"], manifest["finished"]) == (1, "Friday Warm-up", True)
    assert (row["track"], row["status"], row["file"]) == ("studio:t1", "done", "media/01 - E.P. - Title t1.wav")
    assert (row["link_mode"], row["freshness"], row["error"], row["size"]) == (
        "hardlink",
        "fresh",
        None,
        len(sound("t1")),
    )
    assert row["key"].startswith("studio:t1@")
    assert row["digest"].startswith("xxh3-128:")
    local = manifest["tracks"][2]
    assert (local["track"], local["key"], local["file"]) == ("Local/Intro.wave", None, "media/03 - Intro.wav")
    with Cache.open(house.config) as cache:
        [bundle] = cache.store.bundles()
        assert (bundle.dest, bundle.name, len(bundle.files)) == (house.dest, "Friday Warm-up", 2)
        held = {digest for digest, row in cache.store.blob_rows() if row.is_held}
        assert held == {file.digest for file in bundle.files}


def test_no_url_of_an_origin_gets_into_a_bundle(house: House, music: Music) -> None:
    url = music.url.replace("{id}", "t1?token=s3cret").replace("http://", "http://me:s3cret@")
    house.mix.write_text(json.dumps({"tracks": [{"url": url, "title": "A"}]}))
    house.export()
    assert all(b"s3cret" not in path.read_bytes() for path in house.dest.rglob("*") if path.is_file())


def test_every_row_goes_its_way_to_one_terminal_state(house: House) -> None:
    house.export()
    assert house.states(0)[0] is State.QUEUED
    assert house.states(0)[-2:] == [State.LINKING, State.DONE]
    assert house.states(2) == [State.QUEUED, State.LINKING, State.DONE]
    assert_one_terminal_state_each(house.told, rows=3)


def assert_one_terminal_state_each(told: list[Event], rows: int) -> None:
    ends = [event.index for event in told if isinstance(event, TrackEvent) and event.state.terminal]
    assert sorted(ends) == list(range(rows))


def test_the_same_track_twice_is_one_file_and_two_lines(house: House, music: Music) -> None:
    house.write("t1", "t1")
    report = house.export()
    assert house.media() == ["01 - E.P. - Title t1.wav", "03 - Intro.wav"]
    assert (house.dest / "Friday Warm-up.m3u8").read_text().count("media/01 - E.P. - Title t1.wav") == 2
    assert (report.downloaded, report.cached, report.linked, music.downloads()) == (1, 1, 1, 1)
    assert_one_terminal_state_each(house.told, rows=3)


def test_a_second_bundle_downloads_nothing_and_shares_the_files(house: House, music: Music, tmp_path: Path) -> None:
    house.export()
    report = house.export(tmp_path / "again")
    assert (report.downloaded, report.cached, music.downloads()) == (0, 2, 2)
    assert (tmp_path / "again/media" / house.media()[0]).stat().st_ino == (
        house.dest / "media" / house.media()[0]
    ).stat().st_ino


def test_offline_makes_no_request(house: House, music: Music) -> None:
    house.export()
    music.asked.clear()
    report = house.export(offline=True)
    assert (music.asked, report.cached) == ([], 2)


# Re-exports


def inodes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in folder.rglob("*")}


def stamps(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Return of all files and folders, `folder` and the one it is in too, what would tell of any change."""
    paths = [folder.parent, folder, *folder.rglob("*")]
    return {path: ((info := path.stat()).st_ino, info.st_mtime_ns, info.st_ctime_ns) for path in paths}


def test_an_unchanged_re_export_writes_nothing_at_all(house: House) -> None:
    house.export()
    before = stamps(house.dest)
    report = house.export()
    assert stamps(house.dest) == before
    assert (report.linked, report.copied) == (2, 1)


def test_an_unchanged_re_export_without_a_network_writes_nothing_either(house: House, music: Music) -> None:
    house.export()
    before = stamps(house.dest)
    assert house.export(offline=True).cached == 2
    music.statuses |= {"t1": 503, "t2": 503}
    assert house.export().stale == 2
    assert stamps(house.dest) == before
    assert {track["freshness"] for track in house.manifest()["tracks"][:2]} == {"fresh"}


def test_names_stay_until_they_are_to_be_renumbered(house: House, music: Music) -> None:
    house.export()
    house.write("t2", "t3", "t1")
    house.export(template="{index} {title}")
    assert house.media() == ["01 - E.P. - Title t1.wav", "02 - E.P. - Title t2.wav", "03 - Intro.wav", "2 Title t3.wav"]
    downloads = music.downloads()
    report = house.export(template="{index} {title}", renumber=True)
    assert house.media() == ["1 Title t2.wav", "2 Title t3.wav", "3 Title t1.wav", "4 Intro.wav"]
    assert (music.downloads(), report.linked, house.warnings()) == (downloads, 3, [])
    before = stamps(house.dest)
    house.export(template="{index} {title}", renumber=True)
    house.export()
    assert stamps(house.dest) == before


def test_renumbering_exchanges_names(house: House) -> None:
    house.export(template="{index}")
    house.write("t2", "t1")
    house.export(template="{index}", renumber=True)
    files = [(house.dest / "media" / name).read_bytes() for name in house.media()]
    assert files == [sound("t2"), sound("t1"), sound("local")]
    assert [track["file"] for track in house.manifest()["tracks"]] == ["media/1.wav", "media/2.wav", "media/3.wav"]


def test_a_file_that_was_deleted_is_renumbered_too(house: House) -> None:
    house.export(template="{index}")
    (house.dest / "media" / "1.wav").unlink()
    house.write("t2", "t1")
    house.export(template="{index}", renumber=True)
    files = [(house.dest / "media" / name).read_bytes() for name in house.media()]
    assert files == [sound("t2"), sound("t1"), sound("local")]


def test_renumbering_leaves_an_edited_file_its_name_whether_the_edit_is_seen_or_not(house: House) -> None:
    house.export(template="{index}")
    edits = {name: edit_unseen(house.dest / "media" / name) for name in ("1.wav", "3.wav")}
    (house.dest / "media" / "3.wav").touch()
    house.write("t2", "t1")
    house.export(template="{index}", renumber=True)
    assert {name: (house.dest / "media" / name).read_bytes() for name in edits} == edits
    files = {track["label"]: track["file"] for track in house.manifest()["tracks"]}
    assert (files["E.P. - Title t1"], files["Intro"]) == ("media/1.wav", "media/3.wav")
    assert re.fullmatch(r"media/1 \[[0-9a-f]{6}\]\.wav", files["E.P. - Title t2"])


@pytest.mark.parametrize("mode", ["hardlink", "copy"])
@pytest.mark.parametrize("is_seen", [True, False])
def test_an_edited_file_is_replaced_when_asked_for_and_foreign_files_are_not(
    house: House, mode: str, *, is_seen: bool
) -> None:
    house.export(link_mode=mode)
    edited, local, playlist, sidecar, dropped = (
        house.dest / name
        for name in (
            "media/01 - E.P. - Title t1.wav",
            "media/03 - Intro.wav",
            "Friday Warm-up.m3u8",
            "media/01 - E.P. - Title t1.wav.asd",
            "media/02 - E.P. - Title t2.wav",
        )
    )
    for path in (edited, local, playlist, dropped):
        edit_unseen(path)
        if is_seen:
            path.touch()
    sidecar.write_text("mine")
    house.write("t1")
    before = playlist.read_bytes()
    house.export(link_mode=mode, overwrite_edited=True)
    assert (edited.read_bytes(), local.read_bytes()) == (sound("t1"), sound("local"))
    assert playlist.read_bytes() != before
    assert sidecar.read_text() == "mine"
    assert dropped.read_bytes() != sound("t2")
    assert house.warnings().count("edited_file_kept") == 1


def test_what_a_killed_export_staged_is_swept_by_the_next_one_wherever_it_goes(house: House) -> None:
    with Cache.open(house.config) as cache:
        lock = RunLock(cache.store.root.runs)
        with cache.store._transaction() as ledger:
            ledger.put_run(lock.id, RunRow("export", 0.0, str(house.dest)))
    staging = house.dest.parent / f".Friday{staging_suffix(lock.id)}"
    (staging / "media").mkdir(parents=True)
    house.export(house.folder / "other")
    assert staging.exists()
    assert lock._lock is not None
    lock._lock.release()
    house.export(house.folder / "another")
    assert not staging.exists()


def test_what_changed_on_the_server_or_in_the_local_file_is_renewed_under_its_name(house: House, music: Music) -> None:
    house.export()
    names, before = house.media(), (house.dest / "media" / house.media()[1]).stat().st_ino
    music.tracks["t1"] = sound("new bytes")
    house.local.write_bytes(sound("new local") + b"\0")
    house.export()
    assert house.media() == names
    assert (house.dest / "media" / names[0]).read_bytes() == sound("new bytes")
    assert (house.dest / "media" / names[1]).stat().st_ino == before
    assert (house.dest / "media" / names[2]).read_bytes() == sound("new local") + b"\0"


def test_a_file_edited_through_its_link_is_kept_and_the_cache_is_mended(
    house: House, music: Music, tmp_path: Path
) -> None:
    house.export()
    edited = house.dest / "media" / house.media()[0]
    edited.chmod(0o644)
    edited.write_bytes(b"my tags" + sound("t1"))
    house.export()
    assert edited.read_bytes() == b"my tags" + sound("t1")
    assert "edited_file_kept" in house.warnings()
    assert music.downloads() == 3
    house.export(tmp_path / "other")
    assert (tmp_path / "other/media" / edited.name).read_bytes() == sound("t1")


def edit_unseen(path: Path) -> bytes:
    """Change a file as tag editors do: in place, of one size, its times put back."""
    before = path.stat()
    path.chmod(0o644)
    edited = path.read_bytes()[:-4] + b"mine"
    path.write_bytes(edited)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return edited


def records(house: House) -> list[dict[str, Any]]:
    tracks: list[dict[str, Any]] = json.loads((house.dest / "bundle.json").read_text())["tracks"]
    return tracks


def test_an_edit_that_cannot_be_seen_is_told_in_every_export_and_recorded(house: House, music: Music) -> None:
    house.export()
    path = house.dest / "media" / house.media()[0]
    before, original = records(house), path.read_bytes()
    assert [record["edited"] for record in before] == [False, False, False]
    edited = edit_unseen(path)
    for _ in range(3):
        house.told.clear()
        house.export()
        assert house.warnings().count("edited_file_kept") == 1
        assert path.read_bytes() == edited
        [first, *others] = records(house)
        assert first["edited"]
        assert [first[name] for name in ("key", "validator", "digest", "freshness", "size", "link_mode")] == [None] * 6
        assert (first["file"], first["status"], others) == (before[0]["file"], "done", before[1:])
    assert music.downloads() == 3
    path.write_bytes(original)
    house.told.clear()
    house.export()
    assert (house.warnings(), records(house)) == ([], before)


def test_an_edit_of_what_was_a_link_once_is_told_too_with_its_times_put_back(house: House) -> None:
    house.export()
    original, house.dest = house.dest, house.folder / "copy"
    shutil.copytree(original, house.dest)
    house.export()
    path = house.dest / "media" / house.media()[0]
    before = stamps(house.dest)
    house.export()
    assert stamps(house.dest) == before
    edited = edit_unseen(path)
    house.told.clear()
    house.export()
    assert house.warnings() == ["edited_file_kept"]
    assert path.read_bytes() == edited
    assert records(house)[0]["edited"]


def test_a_bundle_that_is_as_it_was_is_not_hashed(house: House, music: Music, monkeypatch: pytest.MonkeyPatch) -> None:
    house.export()
    hashed: list[Path] = []

    def noting(path: Path) -> str:
        hashed.append(path)
        return hash_file(path)

    monkeypatch.setattr(destination, "hash_file", noting)
    house.export()
    house.export()
    assert hashed == []


def test_links_to_the_blobs_of_a_store_that_is_gone_are_hashed_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = house.folder / "other"
    house.export()
    house.export(other)
    shutil.rmtree(house.config.root)
    before = inodes(house.dest / "media")
    assert [house.export(dest).linked for dest in (house.dest, other)] == [0, 0]
    assert inodes(house.dest / "media") == before
    recorded = stamps(house.dest), stamps(other)
    monkeypatch.setattr(destination, "hash_file", hashed := Mock(side_effect=hash_file))
    for dest in (house.dest, other):
        house.export(dest)
    hashed.assert_not_called()
    assert (stamps(house.dest), stamps(other)) == recorded
    assert not any(path.stat().st_mode & stat.S_IWUSR for path in other.glob("media/*E.P.*"))  # they have another name
    house.export(link_mode="copy")
    copies = [path.stat() for path in house.dest.glob("media/*E.P.*")]
    assert [(file.st_nlink, bool(file.st_mode & stat.S_IWUSR)) for file in copies] == [(1, True)] * 2
    assert house.export(link_mode="hardlink").linked == 2


@pytest.mark.parametrize("mode", ["hardlink", "copy"])
@pytest.mark.parametrize("change", ["new version", "dropped"])
def test_an_edit_that_cannot_be_seen_is_neither_replaced_nor_removed(
    house: House, music: Music, mode: str, change: str
) -> None:
    house.export(link_mode=mode)
    path = house.dest / "media" / house.media()[0]
    edited = edit_unseen(path)
    if change == "dropped":
        house.write("t2")
    else:
        music.tracks["t1"] = sound("new bytes")
    house.export(link_mode=mode)
    assert path.read_bytes() == edited
    assert "edited_file_kept" in house.warnings()


@pytest.mark.parametrize("mode", ["hardlink", "copy"])
def test_an_edit_made_while_the_export_runs_is_not_replaced(house: House, music: Music, mode: str) -> None:
    house.export(link_mode=mode)
    path = house.dest / "media" / house.media()[0]
    music.tracks["t1"] = sound("new bytes")
    edits: list[bytes] = []

    def edit_at_the_end(event: Event) -> None:
        house.told.append(event)
        if isinstance(event, TrackEvent) and event.index == 2 and event.state is State.DONE:
            edits.append(edit_unseen(path))

    with Cache.open(house.config) as cache:
        export_mix(house.mix, house.dest, Options(link_mode=mode), cache=cache, on_event=edit_at_the_end)
    assert [path.read_bytes()] == edits
    assert "edited_file_kept" in house.warnings()
    house.export(link_mode=mode)
    assert [path.read_bytes()] == edits


def test_an_edited_copy_of_a_local_track_and_an_edited_playlist_are_kept(house: House) -> None:
    house.export()
    local, playlist = house.dest / "media" / house.media()[2], house.dest / "Friday Warm-up.m3u8"
    edits = {path: edit_unseen(path) for path in (local, playlist)}
    house.local.write_bytes(sound("new local") + b"\0")
    house.write("t2", "t1")
    house.export()
    assert {path: path.read_bytes() for path in edits} == edits
    assert house.warnings().count("edited_file_kept") == 2


def test_a_destination_whose_name_is_not_utf_8_is_a_destination(house: House) -> None:
    dest = Path(os.fsdecode(os.fsencode(house.folder) + b"/out-\xe9"))
    assert house.export(dest).exit_code == 0
    assert house.export(dest).exit_code == 0
    assert len(house.media(dest)) == 3


def test_what_the_bound_left_no_room_for_is_told(house: House) -> None:
    house.config = replace(house.config, max_size=20_000)
    house.export(link_mode="copy")
    assert "not_kept" in house.warnings()


def test_a_track_that_fails_now_keeps_the_file_it_had(house: House, music: Music) -> None:
    house.export()
    names = house.media()
    music.statuses["t1"] = 404
    assert house.export(on_error="skip").exit_code == 3
    assert house.media() == names
    assert house.manifest()["tracks"][0]["file"] is None
    del music.statuses["t1"]
    assert house.export().exit_code == 0
    assert house.media() == names


# Names


def test_files_are_called_by_the_template_of_the_option_or_the_configuration(house: House) -> None:
    house.config = replace(house.config, template="{title}")
    house.export()
    assert house.media() == ["Intro.wav", "Title t1.wav", "Title t2.wav"]
    other = house.folder / "other"
    house.export(other, template="{artist}_{id}")
    assert house.media(other) == ["E.P._t1.wav", "E.P._t2.wav", "Intro.wav"]


def test_titles_that_the_service_gives_are_kept_apart_without_an_index(house: House) -> None:
    rows = [{"source": "studio", "id": "t1", "title": "t2"}, {"source": "studio", "id": "a/t2.wav"}]
    house.mix.write_text(json.dumps({"tracks": [*rows, {"path": "Local/Intro.wave", "title": "T2"}]}))
    house.export(template="{title}", on_error="skip")
    assert [re.sub(r"[0-9a-f]{6}", "HEX", name) for name in house.media()] == ["T2 [HEX].wav", "t2 [HEX].wav"]


def late_names(house: House, dest: str, *ids: str) -> dict[str, str]:
    """Export tracks without titles in this order and return their files."""
    house.mix.write_text(json.dumps({"tracks": [{"source": "studio", "id": track} for track in ids]}))
    house.export(house.folder / dest, template="{title}")
    records = json.loads((house.folder / dest / "bundle.json").read_text())["files"]
    return {own["identity"]: own["file"] for own in records if own["identity"]}


def test_titles_that_come_with_the_download_name_files_whatever_the_order_and_the_cache(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter_plugin.gather._linked", _called_the_same(gather._linked))
    first = late_names(house, "first", "t1", "t2")
    assert [re.sub(r"[0-9a-f]{6}", "HEX", file) for file in first.values()] == ["media/Song [HEX].wav"] * 2
    assert late_names(house, "second", "t2", "t1") == first
    assert {(house.folder / "first" / file).read_bytes() for file in first.values()} == {sound("t1"), sound("t2")}
    assert late_names(house, "first", "t2", "t1") == first


def _called_the_same(linked: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Let a service call all tracks "Song"."""

    def link(row: Row, *rest: object) -> Outcome:
        return linked(row.called("Song"), *rest)

    return link


def test_a_template_that_is_wrong_is_refused_before_anything_is_asked(house: House, music: Music) -> None:
    done = invoke(house, music, str(house.mix), str(house.dest), "--template", "{artits} - {title}")
    assert isinstance(done.exception, TemplateError)
    assert (done.exception.exit_code, music.asked) == (2, [])
    house.assert_nothing_left()


# Failures


def test_one_failure_publishes_nothing_and_every_failure_is_named(house: House, music: Music) -> None:
    music.statuses["t2"] = 404
    house.local.unlink()
    with pytest.raises(ExportFailed) as caught:
        house.export()
    assert [error.code for error in caught.value.failures] == ["not_found", "local_file"]
    assert (caught.value.kept, caught.value.cloud, caught.value.rows, caught.value.exit_code) == (1, 2, 3, 1)
    house.assert_nothing_left()
    assert [house.states(n)[-1] for n in range(3)] == [State.DONE, State.FAILED, State.FAILED]
    assert_one_terminal_state_each(house.told, rows=3)


def test_skip_publishes_with_a_visible_hole(house: House, music: Music) -> None:
    music.statuses["t1"] = 404
    report = house.export(on_error="skip")
    assert (report.failed, report.result, report.exit_code) == (1, "partial", 3)
    assert house.states(0)[-1] is State.SKIPPED
    assert "# MISSING: E.P. - Title t1 (" in (house.dest / "Friday Warm-up.m3u8").read_text()
    hole = house.manifest()["tracks"][0]
    assert (hole["status"], hole["file"], hole["error"]["code"]) == ("skipped", None, "not_found")


def test_skip_with_nothing_usable_publishes_nothing(house: House, music: Music) -> None:
    music.statuses |= {"t1": 404, "t2": 404}
    house.local.unlink()
    with pytest.raises(ExportFailed):
        house.export(on_error="skip")
    house.assert_nothing_left()


@pytest.mark.parametrize(
    ("statuses", "exit_code"), [((503, 503), 75), ((401, 403), 77), ((503, 401), 1), ((404, 404), 1)]
)
def test_the_exit_code_says_what_all_failures_have_in_common(
    house: House, music: Music, statuses: tuple[int, int], exit_code: int
) -> None:
    music.statuses = dict(zip(("t1", "t2"), statuses, strict=True))
    with pytest.raises(ExportFailed) as caught:
        house.export()
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize("what", ["missing", "folder", "text", "fifo"])
def test_a_local_path_that_is_no_audio_file_is_one_sentence(house: House, what: str) -> None:
    house.local.unlink()
    if what == "folder":
        house.local.mkdir()
    elif what == "text":
        house.local.write_text("<html>")
    elif what == "fifo":
        os.mkfifo(house.local)
    with pytest.raises(ExportFailed) as caught:
        house.export()
    unknown = "is of no kind of audio that is known here (mp3, flac, "
    sentences = {"missing": "there is no file", "text": unknown}
    assert sentences.get(what, "is no file") in str(caught.value)
    assert "Local/Intro.wave (relative to the mix)" in str(caught.value)


def test_a_blob_that_is_damaged_when_it_is_linked_is_fetched_once_more(
    house: House, monkeypatch: pytest.MonkeyPatch, music: Music
) -> None:
    link, broken = Cache.link, iter([True])

    def damaged_once(self: Cache, entry: Entry, dest: Path, mode: LinkMode) -> LinkMode:
        if next(broken, False):
            self.store.blobs.remove(entry.digest)
        return link(self, entry, dest, mode)

    monkeypatch.setattr(Cache, "link", damaged_once)
    house.export()
    assert len(house.media()) == 3
    assert music.downloads() == 3
    assert_one_terminal_state_each(house.told, rows=3)


def test_a_blob_that_is_damaged_whenever_it_is_linked_fails_for_now_and_says_why(
    house: House, monkeypatch: pytest.MonkeyPatch, music: Music
) -> None:
    link = Cache.link

    def damaged(self: Cache, entry: Entry, dest: Path, mode: LinkMode) -> LinkMode:
        if entry.id == "t1":
            self.store.blobs.remove(entry.digest)
        return link(self, entry, dest, mode)

    monkeypatch.setattr(Cache, "link", damaged)
    result = invoke(house, music, str(house.mix), str(house.dest))
    sentence = "changed while it was linked, twice; find out which program writes into the store"
    assert result.return_value == 75
    assert f"  E.P. - Title t1: its cached file was {sentence}\n1 of 2 is cached; run again: " in result.stderr
    assert music.downloads() == 3
    house.assert_nothing_left()


def test_what_ends_the_export_as_a_whole_leaves_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> LinkMode:
        raise NoSpace(house.dest)

    monkeypatch.setattr(gather, "link_file", full)
    with pytest.raises(NoSpace):
        house.export()
    house.assert_nothing_left()
    assert house.states(2)[-1] is State.CANCELLED


def test_a_full_disk_while_publishing_leaves_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("exporter_plugin.publish.write_manifest", full)
    with pytest.raises(NoSpace):
        house.export()
    house.assert_nothing_left()


def test_a_cancel_publishes_nothing_and_closes_every_row(house: House, music: Music) -> None:
    cancel = threading.Event()

    def stop_at_first_done(event: Event) -> None:
        house.told.append(event)
        if isinstance(event, TrackEvent) and event.state is State.DONE:
            cancel.set()

    with Cache.open(house.config) as cache, pytest.raises(Cancelled):
        export_mix(house.mix, house.dest, cache=cache, on_event=stop_at_first_done, cancel=cancel)
    house.assert_nothing_left()
    assert_one_terminal_state_each(house.told, rows=3)
    assert house.states(2)[-1] is State.CANCELLED
    with Cache.open(house.config) as cache:
        assert next(iter(cache.store.entries())).label


@pytest.mark.parametrize("is_reflinked", [False, True])
def test_a_cancel_ends_the_copy_of_a_local_file(
    house: House, monkeypatch: pytest.MonkeyPatch, *, is_reflinked: bool
) -> None:
    """Where it is a reflink, it is hashed still."""
    monkeypatch.setattr("exporter_plugin.staging.can_reflink", lambda *_: is_reflinked)
    monkeypatch.setattr("cachestore.links._reflink", shutil.copyfile if is_reflinked else no_reflinks)
    cancel = threading.Event()

    def stop_when_it_is_linked(event: Event) -> None:
        house.told.append(event)
        if isinstance(event, TrackEvent) and event.index == 2 and event.state is State.LINKING:
            cancel.set()

    with Cache.open(house.config) as cache, pytest.raises(Cancelled):
        export_mix(house.mix, house.dest, cache=cache, on_event=stop_when_it_is_linked, cancel=cancel)
    house.assert_nothing_left()
    assert house.states(2) == [State.QUEUED, State.LINKING, State.CANCELLED]


@pytest.mark.parametrize("is_dry", [False, True])
def test_a_cancel_ends_the_hashing_of_files_whose_times_are_others(
    house: House, monkeypatch: pytest.MonkeyPatch, *, is_dry: bool
) -> None:
    house.export(link_mode="copy")
    for file in (house.dest / "media").iterdir():
        os.utime(file, (1, 1))
    cancel, ended = threading.Event(), list[Path]()

    def hash_until_cancelled(path: Path) -> str:
        cancel.set()
        try:
            return hash_file(path)
        except Cancelled:
            ended.append(path)
            raise

    monkeypatch.setattr(destination, "hash_file", hash_until_cancelled)
    mix = read_mix(house.mix)
    with Cache.open(house.config) as cache:
        ask = partial(plan_export, config=cache.config) if is_dry else partial(export_mix, cache=cache)
        with pytest.raises(Cancelled):
            ask(mix, house.dest, cancel=cancel)
    assert len(ended) == 1


def test_a_cancel_after_a_bundle_is_there_cancels_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has the index just then: what is still to be noted is left to the next export."""
    house.export()
    house.write("t3")
    cancel = threading.Event()
    with closing(sqlite3.connect(house.config.root / "index-v1/cache.db", isolation_level=None)) as other:

        def write(path: Path, manifest: Manifest) -> None:
            write_manifest(path, manifest)
            if manifest.finished:
                cancel.set()
                other.execute("BEGIN IMMEDIATE")

        monkeypatch.setattr(publish, "write_manifest", write)
        with Cache.open(house.config, cancel=cancel) as cache:
            report = export_mix(house.mix, house.dest, cache=cache, cancel=cancel)
    monkeypatch.undo()
    assert (report.result, report.downloaded, house.media()) == (
        "ok",
        1,
        ["01 - E.P. - Title t3.wav", "03 - Intro.wav"],
    )
    house.export()
    with Cache.open(house.config) as cache:
        assert [len(bundle.files) for bundle in cache.store.bundles()] == [1]
        assert list(cache.store.runs()) == []


def test_a_cancel_ends_the_look_at_what_is_to_be_renumbered(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.export()
    before, cancel = stamps(house.dest), threading.Event()
    cancel.set()
    monkeypatch.setattr("exporter_plugin.export.gather", Mock(side_effect=AssertionError))
    with Cache.open(house.config) as cache, pytest.raises(Cancelled):
        export_mix(house.mix, house.dest, Options(renumber=True), cache=cache, cancel=cancel)
    assert stamps(house.dest) == before


@pytest.mark.parametrize("is_dry", [False, True])
@pytest.mark.parametrize("place", ["m3u8.render", "dawproject.render"])
def test_a_cancel_ends_the_look_at_headers(
    house: House, monkeypatch: pytest.MonkeyPatch, place: str, *, is_dry: bool
) -> None:
    """Of many files on a slow disk it takes minutes."""
    house.write("t1", "t2", start=1)
    house.export(formats=("rpp",))
    before, cancel, looks = stamps(house.dest), threading.Event(), list[Path]()

    def look_until_cancelled(path: Path, _: str) -> Facts:
        looks.append(path)
        cancel.set()
        return Facts()

    monkeypatch.setattr("exporter_plugin.formats.view.facts_of", look_until_cancelled)
    if place != "m3u8.render":  # which has looked at all of them by then
        monkeypatch.setattr("exporter_plugin.formats.m3u8.render", lambda _: b"")
    mix = read_mix(house.mix)
    with Cache.open(house.config) as cache:
        ask = partial(plan_export, config=cache.config) if is_dry else partial(export_mix, cache=cache)
        with pytest.raises(Cancelled):
            ask(mix, house.dest, cancel=cancel)
    assert len(looks) == 1
    assert stamps(house.dest) == before


# Link modes


def test_auto_copies_where_links_are_impossible_and_says_so_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.link", no_links)
    report = house.export()
    assert (report.linked, report.copied) == (0, 3)
    [warning] = [event for event in house.told if isinstance(event, WarningEvent)]
    assert warning.code == "link_fallback_copy"
    assert "2 files were copied" in warning.message
    house.export()
    assert house.warnings() == []
    with pytest.raises(LinkError):
        house.export(link_mode="hardlink")
    assert len(house.media()) == 3


def test_copies_are_private_to_the_user(house: House) -> None:
    report = house.export(link_mode=LinkMode.COPY)
    assert (report.linked, report.copied) == (0, 3)
    files = [(house.dest / "media" / name).stat() for name in house.media()]
    assert all(file.st_nlink == 1 and file.st_mode & stat.S_IWUSR for file in files)


def test_editable_files_are_writable_and_of_their_own_by_option_or_configuration(house: House) -> None:
    before = os.umask(0o027)
    try:
        house.export(editable=True)
    finally:
        os.umask(before)
    files = [(house.dest / "media" / name).stat() for name in house.media()]
    assert [(file.st_nlink, stat.S_IMODE(file.st_mode)) for file in files] == [(1, 0o640)] * 3
    assert {own["link_mode"] for own in house.manifest()["files"] if own["link_mode"]} <= {"reflink", "copy"}
    assert house.warnings() == []
    configured = replace(house.config, editable=True)
    house.config, dest = configured, house.folder / "other"
    assert house.export(dest).linked == 0
    assert house.export(house.folder / "links", link_mode="auto").linked == 2


def test_links_are_replaced_when_they_are_to_be_editable(house: House) -> None:
    assert house.export().linked == 2
    assert house.export(editable=True).linked == 0
    before = inodes(house.dest)
    house.export(editable=True)
    assert inodes(house.dest) == before


@pytest.mark.parametrize(("options", "linked"), [({}, 0), ({"link_mode": "hardlink"}, 2), ({"editable": True}, 0)])
def test_a_copy_of_a_bundle_has_no_hard_links(house: House, options: dict[str, Any], linked: int) -> None:
    house.export()
    original, house.dest = house.dest, house.folder / "copy"
    shutil.copytree(original, house.dest)  # modes and times are copied, too
    report = house.export(**options)
    assert (report.linked, report.copied, house.warnings()) == (linked, 3 - linked, [])
    modes = {own["link_mode"] for own in house.manifest()["files"] if (own["identity"] or "").startswith("studio")}
    assert (modes == {"hardlink"}) is bool(linked)
    files = [(house.dest / "media" / name).stat() for name in house.media()[:2]]
    assert {file.st_nlink for file in files} == ({3} if linked else {1})
    assert {bool(file.st_mode & stat.S_IWUSR) for file in files} == {not linked}
    blobs = [(original / "media" / name).stat() for name in house.media(original)[:2]]
    assert not any(file.st_mode & stat.S_IWUSR for file in blobs)
    before = stamps(house.dest)
    house.export(**options)
    assert stamps(house.dest) == before


def test_editable_and_a_strict_link_mode_contradict_each_other(house: House) -> None:
    with pytest.raises(ValueError, match="choose one"):
        house.export(editable=True, link_mode="hardlink")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"on_error": "skipp"}, "on_error is 'skipp'; expected fail or skip"),
        ({"formats": "rpp"}, "formats is 'rpp'; expected a list of names, such as ['rpp']"),
    ],
)
def test_options_that_mean_nothing_are_refused(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Options(**asked)


@pytest.mark.parametrize(
    ("asked", "name"),
    [("https://x.y/?token=SEKRET", "Friday Warm-up"), ("Set of https://x.y/?token=SEKRET", "Set of https://x.y/?…")],
)
def test_a_name_that_is_asked_for_is_told_without_secrets(house: House, asked: str, name: str) -> None:
    assert house.export(name=asked).name == name
    assert not list(house.dest.rglob("*SEKRET*"))
    assert "SEKRET" not in (house.dest / "bundle.json").read_text()


def limit_disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Let the disk of the bundle have so many bytes free, as long as nothing is written."""
    usage = SimpleNamespace(free=free)
    monkeypatch.setattr("exporter_plugin.space.shutil", SimpleNamespace(disk_usage=lambda _: usage))


@pytest.mark.parametrize("options", [{}, {"link_mode": "copy"}, {"editable": True}])
def test_what_is_to_be_copied_has_to_fit_before_the_first_copy(
    house: House, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """Also where it takes a try to see that nothing else is possible here."""
    house.export(house.folder / "cached")
    needed = len(sound("t1")) * 3
    monkeypatch.setattr("exporter_plugin.staging.can_reflink", lambda *_: False)
    monkeypatch.setattr("cachestore.links._reflink", no_reflinks)
    monkeypatch.setattr("os.link", no_links)
    monkeypatch.setattr("cachestore.links._copy", copied := Mock(side_effect=_copy))
    limit_disk(monkeypatch, needed - 1)
    with pytest.raises(NoSpaceForCopies) as caught:
        house.export(**options)
    assert (caught.value.needed, caught.value.free, caught.value.exit_code) == (needed, needed - 1, 4)
    assert re.search(r" kB are to be copied and [0-9.]+ kB are free", str(caught.value))
    copied.assert_not_called()
    house.assert_nothing_left()
    limit_disk(monkeypatch, needed)
    house.export(**options)
    limit_disk(monkeypatch, 0)
    house.export(**options)


def test_what_is_reflinked_needs_no_space_though_a_track_on_another_volume_does(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    far, near = house.folder / "far.wav", [house.folder / f"near{number}.wav" for number in range(2)]
    for path in (far, *near):
        path.write_bytes(sound(path.name))
    rows = tuple(Row(Track("file", path.name, title=path.stem), path) for path in (far, *near))
    monkeypatch.setattr("exporter_plugin.staging._device", lambda row: int(row.path == far))
    monkeypatch.setattr("exporter_plugin.staging.can_reflink", lambda path, _: path != far)
    monkeypatch.setattr("cachestore.links._reflink", lambda source, dest: _copy(source, dest) and LinkMode.REFLINK)
    limit_disk(monkeypatch, len(sound("far")))
    with Cache.open(house.config) as cache:
        assert export_mix(Mix("", rows), house.dest, cache=cache).copied == 3
        limit_disk(monkeypatch, len(sound("far")) - 1)
        with pytest.raises(NoSpaceForCopies, match=re.escape(f"at {house.folder / 'other'}: ")):
            export_mix(Mix("", rows), house.folder / "other", cache=cache)


def no_reflinks(_: Path, dest: Path) -> LinkMode:
    raise LinkError(dest, LinkMode.REFLINK, "not supported")


def test_links_need_no_space(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_disk(monkeypatch, len(sound("local")))
    assert house.export().linked == 2


def no_links(*_: object) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def test_copies_where_links_are_impossible_have_to_fit_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.link", no_links)
    limit_disk(monkeypatch, len(sound("t1")))
    with pytest.raises(NoSpaceForCopies):
        house.export()
    house.assert_nothing_left()


def test_the_name_is_asked_for_or_that_of_the_mix_or_of_the_folder(house: House, music: Music) -> None:
    assert house.export(name="Asked").name == "Asked"
    assert house.export().name == "Friday Warm-up"
    nameless = Mix("", (Row(Track("file", "Intro.wave", title="Intro"), house.local),))
    with Cache.open(house.config) as cache:
        assert export_mix(nameless, house.folder / "Sunday", cache=cache).name == "Sunday"


def test_the_bound_is_enforced_when_the_bundle_is_published(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(Cache, "enforce_bound", lambda *_: seen.append((house.dest / "bundle.json").exists()))
    house.export()
    assert seen
    assert all(seen)


# The command line


def invoke(house: House, music: Music, *args: str, stdin: str | None = None) -> Result:
    config = house.folder / "config.toml"
    config.write_text(
        f'root = "{house.folder / "root"}"\nmin_free = "0"\nretries = 0\n'
        f'[sources.studio]\nkind = "http"\nurl = "{music.url}"\n'
    )
    return CliRunner().invoke(cli, ["--config", str(config), "export", *args], input=stdin, standalone_mode=False)


def test_a_person_is_told_what_was_done(house: House, music: Music) -> None:
    done = invoke(house, music, str(house.mix), str(house.dest))
    assert (done.exception, done.return_value) == (None, 0)
    size = f"{3 * len(sound('t1')) / 1000:.1f} kB"
    assert re.sub(r"[0-9.]+ s$", "N s", done.stdout, flags=re.MULTILINE).splitlines() == [
        "tracks      3",
        "downloaded  2",
        "from cache  0",
        "local       1",
        "skipped     0",
        f"audio       {size} in 2 hard links, 1 copy",
        "time        N s",
        f"bundle      {house.dest}",
        "read-only links; for programs that write tags use --editable",
    ]


def test_a_file_that_somebody_changed_is_told_as_such(house: House, music: Music) -> None:
    house.export()
    path = house.dest / "media" / house.media()[0]
    path.chmod(0o644)
    path.write_bytes(bytes(1_000_000))
    done = invoke(house, music, str(house.mix), str(house.dest))
    size = f"{(1_000_000 + 2 * len(sound('t2'))) / 1_000_000:.1f} MB"
    assert f"audio       {size} in 1 hard link, 1 copy, 1 edited" in done.stdout.splitlines()
    facts = json.loads(invoke(house, music, str(house.mix), str(house.dest), "--json").stdout)
    assert (facts["linked"], facts["copied"], facts["edited"]) == (1, 1, 1)


def test_json_has_the_documented_keys(house: House, music: Music) -> None:
    music.statuses["t1"] = 404
    done = invoke(house, music, str(house.mix), str(house.dest), "--json", "--on-error", "skip")
    facts = json.loads(done.stdout)
    assert done.return_value == facts["exit_code"] == 3
    assert list(facts) == [
        *("result", "exit_code", "dest", "name", "total", "cloud", "downloaded", "cached", "local", "failed", "stale"),
        *("kept", "bytes", "linked", "copied", "edited", "seconds", "errors"),
    ]
    assert (facts["errors"][0]["track"], facts["errors"][0]["code"]) == ("studio:t1", "not_found")


def test_a_failed_export_ends_with_the_command_to_run_again(house: House, music: Music) -> None:
    music.statuses["t1"] = 503
    dest = house.folder / "out" / "it's Friday"
    done = invoke(house, music, str(house.mix), str(dest), "--on-error", "fail", "--jobs", "2")
    assert done.return_value == 75
    last = done.stderr.splitlines()[-1]
    said, _, command = last.partition("; run again: ")
    assert said == "1 of 2 is cached"
    config = str(house.folder / "config.toml")
    options = ["--on-error", "fail", "--jobs", "2"]
    assert shlex.split(command) == ["cachestore", "--config", config, "export", *options, str(house.mix), str(dest)]
    music.statuses.clear()
    assert invoke(house, music, *shlex.split(command)[4:]).return_value == 0


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_what_the_bound_evicted_does_not_count_as_cached(house: House, music: Music, on_error: str) -> None:
    music.statuses["t3"] = 404
    house.config = replace(house.config, max_size=20_000)
    house.write("t1", "t2", "t3")
    counts: ExportFailed | Report
    try:
        counts = house.export(link_mode="copy", on_error=on_error)
    except ExportFailed as failed:
        counts = failed
    with Cache.open(house.config) as cache:
        kept = len(list(cache.store.entries()))
    assert (counts.kept, counts.cloud) == (kept, 3)
    assert kept < 2
    assert "not_kept" in house.warnings()


def test_a_mix_without_cloud_tracks_has_nothing_cached(house: House, music: Music) -> None:
    house.write()
    house.local.unlink()
    done = invoke(house, music, str(house.mix), str(house.dest))
    assert done.stderr.splitlines()[-1].startswith("run again: cachestore ")


def test_a_bundle_with_holes_ends_with_the_command_that_fills_them(house: House, music: Music) -> None:
    music.statuses["t1"] = 503
    options = ("--on-error", "skip", "--editable")
    done = invoke(house, music, str(house.mix), str(house.dest), *options)
    assert done.return_value == 3
    said, _, command = done.stderr.splitlines()[-1].partition("; run again: ")
    assert said == "1 of 2 is cached"
    music.statuses.clear()
    assert invoke(house, music, *shlex.split(command)[4:]).return_value == 0
    assert len(house.media()) == 3
    assert not [own for own in house.manifest()["files"] if own["link_mode"] == "hardlink"]


def test_what_is_not_cached_is_not_to_be_asked_for_offline_again(house: House, music: Music) -> None:
    done = invoke(house, music, str(house.mix), str(house.dest), "--offline", "--jobs", "2")
    command = shlex.split(done.stderr.splitlines()[-1].partition("; run again: ")[2])
    assert command[3:] == ["export", "--jobs", "2", str(house.mix), str(house.dest)]
    assert invoke(house, music, *command[4:]).return_value == 0


def test_offline_stays_where_no_network_would_help(house: House, music: Music) -> None:
    house.write("t1")
    assert invoke(house, music, str(house.mix), str(house.dest)).return_value == 0
    house.mix.write_text('{"tracks": [{"path": "none.wav"}, {"source": "studio", "id": "t1"}]}')
    done = invoke(house, music, str(house.mix), str(house.dest), "--offline")
    assert " export --offline " in done.stderr.splitlines()[-1]


def test_events_are_all_that_stdout_has_and_end_comes_last(house: House, music: Music) -> None:
    done = invoke(house, music, str(house.mix), str(house.dest), "--events", "ndjson")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["type"] == "start"
    assert (events[-1]["type"], events[-1]["result"], events[-1]["exit_code"]) == ("end", "ok", 0)
    assert {event["origin"] for event in events if event.get("state") == "done"} == {
        Provenance.NETWORK,
        Provenance.LOCAL,
    }


def test_a_mix_comes_from_standard_input(house: House, music: Music) -> None:
    mix = '{"tracks": [{"source": "studio", "id": "t1"}]}'
    assert invoke(house, music, "-", str(house.dest), stdin=mix).return_value == 0
    assert house.media() == ["01 - t1.wav"]
    assert (house.dest / "Friday.m3u8").exists()


@pytest.mark.parametrize(
    "options",
    [("--offline", "--refresh"), ("--json", "--events", "ndjson"), ("--editable", "--link-mode", "hardlink")],
)
def test_options_that_contradict_each_other_are_refused(house: House, music: Music, options: tuple[str, ...]) -> None:
    done = invoke(house, music, str(house.mix), str(house.dest), *options)
    assert isinstance(done.exception, click.UsageError)
    house.assert_nothing_left()


def test_an_export_that_cannot_start_asks_no_server(house: House, music: Music) -> None:
    house.dest.mkdir(parents=True)
    (house.dest / "thesis.txt").touch()
    with pytest.raises(DestinationError) as caught:
        house.export()
    assert caught.value.exit_code == 4
    assert music.asked == []
