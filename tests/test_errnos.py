"""Every errno its own right answer: the rows of the table in docs/design.md, one after the other."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cachestore import blobs
from cachestore.errors import DestinationError, LinkError, NoSpace
from cachestore.links import REFUSALS, LinkMode, NoMoreNames, copy_private, link
from cachestore.quantities import format_size
from tests.clouds import Cloud
from tests.downloads import wave
from tests.invariants import blobs_of, digest_of
from tests.refusals import Refusal, run_refused
from tests.stranger import row, snapshot
from tests.test_stress import spoil

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

    from tests.conftest import StartRawServer
    from tests.servers import Nginx
    from tests.stranger import Stranger

NO_HARD_LINK = [
    errno.EXDEV,
    errno.EPERM,
    errno.EACCES,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EISDIR,
]
NO_FILE = [errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP]
NO_SPACE = [errno.ENOSPC, errno.EDQUOT]
FULL = {errno.ENOSPC: "the disk of", errno.EDQUOT: "your quota on the disk of"}


def named(numbers: list[int]) -> list[ParameterSet]:
    return [pytest.param(number, id=errno.errorcode[number]) for number in dict.fromkeys(numbers)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(b"bytes")
    return path


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return what undoes, at the end of the test, all that a refusal replaces."""
    monkeypatch.setattr(os, "link", os.link)
    monkeypatch.setattr(Path, "open", Path.open)
    monkeypatch.setattr("cachestore.blobs._opened", blobs._opened)
    return monkeypatch


def test_every_errno_of_the_table_is_tried() -> None:
    assert set(REFUSALS) == {*NO_HARD_LINK, *NO_FILE, *NO_SPACE, errno.EMLINK, errno.EFBIG, errno.EIO}


# --- a link


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("number", named(NO_HARD_LINK))
def test_where_no_hard_link_is_possible_auto_copies_and_hardlink_is_an_error(
    source: Path, tmp_path: Path, number: int
) -> None:
    Refusal("link", number).begin()
    assert link(source, tmp_path / "a", LinkMode.AUTO) is LinkMode.COPY
    assert (tmp_path / "a").read_bytes() == b"bytes"
    with pytest.raises(LinkError) as caught:
        link(source, tmp_path / "b", LinkMode.HARDLINK)
    assert (caught.value.mode, caught.value.reason) == ("hardlink", os.strerror(number))
    assert not (tmp_path / "b").exists()


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("mode", [LinkMode.AUTO, LinkMode.HARDLINK])
def test_a_file_with_all_its_names_is_not_copied_but_told_to_who_can_rotate_it(
    source: Path, tmp_path: Path, mode: LinkMode
) -> None:
    Refusal("link", errno.EMLINK).begin()
    with pytest.raises(NoMoreNames):
        link(source, tmp_path / "a", mode)
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("mode", [LinkMode.AUTO, LinkMode.HARDLINK])
@pytest.mark.parametrize("number", named(NO_FILE))
def test_where_nothing_can_be_written_no_copy_is_tried(
    source: Path, tmp_path: Path, mode: LinkMode, number: int
) -> None:
    Refusal("link", number).begin()
    with pytest.raises(DestinationError) as caught:
        link(source, tmp_path / "a", mode)
    assert os.strerror(number) in str(caught.value)
    assert caught.value.dest == tmp_path / "a"
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("mode", [LinkMode.AUTO, LinkMode.HARDLINK])
@pytest.mark.parametrize("number", named(NO_SPACE))
def test_a_full_disk_is_no_reason_to_copy(source: Path, tmp_path: Path, mode: LinkMode, number: int) -> None:
    Refusal("link", number).begin()
    with pytest.raises(NoSpace, match=FULL[number]) as caught:
        link(source, tmp_path / "a", mode)
    assert caught.value.path == tmp_path
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("refused")
def test_a_disk_that_fails_is_no_reason_to_copy(source: Path, tmp_path: Path) -> None:
    Refusal("link", errno.EIO).begin()
    with pytest.raises(OSError, match="Input/output error") as caught:
        link(source, tmp_path / "a", LinkMode.AUTO)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path / "a"))


