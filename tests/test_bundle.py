"""What is at DEST decides what may be published there; a bundle appears whole, and nobody's work is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachestore.blobs import hash_file
from cachestore.config import Config
from cachestore.errors import DestinationError, NoSpace, NotFound
from cachestore.links import LinkMode
from cachestore.track import Track
from exporter_plugin import destination as destination_room
from exporter_plugin import staging_place
from exporter_plugin.destination import Destination, FileState, writing
from exporter_plugin.facts import Facts, facts_of
from exporter_plugin.formats.view import BundleView
from exporter_plugin.inspection import inspect
from exporter_plugin.layout import Layout
from exporter_plugin.manifest import Manifest, OwnedFile, TrackRecord, read_manifest, write_manifest
from exporter_plugin.naming import fold
from exporter_plugin.options import Wishes
from exporter_plugin.outcome import Hole, Outcome, Placed
from exporter_plugin.publish import publish
from exporter_plugin.row import Row
from exporter_plugin.staging import Staging, StagingFolder, staged
from exporter_plugin.template import Template
from tests.crashes import IN_FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cachestore.events import Event

ROOT = "root"
ROW = TrackRecord(0, "studio:A", "A", "done")
RUN = "0" * 32
DIGEST = "xxh3-128:" + "0" * 32


class House:
    """A folder with a store and a bundle in it, exported to again and again without any cache."""

    def __init__(self, folder: Path, root: str = ROOT) -> None:
        self.dest = folder / "out" / "Friday"
        self.root = folder / root
        self.root.mkdir()
        self.told: list[Event] = []
        self.template = Template(Config(self.root).template)

    @classmethod
    def beside(cls, house: House, root: str) -> House:
        """Return a house that exports to the same place from another store."""
        other = cls(house.root.parent, root)
        other.dest = house.dest
        return other

    def inspect(self) -> Destination:
        return inspect(self.dest, self.root, "Friday")

    def export(
        self,
        *tracks: str,
        mode: LinkMode = LinkMode.AUTO,
        version: str = "1",
        name: str = "Friday",
        failing: Collection[str] = (),
        ext: str = "wav",
        run: str = RUN,
        **wishes: bool,
    ) -> Manifest:
        """Publish `tracks` ("A", "B") whose bytes are their name and `version`, but for the `failing` ones."""
        destination = self.inspect()
        with staged(destination, run) as folder:
            manifest = self.stage(folder, destination, tracks, mode, version, name, failing, ext, **wishes)
            overwrite_edited = wishes.get("overwrite_edited", False)
            publish(folder, destination, manifest, self.told.append, overwrite_edited=overwrite_edited)
        assert not [path for path in self.dest.parent.rglob("*") if path.name.endswith(run)]
        return manifest

    def stage(
        self,
        folder: StagingFolder,
        destination: Destination,
        tracks: tuple[str, ...],
        mode: LinkMode = LinkMode.AUTO,
        version: str = "1",
        name: str = "Friday",
        failing: Collection[str] = (),
        ext: str = "wav",
        **wishes: bool,
    ) -> Manifest:
        rows = [Row(Track("studio", track, title=track)) for track in tracks]
        layout = Layout(destination, rows, Wishes(mode, self.template, **wishes))
        filling = Staging(folder, destination, layout, lambda: (), mode, self.told.append)
        outcomes = [outcome_of(row, filling, version, failing, ext) for row in rows]
        filling.settle(outcomes)
        playlists = filling.write_playlists(BundleView(name, ()))
        return Manifest(name, 1.0, (*filling.files(), *playlists), (ROW,))

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.dest)): path.read_text()
            for path in self.dest.rglob("*")
            if path.is_file() and path.suffix in {".wav", ".aiff"}
        }

    def inodes(self) -> dict[str, int]:
        return {str(path.relative_to(self.dest)): path.stat().st_ino for path in self.dest.rglob("*") if path.is_file()}


def outcome_of(row: Row, filling: Staging, version: str, failing: Collection[str], ext: str) -> Outcome:
    """Place a row, whose bytes are its title and `version`, or let it fail."""
    if row.track.title in failing:
        return Hole(row, NotFound(row.address, row.label, "it is gone"))
    data = f"{row.track.title}{version}"
    return Placed(row, filling.place(row, ext, data, len(data), writer(data)))


def writer(data: str) -> Callable[[str, LinkMode], LinkMode]:
    def write(path: str, _: LinkMode) -> LinkMode:
        Path(path).write_text(data)
        return LinkMode.COPY

    return write


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def edit(path: Path, text: str) -> None:
    path.write_text(text)


# New bundles


def test_a_new_bundle_appears_with_its_parents(house: House) -> None:
    manifest = house.export("A", "B")
    assert house.files() == {"media/01 - A.wav": "A1", "media/02 - B.wav": "B1"}
    assert read_manifest(house.dest / "bundle.json") == manifest
    assert sorted(path.name for path in house.dest.iterdir()) == ["Friday.m3u8", "bundle.json", "media"]
    assert [path.name for path in house.dest.parent.iterdir()] == ["Friday"]


def test_an_empty_folder_is_new(house: House) -> None:
    house.dest.mkdir(parents=True)
    house.export("A")
    assert house.files() == {"media/01 - A.wav": "A1"}


def test_an_empty_folder_stays_the_folder_that_it_is(house: House) -> None:
    house.dest.mkdir(parents=True)
    house.dest.chmod(0o2770)
    before = house.dest.stat()
    house.export("A")
    after = house.dest.stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


@pytest.mark.parametrize("step", range(4))
def test_an_export_into_an_empty_folder_killed_anywhere_says_so_and_the_next_one_mends_it(
    house: House, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    house.dest.mkdir(parents=True)
    kill_at(monkeypatch, step)
    with pytest.raises(KeyboardInterrupt):
        house.export("A")
    monkeypatch.undo()
    found = read_manifest(house.dest / "bundle.json")
    assert found is None or not found.finished
    assert found is not None or not any(house.dest.iterdir())
    house.export("A")
    assert house.files() == {"media/01 - A.wav": "A1"}


@pytest.mark.parametrize(
    "litter", ["lost+found", ".DS_Store", "Thumbs.db", "desktop.ini", ".Trash-1000", "$RECYCLE.BIN", "._x"]
)
def test_what_a_system_puts_into_a_folder_leaves_it_empty(house: House, litter: str) -> None:
    (house.dest / litter).mkdir(parents=True)
    house.export("A")
    house.export("A", "B")
    assert (house.dest / litter).is_dir()
    assert house.files() == {"media/01 - A.wav": "A1", "media/02 - B.wav": "B1"}


def test_a_title_and_a_name_in_other_letters_leave_no_file_behind(house: House) -> None:
    house.export("song")
    house.export("Song", name="FRIDAY", renumber=True)
    there = sorted(path.name for path in house.dest.rglob("*") if path.is_file())
    assert there == ["01 - Song.wav", "FRIDAY.m3u8", "bundle.json"]


def test_an_edited_playlist_keeps_the_letters_of_its_name_since_exfat_cannot_have_both(house: House) -> None:
    house.export("A")
    edit(house.dest / "Friday.m3u8", "mine")
    for overwrites in (False, True):
        manifest = house.export("A", name="FRIDAY", overwrite_edited=overwrites)
        assert [own.file for own in manifest.files] == ["media/01 - A.wav", "Friday.m3u8"]
        assert sorted(path.name for path in house.dest.iterdir()) == ["Friday.m3u8", "bundle.json", "media"]
        assert ((house.dest / "Friday.m3u8").read_text() == "mine") is not overwrites
    house.export("A", name="FRIDAY")
    assert sorted(path.name for path in house.dest.iterdir()) == ["FRIDAY.m3u8", "bundle.json", "media"]


def test_links_to_one_blob_under_two_spellings_are_two_files(house: House) -> None:
    house.export("a")
    media = house.dest / "media"
    (media / "01 - A.wav").hardlink_to(media / "01 - a.wav")
    unwanted = [(own.file, is_untouched) for own, is_untouched in house.inspect().unwanted({"media/01 - A.wav"})]
    assert unwanted == [("media/01 - a.wav", True), ("Friday.m3u8", True)]
    (media / "01 - A.wav").unlink()
    assert "media/01 - a.wav" in {own.file for own, _ in house.inspect().unwanted({"media/01 - A.wav"})}


def test_a_new_spelling_is_the_same_file_where_the_filesystem_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filesystem that takes upper and lower case for one finds a file by either name and lists one of them."""
    house.export("a")
    there = house.dest / "media/01 - a.wav"
    lstat = destination_room._lstat
    monkeypatch.setattr(
        destination_room, "_lstat", lambda path: lstat(there if Path(path).name == "01 - A.wav" else path)
    )
    assert [own.file for own, _ in house.inspect().unwanted({"media/01 - A.wav"})] == ["Friday.m3u8"]


