"""One export at a time publishes at a destination, and what it cannot do it finds out before it writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cachestore.errors import Busy, DestinationError
from exporter_plugin import manifest as manifest_room
from exporter_plugin import publish as publish_room
from exporter_plugin.manifest import read_manifest
from exporter_plugin.publish import publish
from exporter_plugin.staging import staged
from tests.test_bundle import RUN, House

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_two_exports_at_once_of_two_stores_never_mix_their_bundles(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one, which knows nothing of the first one's store, comes while the first one puts files in place."""
    house.export("A", "B")
    refused: list[str] = []

    def second_comes(original: Callable[..., object]) -> Callable[..., object]:
        def act(*args: object) -> object:
            monkeypatch.undo()
            with pytest.raises(Busy) as caught:
                other.export("C", "D", run="1" * 32)
            refused.append(str(caught.value))
            return original(*args)

        return act

    other = House.beside(house, "root of another")
    monkeypatch.setattr(Path, "replace", second_comes(Path.replace))
    manifest = house.export("B", "A", version="2")
    assert refused == [f"{house.dest} is busy with another command; try again in a moment"]
    assert sorted(house.files().values()) == ["A2", "B2"]
    assert read_manifest(house.dest / "bundle.json") == manifest


def test_an_export_that_planned_before_another_one_published_is_busy(house: House) -> None:
    house.export("A")
    destination = house.inspect()
    with staged(destination, RUN) as folder:
        manifest = house.stage(folder, destination, ("B",))
        house.export("C", run="1" * 32)
        with pytest.raises(Busy):
            publish(folder, destination, manifest, house.told.append, overwrite_edited=False)
    assert list(house.files().values()) == ["C1"]


@pytest.mark.parametrize("is_seen", [True, False])
def test_of_two_exports_to_a_new_folder_the_first_one_has_it(
    house: House, monkeypatch: pytest.MonkeyPatch, *, is_seen: bool
) -> None:
    destination = house.inspect()
    with staged(destination, RUN) as folder:
        manifest = house.stage(folder, destination, ("B",))
        if is_seen:
            house.export("C", run="1" * 32)
        else:  # it appears after the last look
            write = manifest_room.write_manifest

            def late(*args: object) -> None:
                monkeypatch.undo()
                write(*args)  # type: ignore[arg-type]
                house.export("C", run="1" * 32)

            monkeypatch.setattr(publish_room, "write_manifest", late)
        with pytest.raises(Busy):
            publish(folder, destination, manifest, house.told.append, overwrite_edited=False)
    assert list(house.files().values()) == ["C1"]


def test_where_folders_have_no_locks_a_bundle_is_published_all_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    house.export("A")
    house.export("A", "B")
    assert sorted(house.files().values()) == ["A1", "B1"]


def test_a_folder_in_which_nothing_changes_may_be_closed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.export("A", "B", "C")
    (house.dest / "media/02 - B.wav").write_text("my work")
    (house.dest / "media/03 - C.wav").unlink()
    media, access = house.dest / "media", os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != media and access(path, mode))
    house.export("A")
    assert house.files() == {"media/01 - A.wav": "A1", "media/02 - B.wav": "my work"}


@pytest.mark.parametrize("folder", ["media", "."])
def test_a_folder_that_cannot_be_written_is_found_out_before_anything_is(
    house: House, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    house.export("A", "B")
    before, closed, access = house.inodes(), house.dest / folder, os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed and access(path, mode))
    with pytest.raises(DestinationError, match="is no folder that can be written"):
        house.export("A", "C", version="2", name="Other")
    assert house.inodes() == before