# --- a copy


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("number", named([*NO_FILE, errno.EFBIG, errno.EACCES, errno.EPERM]))
def test_a_copy_that_cannot_be_written_says_where(source: Path, tmp_path: Path, number: int) -> None:
    Refusal("write", number, "/a").begin()
    with pytest.raises(DestinationError) as caught:
        link(source, tmp_path / "a", LinkMode.COPY)
    assert caught.value.dest == tmp_path / "a"
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("number", named(NO_SPACE))
def test_a_copy_that_fills_the_disk_is_removed(source: Path, tmp_path: Path, number: int) -> None:
    Refusal("write", number, "/a").begin()
    with pytest.raises(NoSpace, match=FULL[number]) as caught:
        link(source, tmp_path / "a", LinkMode.COPY)
    assert caught.value.path == tmp_path
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize(("call", "name"), [("read", "blob"), ("write", "a")])
def test_a_copy_names_the_file_whose_disk_fails(source: Path, tmp_path: Path, call: str, name: str) -> None:
    Refusal(call, errno.EIO, f"/{name}").begin()
    with pytest.raises(OSError, match="Input/output error") as caught:
        link(source, tmp_path / "a", LinkMode.COPY)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path / name))
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("number", named([errno.EACCES, errno.ENOENT, errno.ESTALE]))
def test_a_users_file_that_cannot_be_read_is_not_the_fault_of_the_destination(
    source: Path, tmp_path: Path, number: int
) -> None:
    Refusal("read", number, "/blob").begin()
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        copy_private(source, tmp_path / "a")
    assert caught.value.filename == str(source)


# --- what somebody sees


@pytest.mark.parametrize("number", named(NO_HARD_LINK))
def test_an_export_to_where_no_hard_links_are_copies_and_says_so_once(
    stranger: Stranger, cloud: Nginx, number: int
) -> None:
    mix = stranger.mix(row("t-flac"), row("t-mp3"))
    ran = run_refused(stranger, Refusal("link", number, "/media/"), "export", mix, "DEST", code=0)
    size = sum(file.stat().st_size for file in stranger.media())
    assert ran.err.count("copied") == 1
    assert "2 files were copied" in ran.err
    assert size > 0
    assert "2 copies" in ran.out


def test_a_strict_export_to_where_no_hard_links_are_publishes_nothing(stranger: Stranger, cloud: Nginx) -> None:
    mix = stranger.mix(row("t-flac"))
    refusal = Refusal("link", errno.EXDEV, "/media/")
    ran = run_refused(stranger, refusal, "export", mix, "DEST", "--link-mode", "hardlink", code=1)
    assert "auto copies where no link is possible" in ran.err
    assert stranger.has_no_bundle()


@pytest.mark.parametrize(
    ("refusal", "code", "sentence"),
    [
        (Refusal("link", errno.EROFS, "/media/"), 4, "cannot be written (Read-only file system)"),
        (Refusal("link", errno.ENAMETOOLONG, "/media/"), 4, "cannot be written (File name too long)"),
        (Refusal("link", errno.ELOOP, "/media/"), 4, "cannot be written (Too many levels of symbolic links)"),
        (Refusal("link", errno.ENOSPC, "/media/"), 4, "is full; free space there"),
        (Refusal("link", errno.EDQUOT, "/media/"), 4, "your quota on the disk of"),
        (Refusal("link", errno.EIO, "/media/"), 1, "Input/output error"),
        (Refusal("mkdir", errno.EROFS, ".cachestore-"), 4, "cannot be written (Read-only file system)"),
        (Refusal("mkdir", errno.ENOSPC, ".cachestore-"), 4, "is full; free space there"),
        (Refusal("mkdir", errno.EDQUOT, ".cachestore-"), 4, "your quota on the disk of"),
        (Refusal("mkdir", errno.EIO, ".cachestore-"), 1, "Input/output error"),
        (Refusal("rename", errno.EROFS, ".cachestore-"), 4, "cannot be written (Read-only file system)"),
        (Refusal("rename", errno.ENOSPC, ".cachestore-"), 4, "is full; free space there"),
        (Refusal("rename", errno.EIO, ".cachestore-"), 1, "Input/output error"),
        (Refusal("write", errno.ENOSPC, ".cachestore-"), 4, "is full; free space there"),
        (Refusal("write", errno.EDQUOT, ".cachestore-"), 4, "your quota on the disk of"),
        (Refusal("write", errno.EIO, ".cachestore-"), 1, "Input/output error"),
    ],
    ids=lambda value: f"{value.call} {errno.errorcode[value.number]}" if isinstance(value, Refusal) else "",
)
def test_an_export_that_cannot_write_its_bundle_publishes_nothing_and_keeps_the_tracks(
    stranger: Stranger, cloud: Nginx, refusal: Refusal, code: int, sentence: str
) -> None:
    ran = run_refused(stranger, refusal, "export", stranger.mix(row("t-flac")), "DEST", code=code)
    assert sentence in ran.err
    assert stranger.has_no_bundle()
    stranger.export(row("t-flac"))


