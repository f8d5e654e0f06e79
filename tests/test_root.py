"""ROOT: what is trusted, what is refused, and what it says then."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NoReturn

import pytest

from cachestore.errors import RootMissing, RootTooNew, RootUnusable
from cachestore.root import BALLAST, create_root, drop_ballast, existing_root, load_ballast

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_root_is_private_and_says_to_backup_tools_what_it_is(tmp_path: Path) -> None:
    root = create_root(tmp_path / "a" / "root")
    assert stat.S_IMODE(root.path.stat().st_mode) == 0o700
    assert (root.path / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    names = {"CACHEDIR.TAG", "ballast", "blobs-v1", "index-v1", "partials-v1", "quarantine-v1", "runs-v1"}
    assert set(os.listdir(root.path)) == names


def test_creating_again_changes_nothing(tmp_path: Path) -> None:
    assert create_root(tmp_path / "root") == create_root(tmp_path / "root") == existing_root(tmp_path / "root")


def test_none_is_made_for_who_only_looks(tmp_path: Path) -> None:
    with pytest.raises(RootMissing, match="no store at"):
        existing_root(tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    create_root(tmp_path / "root")
    (tmp_path / "root" / "blobs-v2").mkdir()
    for use in (create_root, existing_root):
        with pytest.raises(RootTooNew, match="blobs-v2"):
            use(tmp_path / "root")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_root_that_others_may_write_into_is_refused(tmp_path: Path, mode: int) -> None:
    create_root(tmp_path / "root")
    (tmp_path / "root").chmod(mode)
    for use in (create_root, existing_root):
        with pytest.raises(RootUnusable, match="chmod 700"):
            use(tmp_path / "root")


def test_a_root_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_root(tmp_path / "root")
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    for use in (create_root, existing_root):
        with pytest.raises(RootUnusable, match="belongs to user"):
            use(tmp_path / "root")


def test_a_folder_with_other_files_is_not_made_a_root(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RootUnusable, match="other files"):
        create_root(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_file_is_no_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for use in (create_root, existing_root):
        with pytest.raises(RootUnusable, match="it is a file"):
            use(tmp_path / "file")


def test_a_place_below_a_file_is_no_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RootUnusable, match="Not a directory"):
        create_root(tmp_path / "file" / "root")


@pytest.mark.parametrize("name", ["blobs-v1", "partials-v1", "index-v1"])
def test_a_folder_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    create_root(tmp_path / "root")
    (tmp_path / "documents").mkdir()
    (tmp_path / "root" / name).rmdir()
    (tmp_path / "root" / name).symlink_to(tmp_path / "documents")
    for use in (create_root, existing_root):
        with pytest.raises(RootUnusable, match=name):
            use(tmp_path / "root")


@pytest.mark.parametrize("name", ["blobs-v1", "runs-v1", "quarantine-v1"])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    create_root(tmp_path / "root")
    (tmp_path / "root" / name).rmdir()
    (tmp_path / "root" / name).write_text("mine")
    for use in (create_root, existing_root):
        with pytest.raises(RootUnusable, match=f"{name} is no folder; move it away"):
            use(tmp_path / "root")


@pytest.mark.parametrize("name", ["cache.db", "cache.db-wal"])
def test_a_symlink_in_the_place_of_the_database_is_refused(tmp_path: Path, name: str) -> None:
    root = create_root(tmp_path / "root")
    (root.index / name).symlink_to(tmp_path / "thesis.txt")
    for use in (create_root, existing_root):
        with pytest.raises(RootUnusable, match=f"index-v1/{name} is a symbolic link"):
            use(tmp_path / "root")
    assert not (tmp_path / "thesis.txt").exists()


def test_the_tag_of_a_new_store_is_not_written_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir(mode=0o700)
    (tmp_path / "root" / "CACHEDIR.TAG").symlink_to(tmp_path / "thesis.txt")
    create_root(tmp_path / "root")
    assert not (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize("name", ["blobs-v1", "index-v1", "partials-v1", "quarantine-v1", "runs-v1"])
def test_a_folder_below_that_others_may_write_into_is_refused(tmp_path: Path, name: str) -> None:
    create_root(tmp_path / "root")
    (tmp_path / "root").chmod(0o755)
    (tmp_path / "root" / name).chmod(0o777)
    for use in (create_root, existing_root):
        with pytest.raises(RootUnusable, match=f"others may write into {name}; run: chmod 700 .*{name}"):
            use(tmp_path / "root")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_folder_below_of_another_user_is_refused(tmp_path: Path) -> None:
    root = create_root(tmp_path / "root")
    os.chown(root.partials, 1, 1)
    for use in (create_root, existing_root):
        with pytest.raises(RootUnusable, match="partials-v1 belongs to user 1 and you are 0"):
            use(tmp_path / "root")


def test_an_empty_folder_that_becomes_a_root_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir(mode=0o755)
    create_root(tmp_path / "root")
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["x" * 300, "loop"])
def test_a_place_that_the_system_cannot_look_at_is_said_to_be_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for use in (create_root, existing_root):
        with pytest.raises(RootUnusable, match=r"File name too long|Too many levels|it is a file"):
            use(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(RootUnusable, match="Permission denied"):
        create_root(tmp_path / "locked" / "root")


# --- ballast


def test_a_new_root_keeps_a_little_of_the_disk_back(tmp_path: Path) -> None:
    root = create_root(tmp_path / "root")
    assert root.ballast.stat().st_blocks * 512 >= BALLAST
    assert drop_ballast(root)
    assert not drop_ballast(root)
    assert not create_root(tmp_path / "root").ballast.exists()
    load_ballast(root)
    assert root.ballast.stat().st_blocks * 512 >= BALLAST


def test_where_blocks_cannot_be_asked_for_the_ballast_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    root = create_root(tmp_path / "root")
    assert root.ballast.stat().st_size == BALLAST
    assert len(set(root.ballast.read_bytes()[:1000])) > 100


def test_a_disk_without_room_for_the_ballast_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    assert not create_root(tmp_path / "root").ballast.exists()


def test_a_pipe_in_the_place_of_the_ballast_is_not_waited_for(tmp_path: Path) -> None:
    root = create_root(tmp_path / "root")
    drop_ballast(root)
    os.mkfifo(root.ballast)
    load_ballast(root)
    assert not root.ballast.exists()


def test_a_symlink_in_the_place_of_the_ballast_is_not_followed(tmp_path: Path) -> None:
    root = create_root(tmp_path / "root")
    (tmp_path / "thesis.txt").write_text("mine")
    drop_ballast(root)
    root.ballast.symlink_to(tmp_path / "thesis.txt")
    load_ballast(root)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
