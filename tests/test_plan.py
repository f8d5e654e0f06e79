"""A dry run lists what an export does then, asks no server, and writes nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.clouds import Cloud
from tests.downloads import wave
from tests.stranger import row, snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRawServer
    from tests.stranger import Stranger


@pytest.fixture
def cloud(raw_server: StartRawServer, stranger: Stranger) -> Cloud:
    """Return the cloud that the stranger has configured: ``b`` will have other bytes."""
    bodies = {track: [wave(4000 + 10 * n, seed=n)] for n, track in enumerate("abcde")}
    cloud = Cloud(bodies | {"b": [wave(6000, seed=7), wave(7000, seed=8)]})
    stranger.configure(raw_server(cloud).url, jobs=1)
    (stranger.home / "local.wav").write_bytes(wave(3000, seed=9))
    return cloud


PLAYLIST = "Friday Warm-up.m3u8"
LOCAL = {"path": "local.wav", "title": "Mine"}
AIFF = b"FORM\0\0\1\0AIFFSSND\0\0\0\xf4" + bytes(244)


def dry(stranger: Stranger, *rows: dict[str, Any], options: tuple[str, ...] = (), code: int = 0) -> dict[str, Any]:
    """Return what a dry run lists, which must leave everything as it is."""
    mix = stranger.mix(*rows)
    before = snapshot(stranger.home)
    facts: dict[str, Any] = stranger.run("export", mix, "DEST", "--dry-run", "--json", *options, code=code).facts
    after = snapshot(stranger.home)
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} <= {
        f"{stranger.root}/index-v1/cache.db-shm",
        f"{stranger.root}/index-v1/cache.db-wal",
    }
    return facts


def actions(facts: dict[str, Any]) -> dict[str, str]:
    return {file["file"].removeprefix("media/"): file["action"] for file in facts["files"]}


def done(stranger: Stranger, before: dict[str, tuple[bytes, int, int]]) -> dict[str, str]:
    """Return what an export has done to the files of a bundle."""
    dest = f"{stranger.home}/DEST/"
    after = snapshot(stranger.home / "DEST")
    seen = {path for path in before.keys() | after.keys() if path != f"{dest}bundle.json"}
    named = {path: path.removeprefix(dest).removeprefix("media/") for path in seen}
    return {name: change(before.get(path), after.get(path)) for path, name in named.items()}


def change(before: tuple[bytes, int, int] | None, after: tuple[bytes, int, int] | None) -> str:
    if before is None or after is None:
        return "add" if before is None else "remove"
    return "keep" if before == after else "replace"


def test_without_store_and_bundle_all_is_to_be_downloaded_and_nothing_is_made(stranger: Stranger, cloud: Cloud) -> None:
    facts = dry(stranger, row("a"), row("b"), row("a"), LOCAL)
    assert actions(facts) == {"01 - a.*": "add", "02 - b.*": "add", "04 - Mine.wav": "add", PLAYLIST: "add"}
    assert facts["downloads"] == ["open:a", "open:b"]
    assert (facts["dry_run"], facts["exit_code"], facts["errors"]) == (True, 0, [])
    assert not stranger.root.exists()


@pytest.mark.parametrize(
    "options", [(), ("--renumber",), ("--editable",), ("--link-mode", "copy"), ("--renumber", "--template", "{title}")]
)
def test_a_dry_run_lists_what_the_export_does(stranger: Stranger, cloud: Cloud, options: tuple[str, ...]) -> None:
    stranger.export(row("a"), row("b"), row("c"), LOCAL)
    cloud.update()
    stranger.run("fetch", "open:b", "open:d")
    (stranger.home / "local.wav").write_bytes(wave(3500, seed=5))
    rows = [row("d"), row("b"), row("a"), LOCAL]
    facts = dry(stranger, *rows, options=options)
    before = snapshot(stranger.home / "DEST")
    stranger.export(*rows, options=options)
    assert actions(facts) == done(stranger, before)
    assert facts["downloads"] == []


@pytest.mark.parametrize(
    "options", [(), ("--renumber",), ("--renumber", "--template", "{index}"), ("--renumber", "--template", "{title}")]
)
def test_a_dry_run_lists_what_the_export_does_when_tracks_fail(
    stranger: Stranger, cloud: Cloud, options: tuple[str, ...]
) -> None:
    stranger.export(LOCAL, row("a"), row("c"), options=("--template", "{index}"))
    stranger.run("fetch", "open:d")
    (stranger.home / "local.wav").unlink()
    rows = [row("d"), row("a"), row("e"), LOCAL, row("c", title="A")]
    options = (*options, "--on-error", "skip", "--offline")
    facts = dry(stranger, *rows, options=options, code=3)
    before = snapshot(stranger.home / "DEST")
    done_facts = stranger.export(*rows, options=(*options, "--json"), code=3).facts
    assert actions(facts) == done(stranger, before)
    assert (facts["exit_code"], facts["errors"]) == (3, done_facts["errors"])
    assert wave(3000, seed=9) in [path.read_bytes() for path in stranger.media()]


@pytest.mark.parametrize("foreign", ["media/02 - Mine.aiff", PLAYLIST.replace("Friday", "Saturday")])
def test_a_file_in_the_way_is_refused_by_a_dry_run_as_by_the_export(
    stranger: Stranger, cloud: Cloud, foreign: str
) -> None:
    stranger.export(row("a"), LOCAL)
    (stranger.home / "DEST" / foreign).write_text("mine")
    (stranger.home / "local.wav").write_bytes(AIFF)
    before = snapshot(stranger.home / "DEST")
    mix = stranger.mix(row("a"), LOCAL)
    command = ("export", mix, "DEST", "--name", "Saturday Warm-up")
    said = [stranger.run(*command, *more, code=4).err.splitlines()[-1] for more in (["--dry-run"], [])]
    assert said[0] == said[1]
    assert f"{foreign} is in the way and not ours" in said[0]
    assert snapshot(stranger.home / "DEST") == before


@pytest.mark.parametrize(
    ("options", "edited", "expected"),
    [
        ((), "", {PLAYLIST: "keep", "Friday Warm-up.rpp": "keep"}),
        (("--name", "Sat"), "", {PLAYLIST: "remove", "Friday Warm-up.rpp": "remove", "Sat.m3u8": "add"}),
        (("--name", "Sat", "--overwrite-edited"), PLAYLIST, {PLAYLIST: "edited", "Sat.m3u8": "add"}),
        (("--format", "dawproject"), "", {"Friday Warm-up.dawproject": "keep", "Friday Warm-up.rpp": "remove"}),
        (("--overwrite-edited",), PLAYLIST, {PLAYLIST: "replace"}),
        (("--name", "FRIDAY Warm-up"), "", {PLAYLIST: "remove", "FRIDAY Warm-up.m3u8": "add"}),
    ],
)
def test_playlists_and_projects_are_listed_with_what_the_export_does(
    stranger: Stranger, cloud: Cloud, options: tuple[str, ...], edited: str, expected: dict[str, str]
) -> None:
    rows = [row("a") | {"start": 0}, row("c"), LOCAL, row("a")]
    stranger.export(*rows)
    if edited:
        (stranger.home / "DEST" / edited).write_text("mine")
    planned = actions(dry(stranger, *rows, options=options))
    before = snapshot(stranger.home / "DEST")
    stranger.export(*rows, options=options)
    assert {file: action.replace("edited", "keep") for file, action in planned.items()} == done(stranger, before)
    assert planned | expected == planned


def test_a_track_that_stands_twice_is_called_as_by_the_export(stranger: Stranger, cloud: Cloud) -> None:
    stranger.run("fetch", "open:a")
    rows = (row("a", title="Opus"), row("a", title=""))
    stranger.export(*rows)
    assert set(actions(dry(stranger, *rows)).values()) == {"keep"}


def test_a_playlist_whose_tracks_were_deleted_is_kept_since_they_come_again(stranger: Stranger, cloud: Cloud) -> None:
    stranger.export(row("a"), LOCAL)
    for file in stranger.media():
        file.unlink()
    assert actions(dry(stranger, row("a"), LOCAL)) == {"01 - a.wav": "add", "02 - Mine.wav": "add", PLAYLIST: "keep"}


def test_a_title_in_other_letters_is_an_addition_and_a_removal(stranger: Stranger, cloud: Cloud) -> None:
    stranger.export(row("a", title="song"))
    planned = actions(dry(stranger, row("a", title="Song"), options=("--renumber",)))
    before = snapshot(stranger.home / "DEST")
    stranger.export(row("a", title="Song"), options=("--renumber",))
    assert planned == done(stranger, before) == {"01 - Song.wav": "add", "01 - song.wav": "remove", PLAYLIST: "replace"}


def test_an_edited_playlist_keeps_the_letters_of_its_name(stranger: Stranger, cloud: Cloud) -> None:
    stranger.export(row("a"))
    (stranger.home / "DEST" / PLAYLIST).write_text("mine")
    planned = actions(dry(stranger, row("a"), options=("--name", PLAYLIST.removesuffix(".m3u8").upper())))
    assert planned == {"01 - a.wav": "keep", PLAYLIST: "edited"}


def test_hard_links_to_another_disk_are_refused_as_by_the_export(
    stranger: Stranger, cloud: Cloud, another_disk: Path
) -> None:
    """Whether tracks are to be downloaded, cached or copies by now; but not where nothing has to be linked."""
    mix, dest = stranger.mix(row("a"), row("c"), LOCAL), another_disk / "new" / "DEST"
    export = ("export", mix, str(dest))
    strict = (*export, "--link-mode", "hardlink")
    sentence = r"cannot be made as a hardlink: Invalid cross-device link; the link mode auto copies"
    for _ in ("to be downloaded", "cached"):
        assert re.search(sentence, stranger.run(*strict, "--dry-run", code=1).err)
        assert not dest.parent.exists()
        assert re.search(sentence, stranger.run(*strict, code=1).err)
        dest.parent.rmdir()
    stranger.run(*export)
    assert re.search(sentence, stranger.run(*strict, "--dry-run", code=1).err)
    assert re.search(sentence, stranger.run(*strict, code=1).err)
    stranger.run(*export, "--dry-run")
    local = stranger.mix(LOCAL)
    for options in (("--dry-run",), ()):
        stranger.run("export", local, str(another_disk / "local"), "--link-mode", "hardlink", *options)


def test_what_somebody_changed_is_listed_as_edited_or_as_replaced_when_asked_for(
    stranger: Stranger, cloud: Cloud
) -> None:
    stranger.export(row("a"), row("b"))
    for file in ("media/01 - a.wav", "media/02 - b.wav", PLAYLIST):
        path = stranger.home / "DEST" / file
        path.chmod(0o644)
        path.write_bytes(b"mine")
    edited = {"01 - a.wav": "edited", "02 - b.wav": "edited", PLAYLIST: "edited"}
    assert actions(dry(stranger, row("a"))) == edited
    replaced = edited | {"01 - a.wav": "replace", PLAYLIST: "replace"}
    assert actions(dry(stranger, row("a"), options=("--overwrite-edited",))) == replaced


def test_what_the_cache_has_lost_is_to_be_downloaded_for_the_file_that_is_there(
    stranger: Stranger, cloud: Cloud
) -> None:
    stranger.export(row("a"), row("b"))
    stranger.run("rm", "open:a")
    facts = dry(stranger, row("a"), row("b"))
    assert actions(facts) == {"01 - a.wav": "replace", "02 - b.wav": "keep", PLAYLIST: "keep"}
    assert facts["downloads"] == ["open:a"]
    assert dry(stranger, row("a"), row("b"), options=("--refresh",))["downloads"] == ["open:a", "open:b"]


def test_what_would_fail_is_said_with_the_exit_code(stranger: Stranger, cloud: Cloud) -> None:
    stranger.run("fetch", "open:a")
    (stranger.home / "local.wav").unlink()
    rows = (row("a"), row("b"), LOCAL)
    facts = dry(stranger, *rows, options=("--offline",), code=1)
    assert [error["code"] for error in facts["errors"]] == ["not_cached", "local_file"]
    assert actions(facts) == {"01 - a.wav": "add", PLAYLIST: "add"}
    dry(stranger, *rows, options=("--on-error", "skip"), code=3)
    export = ("export", stranger.mix(*rows), "DEST", "--dry-run")
    told = stranger.run(*export, code=1).err.splitlines()[0]
    assert told == "cachestore: 1 track would fail, and nothing would be published"
    told = stranger.run(*export, "--on-error", "skip", code=3).err.splitlines()[0]
    assert told == "cachestore: 1 track would fail"


def test_a_bundle_that_a_stopped_export_left_is_said_to_be_unfinished(stranger: Stranger, cloud: Cloud) -> None:
    stranger.export(row("a"))
    assert dry(stranger, row("a"))["unfinished"] is False
    bundle = stranger.home / "DEST" / "bundle.json"
    bundle.write_text(bundle.read_text().replace('"finished": true', '"finished": false'))
    assert dry(stranger, row("a"))["unfinished"] is True
    bundle.parent.rename(stranger.home / "a\abell")
    shown = stranger.run("export", stranger.mix(row("a")), "a\abell", "--dry-run").out
    assert (
        f"{stranger.home}/a\ufffdbell is unfinished: an export was stopped there, and the next one mends it\n" in shown
    )


def test_the_files_of_a_bundle_are_not_exported_into_itself(stranger: Stranger, cloud: Cloud) -> None:
    stranger.export(row("a"), LOCAL)
    before = snapshot(stranger.home / "DEST")
    playlist = str(stranger.home / "DEST" / PLAYLIST)
    for more in ((), ("--dry-run",), ("--renumber",)):
        said = stranger.run("export", playlist, "DEST", *more, code=4).sentence
        assert "has a track of the mix, 01 - a.wav, as a file of the bundle that is there" in said
    (stranger.home / "alias.wav").symlink_to(stranger.home / "DEST/media/01 - a.wav")
    said = stranger.run("export", stranger.mix({"path": "alias.wav"}), "DEST", code=4).sentence
    assert "has a track of the mix, alias.wav, as a file of the bundle that is there" in said
    assert snapshot(stranger.home / "DEST") == before
    stranger.run("export", playlist, "OTHER")
    (stranger.home / "DEST/media/extra.wav").write_bytes(wave(3000, seed=2))
    stranger.export({"path": "DEST/media/extra.wav", "title": "Extra"})


@pytest.mark.parametrize("dest", ["loop", "loop/x"])
def test_a_destination_that_leads_in_a_circle_is_refused(stranger: Stranger, cloud: Cloud, dest: str) -> None:
    (stranger.home / "loop").symlink_to("loop")
    for more in ((), ("--dry-run",)):
        assert "levels of symbolic links" in stranger.run("export", stranger.mix(LOCAL), dest, *more, code=4).sentence


def test_a_person_reads_a_table(stranger: Stranger, cloud: Cloud) -> None:
    stranger.export(row("a"), row("b"))
    shown = stranger.run("export", stranger.mix(row("a"), row("c")), "DEST", "--dry-run").out
    lines = [re.sub(" +", " ", line.rstrip()) for line in shown.splitlines()]
    assert lines == [
        "ACTION FROM SIZE FILE",
        "keep cache 4.0 kB media/01 - a.wav",
        "add download media/02 - c.*",
        "replace Friday Warm-up.m3u8",
        "remove media/02 - b.wav",
        "1 keep, 1 add, 1 replace, 1 remove; 1 download; nothing was done",
    ]


def test_what_an_export_refuses_a_dry_run_refuses(stranger: Stranger, cloud: Cloud, tmp_path: Path) -> None:
    (stranger.home / "DEST").mkdir()
    (stranger.home / "DEST" / "thesis.txt").touch()
    mix = stranger.mix(row("a"))
    assert "no bundle of ours" in stranger.run("export", mix, "DEST", "--dry-run", code=4).sentence
    stranger.run("export", mix, "NEW", "--dry-run", "--template", "{x}", code=2)
    stranger.run("export", mix, "NEW", "--dry-run", "--events", "ndjson", code=2)