@pytest.mark.parametrize(
    ("refusal", "code", "sentence"),
    [
        (Refusal("rename", errno.ENOSPC, "/blobs-v1/"), 4, "is full; free space there"),
        (Refusal("rename", errno.EDQUOT, "/blobs-v1/"), 4, "your quota on the disk of"),
        (Refusal("rename", errno.EIO, "/blobs-v1/"), 1, "Input/output error"),
        (Refusal("rename", errno.EROFS, "/blobs-v1/"), 1, "Read-only file system"),
        (Refusal("mkdir", errno.ENOSPC, "/blobs-v1/"), 4, "is full; free space there"),
        (Refusal("mkdir", errno.EACCES, "/blobs-v1/"), 1, "Permission denied"),
        (Refusal("chmod", errno.EIO, "/partials-v1/"), 1, "Input/output error"),
        (Refusal("write", errno.ENOSPC, "/partials-v1/"), 4, "is full; free space there"),
        (Refusal("write", errno.EDQUOT, "/partials-v1/"), 4, "your quota on the disk of"),
        (Refusal("write", errno.EIO, "/partials-v1/"), 1, "Input/output error"),
        (Refusal("statement", sqlite3.SQLITE_FULL, "COMMIT"), 4, "is full; free space there"),
        (Refusal("statement", sqlite3.SQLITE_IOERR, "COMMIT"), 1, "Input/output error"),
        (Refusal("statement", sqlite3.SQLITE_READONLY, "BEGIN"), 4, "its index cannot be opened or written"),
    ],
    ids=lambda value: f"{value.call} {value.where} {value.number}" if isinstance(value, Refusal) else "",
)
def test_a_store_that_cannot_be_written_says_so_and_stays_right(
    stranger: Stranger, cloud: Nginx, refusal: Refusal, code: int, sentence: str
) -> None:
    stranger.run("fetch", "open:t-mp3")
    ran = run_refused(stranger, refusal, "fetch", "open:t-flac", code=code)
    assert sentence in ran.err
    assert str(stranger.root) in ran.err
    stranger.run("fetch", "open:t-flac", "open:t-mp3")
    stranger.run("verify")


@pytest.mark.parametrize("number", named([errno.EPERM, errno.EACCES]))
def test_a_file_that_is_locked_is_told_by_who_cannot_remove_it(stranger: Stranger, cloud: Nginx, number: int) -> None:
    stranger.configure(cloud.url, min_age=0)
    stranger.run("fetch", "open:t-flac")
    refusal = Refusal("unlink", number, "/blobs-v1/")
    assert "locked against removal" in run_refused(stranger, refusal, "rm", "open:t-flac", code=1).err
    ran = run_refused(stranger, refusal, "prune", "--max-size", "0", code=4)
    assert "stays: locked against removal" in ran.out
    [blob] = blobs_of(stranger.root).values()
    cost = format_size(blob.stat().st_blocks * 512)
    assert f"removed 0 tracks, 0 B; then {cost} of 0 B used" in ran.out
    assert f"{cost} locked against removal" in ran.err
    stranger.run("verify")


@pytest.mark.parametrize("command", [("export", "mix.json", "AGAIN"), ("fetch", "open:t-flac")])
def test_what_cannot_be_read_is_neither_thrown_away_nor_downloaded_again(
    stranger: Stranger, cloud: Nginx, command: tuple[str, ...]
) -> None:
    before = kept(stranger)
    asked = len(cloud.requests())
    ran = run_refused(stranger, Refusal("read", errno.EIO, "/blobs-v1/"), *command, code=1)
    assert "Input/output error" in ran.err
    assert str(next(iter(blobs_of(stranger.root).values()))) in ran.err
    assert snapshot(stranger.root / "blobs-v1") == before
    assert len(cloud.requests()) == asked


def test_what_cannot_be_read_does_not_count_as_cached(stranger: Stranger, cloud: Nginx) -> None:
    kept(stranger)
    stranger.run("fetch", "open:t-mp3")
    [blob] = [path for path in blobs_of(stranger.root).values() if path.read_bytes()[:4] == b"fLaC"]
    mix = stranger.mix(row("t-mp3"), row("t-flac"))
    ran = run_refused(stranger, Refusal("read", errno.EIO, str(blob)), "export", mix, "AGAIN", code=1)
    assert ran.err.splitlines()[-1].startswith("1 of 2 is cached; run again: ")


