"""What goes is hashed before anything is written, once, and an edit made after that is seen by a look."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from cachestore.blobs import hash_file
from cachestore.cache import Cache
from cachestore.errors import Cancelled, DestinationError
from exporter_plugin import destination as destination_room
from exporter_plugin import publish as publish_room
from exporter_plugin.export import export_mix
from exporter_plugin.manifest import read_manifest, write_manifest
from exporter_plugin.options import Options
from tests import test_bundle
from tests.test_export import House, Music, edit_unseen, running, stamps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from exporter_plugin.manifest import Manifest


@pytest.fixture
def music() -> Iterator[Music]:
    with running(Music()) as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, music: Music) -> House:
    return House(tmp_path, music)


@pytest.fixture
def hashed(house: House, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Files of the bundle as they are hashed, and whether it was finished then."""
    seen: list[tuple[str, bool]] = []

    def noted(path: Path) -> str:
        published = read_manifest(house.dest / "bundle.json")
        assert published is not None
        seen.append((path.name, published.finished))
        return hash_file(path)

    monkeypatch.setattr(destination_room, "hash_file", noted)
    return seen


def once_unfinished(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Act right before bundle.json is written as unfinished."""

    def write(path: Path, manifest: Manifest) -> None:
        if not manifest.finished:
            act()
        write_manifest(path, manifest)

    monkeypatch.setattr(publish_room, "write_manifest", write)


@pytest.mark.parametrize("mode", ["hardlink", "copy"])
def test_a_cancel_ends_the_look_at_what_is_to_be_removed(
    house: House, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    house.export(link_mode=mode)
    before, cancel = stamps(house.dest / "media"), threading.Event()
    house.write("t2")

    def hash_until_cancelled(path: Path) -> str:
        cancel.set()
        return hash_file(path)

    monkeypatch.setattr(destination_room, "hash_file", hash_until_cancelled)
    with Cache.open(house.config) as cache, pytest.raises(Cancelled):
        export_mix(house.mix, house.dest, Options(link_mode=mode), cache=cache, cancel=cancel)
    assert cancel.is_set()
    assert stamps(house.dest / "media") == before
    assert [path.name for path in house.dest.parent.iterdir()] == [house.dest.name]


@pytest.mark.parametrize("mode", ["hardlink", "copy"])
def test_what_is_removed_or_replaced_is_hashed_while_the_bundle_is_whole(
    house: House, music: Music, hashed: list[tuple[str, bool]], mode: str
) -> None:
    house.export(link_mode=mode)
    music.tracks["t2"] = b"RIFF" + music.tracks["t3"][4:]
    house.write("t2")
    house.export(link_mode=mode)
    assert len(house.media()) == 2
    assert {name for name, _ in hashed} >= {"01 - E.P. - Title t1.wav", "02 - E.P. - Title t2.wav"}
    assert all(finished for _, finished in hashed)


def test_new_names_for_links_to_one_blob_let_nothing_be_hashed_again(
    house: House, hashed: list[tuple[str, bool]]
) -> None:
    """Its other name gets another ctime when the new one is put in place."""
    house.export()
    house.write("t3", "t1", "t2")
    house.export(renumber=True)
    assert house.media()[:3] == [f"0{n} - E.P. - Title t{t}.wav" for n, t in ((1, 3), (2, 1), (3, 2))]
    assert hashed
    assert all(finished for _, finished in hashed)


@pytest.mark.parametrize("mode", ["hardlink", "copy"])
@pytest.mark.parametrize("change", ["dropped", "renumbered", "new version"])
def test_an_edit_after_the_look_at_the_bytes_is_kept(
    house: House, music: Music, monkeypatch: pytest.MonkeyPatch, mode: str, change: str
) -> None:
    house.export(link_mode=mode)
    path, edits = house.dest / "media" / house.media()[0], list[bytes]()
    if change == "new version":
        music.tracks["t1"] = music.tracks["t4"]
    else:
        house.write(*(("t2", "t1") if change == "renumbered" else ("t2",)))
    once_unfinished(monkeypatch, lambda: edits.append(edit_unseen(path)))
    house.export(link_mode=mode, renumber=change == "renumbered")
    assert [path.read_bytes()] == edits
    assert "edited_file_kept" in house.warnings()
    monkeypatch.undo()
    house.export(link_mode=mode)
    assert [path.read_bytes()] == edits


def test_what_somebody_puts_at_the_place_of_a_new_file_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = test_bundle.House(tmp_path)
    house.export("A")
    mine = house.dest / "media/02 - B.wav"
    once_unfinished(monkeypatch, lambda: mine.write_text("mine"))
    with pytest.raises(DestinationError, match="appeared during the export; move it away"):
        house.export("A", "B", overwrite_edited=True)
    assert mine.read_text() == "mine"
    monkeypatch.undo()
    mine.unlink()
    house.export("A", "B")
    assert house.files() == {"media/01 - A.wav": "A1", "media/02 - B.wav": "B1"}


def test_what_is_removed_or_touched_meanwhile_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = test_bundle.House(tmp_path)
    house.export("A", "B", "C")

    def meddle() -> None:
        (house.dest / "media/02 - B.wav").unlink()
        os.utime(house.dest / "media/03 - C.wav", (1, 1))

    once_unfinished(monkeypatch, meddle)
    house.export("A")
    assert house.files() == {"media/01 - A.wav": "A1"}
    assert house.told == []