def find_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files be found as exFAT, NTFS and APFS do: by their names in other letters, too."""
    lstat = destination_room._lstat

    def spelled(path: Path | str) -> Path:
        alike = (one for one in Path(path).parent.glob("*") if fold(one.name) == fold(Path(path).name))
        return Path(path) if lstat(path) else next(alike, Path(path))

    monkeypatch.setattr(destination_room, "_lstat", lambda path: lstat(spelled(path)))
    monkeypatch.setattr(destination_room, "hash_file", lambda path: hash_file(spelled(path)))


def test_a_title_and_a_name_in_other_letters_are_no_strangers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    find_in_any_case(monkeypatch)
    house.export("song")
    house.export("Song", name="FRIDAY", renumber=True)
    there = sorted(path.name for path in house.dest.rglob("*") if path.is_file())
    assert there == ["01 - Song.wav", "FRIDAY.m3u8", "bundle.json"]


def test_what_was_edited_is_known_by_its_name_in_other_letters(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    find_in_any_case(monkeypatch)
    house.export("a")
    (house.dest / "media/01 - a.wav").write_text("work")
    assert house.inspect().look_at("media/01 - A.wav")[0] is FileState.EDITED
    (house.dest / "media/02 - b.wav").write_text("mine")
    assert house.inspect().look_at("media/02 - B.wav")[0] is FileState.FOREIGN


def test_a_playlist_in_other_letters_that_a_kill_left_is_no_edit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name of before finds the new one then, which has not the bytes of before."""
    house.export("A")
    with monkeypatch.context() as patch:
        kill_at(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            house.export("A", "B", name="FRIDAY")
    (house.dest / "Friday.m3u8").unlink()  # a disk that takes both names for one has replaced it
    find_in_any_case(monkeypatch)
    manifest = house.export("A", "B", name="FRIDAY")
    assert [own.file for own in manifest.files][2:] == ["FRIDAY.m3u8"]
    assert house.told == []


def test_a_track_in_other_letters_that_a_kill_left_is_no_edit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.export("song", version="1")
    with monkeypatch.context() as patch:
        kill_at(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            house.export("Song", version="2", renumber=True)
    (house.dest / "media/01 - song.wav").unlink()
    find_in_any_case(monkeypatch)
    house.export("song", version="2", failing="song")
    house.template = Template("{title}")
    house.export("B", "Song", version="2", renumber=True)
    assert house.files() == {"media/B.wav": "B2", "media/Song.wav": "Song2"}
    assert house.told == []


def test_names_that_are_listed_decomposed_as_by_hfs_are_ours(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [normalize("NFD", name) for name in listdir(path)])
    find_in_any_case(monkeypatch)
    house.export("Café")
    before = house.inodes()
    house.export("Café", renumber=True)
    assert house.inodes() == before
    house.export("A", "Café", "Á", renumber=True)
    assert {*house.files()} == {f"media/0{number} - {name}.wav" for number, name in enumerate(["A", "Café", "Á"], 1)}
    assert house.told == []


def test_nothing_is_published_and_nothing_left_when_the_export_fails(house: House) -> None:
    with pytest.raises(FileNotFoundError), staged(house.inspect(), RUN) as folder:
        (folder.path / "media/01 - A.wav").write_bytes((house.dest / "no such file").read_bytes())
    assert list(house.dest.parent.iterdir()) == []


@pytest.mark.parametrize("before", [(), ("A",)])
def test_where_no_rename_leads_into_the_destination_it_is_staged_inside(
    house: House, monkeypatch: pytest.MonkeyPatch, before: tuple[str, ...]
) -> None:
    house.dest.mkdir(parents=True)
    monkeypatch.setattr(staging_place, "_can_move", lambda *_: False)  # what a mount point answers
    if before:
        house.export(*before)
    assert staging_place.staging_path(house.dest, RUN).parent == house.dest
    house.export("A", "B")
    assert house.files() == {"media/01 - A.wav": "A1", "media/02 - B.wav": "B1"}
    assert sorted(path.name for path in house.dest.iterdir()) == ["Friday.m3u8", "bundle.json", "media"]


def test_the_staging_folder_of_a_killed_export_is_not_in_the_way(house: House) -> None:
    (house.dest / ".Friday.cachestore-0123abcd" / "media").mkdir(parents=True)
    house.export("A")
    assert house.files() == {"media/01 - A.wav": "A1"}


def test_a_long_name_leaves_room_for_the_staging_folder(house: House) -> None:
    house.dest = house.dest.with_name("ü" * 127)
    house.export("A")
    assert house.files() == {"media/01 - A.wav": "A1"}


# Destinations that are refused


def test_a_foreign_folder_is_refused_with_a_suggestion(house: House) -> None:
    house.dest.mkdir(parents=True)
    (house.dest / "thesis.txt").touch()
    with pytest.raises(
        DestinationError, match=r"no bundle of ours; name a new or an empty folder, such as .*/Friday/Friday"
    ):
        house.inspect()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"bundle": "1"}', '{"bundle": true}', "[" * 100_000])
def test_a_bundle_json_of_somebody_else_makes_no_bundle_of_ours(house: House, text: str) -> None:
    house.dest.mkdir(parents=True)
    (house.dest / "bundle.json").write_text(text)
    with pytest.raises(DestinationError, match="no bundle of ours"):
        house.inspect()


def test_a_pipe_in_the_place_of_a_bundle_json_is_not_waited_for(house: House) -> None:
    house.export("A")
    (house.dest / "bundle.json").unlink()
    os.mkfifo(house.dest / "bundle.json")
    with pytest.raises(DestinationError, match="no bundle of ours"):
        house.inspect()


def test_a_pipe_in_the_place_of_an_exported_file_is_kept_and_not_waited_for(house: House) -> None:
    file = house.export("A").files[0].file
    (house.dest / file).unlink()
    os.mkfifo(house.dest / file)
    assert facts_of(house.dest / file) == Facts()
    assert house.inspect().look_at(file)[0] is FileState.EDITED
    house.export("A")
    assert (house.dest / file).is_fifo()


def test_a_bundle_of_a_newer_version_or_a_damaged_one_is_refused(house: House) -> None:
    house.dest.mkdir(parents=True)
    (house.dest / "bundle.json").write_text('{"bundle": 2}')
    with pytest.raises(DestinationError, match="newer version"):
        house.inspect()
    (house.dest / "bundle.json").write_text('{"bundle": 1, "files": 7}')
    with pytest.raises(DestinationError, match="damaged"):
        house.inspect()


@pytest.mark.parametrize(
    "file",
    [
        "\ud800.wav",
        "media/" + "x" * 201,
        "../x",
        "/etc/passwd",
        "media/../../x",
        "media/sub/x",
        "media/..\\..\\x",
        "media/C:x",
        "..",
        "media/..",
        "bundle.json",
        "",
    ],
)
def test_a_planted_bundle_json_cannot_name_files_elsewhere(house: House, file: str) -> None:
    house.export("A")
    planted = Manifest("Friday", 1.0, (OwnedFile(file, 0, 0, DIGEST),), ())
    write_manifest(house.dest / "bundle.json", planted)
    with pytest.raises(DestinationError, match="damaged"):
        house.inspect()


def test_a_file_is_no_destination(house: House) -> None:
    house.dest.parent.mkdir()
    house.dest.touch()
    with pytest.raises(DestinationError, match="is a file"):
        house.inspect()
    house.dest = house.dest / "below"
    with pytest.raises(DestinationError):
        staging_place.staging_path(house.dest, RUN)


def test_neither_store_nor_bundle_may_be_in_the_other(house: House, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(house.root)
    for dest in (house.root, house.root / "out", tmp_path / "alias" / "out"):
        with pytest.raises(DestinationError, match="is inside the store"):
            inspect(dest, house.root, "Friday")
    with pytest.raises(DestinationError, match="has the store"):
        inspect(tmp_path, house.root, "Friday")


def test_a_full_disk_and_a_refused_write_are_told_apart(house: House) -> None:
    with pytest.raises(NoSpace), writing(house.dest):
        raise OSError(28, "No space left on device")
    with pytest.raises(DestinationError, match="Read-only file system"), writing(house.dest):
        raise OSError(30, "Read-only file system")


# Re-exports


def test_an_unchanged_export_writes_nothing(house: House) -> None:
    house.export("A", "B")
    before = house.inodes()
    house.export("A", "B")
    assert house.inodes() == before
    assert house.told == []


def test_a_changed_track_is_replaced_under_its_name_and_the_others_stay(house: House) -> None:
    house.export("A", "B")
    before = house.inodes()
    (house.dest / "media/02 - B.wav").unlink()
    house.export("A", "B")
    assert house.files() == {"media/01 - A.wav": "A1", "media/02 - B.wav": "B1"}
    assert house.inodes()["media/01 - A.wav"] == before["media/01 - A.wav"]
    house.export("A", "B", version="22")
    assert house.files() == {"media/01 - A.wav": "A22", "media/02 - B.wav": "B22"}
    assert house.told == []


def test_published_names_stay_when_the_order_changes(house: House) -> None:
    house.export("A", "B")
    house.export("C", "B", "A")
    assert set(house.files()) == {"media/01 - A.wav", "media/02 - B.wav", "media/01 - C.wav"}


def test_what_is_no_longer_wanted_goes_and_sidecars_stay(house: House) -> None:
    house.export("A", "B")
    (house.dest / "media/02 - B.wav.asd").touch()
    (house.dest / "notes.txt").touch()
    house.export("A", name="Saturday")
    left = sorted(str(path.relative_to(house.dest)) for path in house.dest.rglob("*") if path.is_file())
    assert left == ["Saturday.m3u8", "bundle.json", "media/01 - A.wav", "media/02 - B.wav.asd", "notes.txt"]
    assert house.told == []


def test_an_edited_file_is_kept_and_told_whether_it_is_wanted_or_not(house: House) -> None:
    house.export("A", "B")
    edit(house.dest / "media/01 - A.wav", "my work")
    edit(house.dest / "media/02 - B.wav", "my work")
    house.export("A", version="2")
    assert house.files() == {"media/01 - A.wav": "my work", "media/02 - B.wav": "my work"}
    assert [str(event) for event in house.told if "was changed since" in str(event)] == [str(e) for e in house.told]
    assert len(house.told) == 2
    house.told.clear()
    house.export("A", version="3")
    house.export("A", version="3")
    assert house.files() == {"media/01 - A.wav": "my work", "media/02 - B.wav": "my work"}
    assert len(house.told) == 4
    assert house.export("A", "B", overwrite_edited=True)
    assert house.files() == {"media/01 - A.wav": "A1", "media/02 - B.wav": "B1"}


def test_a_copy_of_a_bundle_with_other_times_is_a_bundle_as_it_was(house: House) -> None:
    house.export("A", "B")
    for number, path in enumerate(path for path in house.dest.rglob("*") if path.is_file()):
        os.utime(path, (number, number))
    house.export("A", "C", version="2")
    assert house.files() == {"media/01 - A.wav": "A2", "media/02 - C.wav": "C2"}
    before = {file: inode for file, inode in house.inodes().items() if file != "bundle.json"}
    for path in (path for path in house.dest.rglob("*.wav")):
        os.utime(path, (7, 7))
    house.export("A", "C", version="2")
    assert {file: inode for file, inode in house.inodes().items() if file != "bundle.json"} == before
    found = read_manifest(house.dest / "bundle.json")
    assert found is not None
    assert {own.mtime_ns for own in found.files if own.identity} == {7 * 10**9}
    assert house.told == []


def test_an_edited_playlist_is_kept_also_while_the_bundle_has_another_name(house: House) -> None:
    house.export("A")
    edit(house.dest / "Friday.m3u8", "mine")
    house.export("A")
    house.export("A", name="Saturday")
    assert (house.dest / "Friday.m3u8").read_text() == "mine"
    house.export("A")
    assert (house.dest / "Friday.m3u8").read_text() == "mine"
    house.export("A", overwrite_edited=True)
    assert (house.dest / "Friday.m3u8").read_text() != "mine"


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_is_foreign_at_the_name_of_the_playlist_is_in_the_way(house: House, *, is_folder: bool) -> None:
    house.export("A")
    place = house.dest / "Saturday.m3u8"
    if is_folder:
        place.mkdir()
    else:
        edit(place, "mine")
    before = house.inodes()
    for overwrite in (False, True):
        with pytest.raises(DestinationError, match="not ours; move it away or give the bundle another name"):
            house.export("A", "B", name="Saturday", overwrite_edited=overwrite)
    assert house.inodes() == before


def test_an_edit_that_cannot_be_seen_is_remembered_while_its_track_is_not_wanted(house: House) -> None:
    house.export("A", "B")
    path = house.dest / "media/02 - B.wav"
    before = path.stat()
    edit(path, "b1")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    house.export("A")
    house.export("A")
    house.told.clear()
    [own] = [own for own in house.export("A", "B").files if own.file == "media/02 - B.wav"]
    assert own.is_edited
    assert len(house.told) == 1
    assert path.read_text() == "b1"


def test_a_file_that_was_edited_is_ours_again_when_its_extension_comes_back(house: House) -> None:
    house.export("A")
    edit(house.dest / "media/01 - A.wav", "my work")
    house.export("A", version="2", ext="aiff")
    assert house.files() == {"media/01 - A.aiff": "A2", "media/01 - A.wav": "my work"}
    house.export("A", version="3")
    assert house.files() == {"media/01 - A.wav": "my work"}
    house.export("A", version="3", overwrite_edited=True)
    assert house.files() == {"media/01 - A.wav": "A3"}


def test_what_lies_beside_a_track_does_not_take_its_name(house: House) -> None:
    house.export("A", "B")
    for name in ("01 - A.cue", "01 - A.gpk", "02 - B.sfk", "03 - C.CUE"):
        (house.dest / "media" / name).touch()
    before = house.inodes()
    house.export("A", "B", renumber=True)
    assert house.inodes() == before
    house.export("A", "B", "C", renumber=True)
    assert set(house.files()) == {"media/01 - A.wav", "media/02 - B.wav", "media/03 - C.wav"}


def test_an_edited_file_that_is_a_folder_now_is_not_overwritten_and_nothing_is_touched(house: House) -> None:
    house.export("A", "B")
    (house.dest / "media/02 - B.wav").unlink()
    (house.dest / "media/02 - B.wav").mkdir()
    before = house.inodes()
    with pytest.raises(DestinationError, match="is a folder in the place of a file of the bundle"):
        house.export("A", "B", version="2", overwrite_edited=True)
    assert house.inodes() == before


def test_a_file_in_the_place_of_the_media_is_refused(house: House) -> None:
    house.export("A")
    (house.dest / "media").rename(house.dest / "elsewhere")
    (house.dest / "media").touch()
    with pytest.raises(DestinationError, match="has a file in the place of media/"):
        house.inspect()


def test_a_foreign_file_among_the_media_is_not_overwritten(house: House) -> None:
    house.export("A")
    edit(house.dest / "media/02 - B.wav", "mine")
    house.export("A", "B")
    names = set(house.files())
    assert house.files()["media/02 - B.wav"] == "mine"
    assert len(names) == 3
    assert any(name.startswith("media/02 - B [") for name in names)


def test_a_foreign_file_under_the_name_that_a_track_needs_now_is_in_the_way(house: House) -> None:
    house.export("A")
    edit(house.dest / "media/01 - A.aiff", "mine")
    row = Row(Track("studio", "A", title="A"))
    with staged(house.inspect(), RUN) as folder:
        layout = Layout(house.inspect(), [row], Wishes(LinkMode.AUTO, house.template))
        filling = Staging(folder, house.inspect(), layout, lambda: (), LinkMode.AUTO, house.told.append)
        with pytest.raises(DestinationError, match="in the way"):
            filling.place(row, "aiff", "A2", 2, writer("A2"))
    assert (house.dest / "media/01 - A.aiff").read_text() == "mine"


def test_a_file_that_appears_during_the_export_is_not_overwritten(house: House) -> None:
    house.export("A")
    destination = house.inspect()
    with staged(destination, RUN) as folder:
        manifest = house.stage(folder, destination, ("A", "B"))
        edit(house.dest / "media/02 - B.wav", "mine")
        with pytest.raises(DestinationError, match="appeared during the export"):
            publish(folder, destination, manifest, house.told.append, overwrite_edited=False)
    assert house.files() == {"media/01 - A.wav": "A1", "media/02 - B.wav": "mine"}


@pytest.mark.parametrize(
    ("published", "lost"),
    [((), "Friday.m3u8"), *product([(), ("A",)], ["media/02 - B.wav", "media", "."])],
)
def test_nothing_is_published_when_somebody_removes_what_is_staged(
    house: House, published: tuple[str, ...], lost: str
) -> None:
    if published:
        house.export(*published)
    before = {path: path.read_bytes() for path in house.dest.rglob("*") if path.is_file()}
    destination = house.inspect()
    with staged(destination, RUN) as folder:
        manifest = house.stage(folder, destination, ("A", "B"))
        gone = folder.path / lost
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        with pytest.raises(DestinationError, match=r"was removed while it was exported; export it again$"):
            publish(folder, destination, manifest, house.told.append, overwrite_edited=False)
    assert {path: path.read_bytes() for path in house.dest.rglob("*") if path.is_file()} == before
    house.export("A", "B")
    assert house.files() == {"media/01 - A.wav": "A1", "media/02 - B.wav": "B1"}


def test_nothing_is_said_to_be_as_it_was_when_somebody_removes_a_published_file(house: House) -> None:
    house.export("A", "B")
    destination = house.inspect()
    with staged(destination, RUN) as folder:
        manifest = house.stage(folder, destination, ("A", "B"))
        (house.dest / "media/01 - A.wav").unlink()
        with pytest.raises(DestinationError, match=r"media/01 - A\.wav was removed while it was exported"):
            publish(folder, destination, manifest, house.told.append, overwrite_edited=False)


def test_a_strict_link_mode_renews_what_was_linked_otherwise(house: House) -> None:
    house.export("A")
    before = house.inodes()
    house.export("A", mode=LinkMode.COPY)
    assert house.inodes() == before
    house.export("A", mode=LinkMode.HARDLINK)
    assert house.inodes()["media/01 - A.wav"] != before["media/01 - A.wav"]


def test_a_file_is_absent_ours_edited_or_foreign(house: House) -> None:
    house.export("A", "B")
    edit(house.dest / "media/02 - B.wav", "my work")
    edit(house.dest / "media/03 - C.wav", "mine")
    found = house.inspect()
    files = ("media/01 - A.wav", "media/02 - B.wav", "media/03 - C.wav", "media/04 - D.wav")
    states = [found.look_at(file)[0] for file in files]
    assert states == [FileState.OURS, FileState.EDITED, FileState.FOREIGN, FileState.ABSENT]


def test_no_symbolic_link_is_followed_out_of_the_bundle(house: House, tmp_path: Path) -> None:
    house.export("A", "B")
    outside = tmp_path / "outside.wav"
    (house.dest / "media/02 - B.wav").rename(outside)
    (house.dest / "media/02 - B.wav").symlink_to(outside)
    house.export("A")
    assert outside.read_text() == "B1"
    (house.dest / "media").rename(tmp_path / "elsewhere")
    (house.dest / "media").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DestinationError, match="symbolic link"):
        house.inspect()


@pytest.mark.parametrize("step", range(5))
def test_renumbering_killed_anywhere_says_so_and_the_next_export_mends_it(
    house: House, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Names are exchanged: what was A's is B's then, and the other way round."""
    house.template = Template("{index}")
    house.export("A", "B", "C")
    kill_at(monkeypatch, step)
    with pytest.raises(KeyboardInterrupt):
        house.export("B", "A", "D", renumber=True)
    monkeypatch.undo()
    house.export("B", "A", "D")
    assert sorted(house.files().values()) == ["A1", "B1", "D1"]
    house.export("B", "A", "D", renumber=True)
    assert house.files() == {"media/1.wav": "B1", "media/2.wav": "A1", "media/3.wav": "D1"}
    assert house.told == []


@pytest.mark.parametrize("step", range(5))
def test_a_re_export_killed_anywhere_says_so_and_the_next_one_mends_it(
    house: House, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    house.export("A", "B")
    kill_at(monkeypatch, step)
    with pytest.raises(KeyboardInterrupt):
        house.export("A", "C", version="2")
    monkeypatch.undo()
    found = read_manifest(house.dest / "bundle.json")
    assert found is not None
    assert not found.finished or all((house.dest / own.file).exists() for own in found.files)
    house.export("A", "C", version="2")
    assert house.files() == {"media/01 - A.wav": "A2", "media/02 - C.wav": "C2"}
    assert house.told == []


def test_renumbering_leaves_the_file_of_a_track_that_fails_now_alone(house: House) -> None:
    house.template = Template("{index}")
    house.export("A", "B")
    for _ in range(2):
        manifest = house.export("B", "A", "C", renumber=True, failing="A")
        names = {text: name for name, text in house.files().items()}
        assert (names["A1"], names["C1"]) == ("media/1.wav", "media/3.wav")
        assert re.fullmatch(r"media/1 \[[0-9a-f]{6}\]\.wav", names["B1"])
        assert sorted(own.file for own in manifest.files) == sorted([*names.values(), "Friday.m3u8"])
    before = house.inodes()
    house.export("B", "A", "C", renumber=True, failing="A")
    assert house.inodes() == before
    house.export("B", "A", "C", renumber=True)
    assert house.files() == {"media/1.wav": "B1", "media/2.wav": "A1", "media/3.wav": "C1"}


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Die before the rename or removal number `step` within DEST."""
    left = iter(range(step))

    def dying(original: Callable[..., object]) -> Callable[..., object]:
        def act(*args: object, **kwargs: object) -> object:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        return act

    monkeypatch.setattr(Path, "replace", dying(Path.replace))
    monkeypatch.setattr(Path, "unlink", dying(Path.unlink))


ACTS = st.one_of(
    st.tuples(st.just("edit"), st.integers(0, 9), st.booleans()),
    st.tuples(
        st.just("export"),
        st.lists(st.sampled_from("ABCD"), min_size=1, max_size=4, unique=True),
        st.sampled_from(["1", "2"]),
        st.sampled_from(["{index}", "{title}", "{index} {title}"]),
        st.booleans(),
        st.booleans(),
        st.none() | st.integers(0, 7),
        st.sets(st.sampled_from("ABCD"), max_size=2),
        st.sampled_from(["wav", "aiff"]),
    ),
)


@pytest.mark.long
@given(st.lists(ACTS, min_size=2, max_size=8))
@settings(deadline=None, max_examples=1500 if IN_FULL else 40)
def test_whatever_is_exported_edited_and_killed_every_track_has_its_file_and_no_work_is_lost(
    acts: list[tuple[Any, ...]],
) -> None:
    with TemporaryDirectory() as folder:
        house = House(Path(folder))
        edits: dict[Path, str] = {}
        for number, act in enumerate(acts):
            if act[0] == "edit":
                edit_some(house, edits, f"edit {number}", *act[1:])
            else:
                export_and_judge(house, edits, *act[1:])


def edit_some(house: House, edits: dict[Path, str], text: str, which: int, new: bool) -> None:
    """Edit one of the media, or put another file among them."""
    media = sorted(house.dest / file for file in house.files())
    if media:
        place = media[0].with_name(f"{which}.wav") if new else media[which % len(media)]
        if place not in media and place.stem in {path.stem for path in media}:
            return  # a published name may need it, and that is refused: a test of its own is above
        edit(place, text)
        edits[place] = text


def export_and_judge(
    house: House,
    edits: dict[Path, str],
    tracks: list[str],
    version: str,
    template: str,
    renumber: bool,
    overwrite: bool,
    killed: int | None,
    failing: set[str],
    ext: str,
) -> None:
    house.template = Template(template)
    placed, failed = ([f"studio:{one}" for one in tracks if (one in failing) is fails] for fails in (False, True))
    found = house.inspect()
    may_go = {house.dest / own.file for own in found.owned if overwrite and own.identity in placed}
    left = {house.dest / own.file: (house.dest / own.file).read_text() for own in found.files_of(failed)}
    export = partial(house.export, *tracks, version=version, failing=failing, ext=ext)
    export = partial(export, renumber=renumber, overwrite_edited=overwrite)
    if killed is not None:
        with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt):
            kill_at(patch, killed)
            export()
    manifest = export()
    owned = {own.identity: house.dest / own.file for own in reversed(manifest.files) if own.identity}
    assert len({own.file for own in manifest.files}) == len(manifest.files)
    assert {path: path.read_text() for path in left} == left
    assert left.keys() <= {house.dest / own.file for own in manifest.files if own.identity in failed}
    files = {identity: owned[identity] for identity in placed}
    assert len({fold(str(path)) for path in (*files.values(), *left)}) == len(placed) + len(left)
    assert not overwrite or not {path for path in files.values() if path.read_text() == edits.get(path)}
    for path in may_go:
        if not path.exists() or path.read_text() != edits.get(path):
            edits.pop(path, None)
    assert {path: path.read_text() for path in edits} == edits
    right = {path: f"{identity[-1]}{version}" for identity, path in files.items()}
    assert {path: path.read_text() for path in right} == right | {p: t for p, t in edits.items() if p in right}
    assert {house.dest / file for file in house.files()} == {*files.values(), *left, *edits}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *product(("file", "size", "mtime_ns", "digest"), (None, [], {}, 1.5)),
        *product(("identity", "content"), (5, [], {})),
        *product(("size", "mtime_ns", "link_mode"), ("x",)),
    ],
)
def test_a_manifest_with_a_field_of_another_type_is_damaged(tmp_path: Path, field: str, value: object) -> None:
    owned = OwnedFile("media/x.wav", 3, 5, DIGEST, "s:1", DIGEST, LinkMode.COPY)
    write_manifest(tmp_path / "bundle.json", Manifest("x", 1.0, (owned,), (ROW,)))
    document = json.loads((tmp_path / "bundle.json").read_text())
    document["files"][0][field] = value
    (tmp_path / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(DestinationError, match="is damaged"):
        read_manifest(tmp_path / "bundle.json")


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    owned = OwnedFile("media/Ünï.wav", 3, 2**62, DIGEST, "s:1@x", DIGEST, LinkMode.HARDLINK)
    manifest = Manifest("Ünï", 1_700_000_000.0, (owned, replace(owned, file="x.m3u8")), (ROW,), finished=False)
    write_manifest(tmp_path / "bundle.json", manifest)
    assert read_manifest(tmp_path / "bundle.json") == manifest