def test_what_cannot_be_read_fails_its_own_track_alone(stranger: Stranger, cloud: Nginx) -> None:
    before = kept(stranger)
    [blob] = blobs_of(stranger.root).values()
    refusal = Refusal("read", errno.EIO, str(blob))
    mix = stranger.mix(row("t-mp3"), row("t-flac"))
    ran = run_refused(stranger, refusal, "export", mix, "AGAIN", "--on-error", "skip", code=3)
    assert (
        f"cannot be read ({blob}: Input/output error); mend that, or have it downloaded again: cachestore rm" in ran.err
    )
    assert [path.suffix for path in (stranger.home / "AGAIN" / "media").iterdir()] == [".mp3"]
    assert before.items() <= snapshot(stranger.root / "blobs-v1").items()
    stranger.run("export", mix, "AGAIN")


def test_an_old_version_that_cannot_be_read_is_missed_by_nobody(stranger: Stranger, raw_server: StartRawServer) -> None:
    old, new = wave(9000, seed=1), wave(9000, seed=2)
    cloud = Cloud({"t": [old, new]})
    stranger.configure(raw_server(cloud).url)
    stranger.run("fetch", "open:t")
    cloud.update()
    stranger.run("fetch", "open:t")
    blob = blobs_of(stranger.root)[digest_of(old)]
    os.utime(blob, (1, 1))  # it has to be read again
    run_refused(stranger, Refusal("read", errno.EIO, str(blob)), "export", stranger.mix(row("t")), "DEST", code=0)
    assert [path.read_bytes() for path in stranger.media()] == [new]


@pytest.mark.parametrize("number", named([errno.EIO, errno.EACCES]))
def test_bytes_that_are_here_and_cannot_be_read_fail_alone_the_track_that_brings_them_again(
    stranger: Stranger, raw_server: StartRawServer, number: int
) -> None:
    same, other = wave(9000, seed=1), wave(9000, seed=2)
    stranger.configure(raw_server(Cloud({"a": [same], "b": [same], "c": [other]})).url)
    stranger.run("fetch", "open:a")
    blob = blobs_of(stranger.root)[digest_of(same)]
    mix, refusal = stranger.mix(row("b"), row("c")), Refusal("read", number, str(blob))
    ran = run_refused(stranger, refusal, "export", mix, "DEST", "--on-error", "skip", code=3)
    reason = f"cannot be read or put away ({blob}: {os.strerror(number)}); mend that, or move the file away"
    assert reason in ran.err
    assert [path.read_bytes() for path in stranger.media()] == [other]
    assert blob.read_bytes() == same
    blob.rename(stranger.home / "away")
    stranger.run("export", mix, "DEST")
    stranger.run("prune")
    stranger.run("verify")


def test_a_file_that_was_changed_and_locked_fails_its_own_track_alone(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"))
    [blob] = blobs_of(stranger.root).values()
    spoil(blob, 500)
    mix = stranger.mix(row("t-mp3"), row("t-flac"))
    refusal = Refusal("unlink", errno.EPERM, str(blob))
    ran = run_refused(stranger, refusal, "export", mix, "AGAIN", "--on-error", "skip", code=3)
    assert f"was changed and cannot be put away ({blob}: Operation not permitted); unlock it" in ran.err
    assert [path.suffix for path in (stranger.home / "AGAIN" / "media").iterdir()] == [".mp3"]
    assert stranger.run("export", mix, "AGAIN").code == 0


@pytest.mark.parametrize("command", ["verify", "repair"])
def test_what_cannot_be_read_is_told_by_verify_and_left_by_repair(
    stranger: Stranger, cloud: Nginx, command: str
) -> None:
    before = kept(stranger)
    ran = run_refused(stranger, Refusal("read", errno.EIO, "/blobs-v1/"), command, code=1)
    assert snapshot(stranger.root / "blobs-v1") == before
    assert "unreadable" in ran.out
    assert command == "repair" or ran.out.endswith("\nto mend this, run: cachestore repair\n")
    stranger.run("verify")


def kept(stranger: Stranger) -> dict[str, object]:
    """Return the files of a store whose blob has to be hashed at its next use."""
    stranger.export(row("t-flac"))
    [blob] = blobs_of(stranger.root).values()
    os.utime(blob)
    return dict(snapshot(stranger.root / "blobs-v1"))
