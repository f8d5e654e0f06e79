"""Links: one more name, in the mode that was asked for or an honest fallback."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from cachestore.blobs import checked
from cachestore.errors import Cancelled, LinkError
from cachestore.links import LinkMode, can_reflink, copy_private, link

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(b"bytes")
    path.chmod(0o444)
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [LinkMode.AUTO, LinkMode.HARDLINK])
def test_a_hard_link_is_the_same_file(source: Path, tmp_path: Path, mode: LinkMode) -> None:
    assert link(source, tmp_path / "a", mode) is LinkMode.HARDLINK
    assert (tmp_path / "a").samefile(source)
    assert mode_of(tmp_path / "a") == 0o444


def test_a_copy_is_a_writable_file_of_its_own(source: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert link(source, tmp_path / "a", LinkMode.COPY) is LinkMode.COPY
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_bytes() == b"bytes"
    assert not (tmp_path / "a").samefile(source)
    assert mode_of(tmp_path / "a") == 0o640


def test_a_copy_is_written_in_pieces_between_which_it_can_be_ended(source: Path, tmp_path: Path) -> None:
    source.chmod(0o644)
    os.truncate(source, 5_000_000)
    pieces = []

    def check() -> None:
        pieces.append((tmp_path / "a").stat().st_size)
        if len(pieces) == 3:
            raise Cancelled

    with checked(check), pytest.raises(Cancelled):
        link(source, tmp_path / "a", LinkMode.COPY)
    assert pieces[-1] < 3_000_000
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("mode", [LinkMode.AUTO, LinkMode.HARDLINK, LinkMode.COPY, LinkMode.REFLINK, LinkMode.EDITABLE])
def test_no_mode_overwrites(source: Path, tmp_path: Path, mode: LinkMode) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        link(source, tmp_path / "a", mode)
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_a_reflink_is_a_file_of_its_own_or_a_clear_error(source: Path, tmp_path: Path) -> None:
    try:
        link(source, tmp_path / "a", LinkMode.REFLINK)
    except LinkError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert "cannot be made as a reflink" in refusal
        assert not (tmp_path / "a").exists()
    else:
        assert (tmp_path / "a").read_bytes() == b"bytes"
        assert not (tmp_path / "a").samefile(source)


def test_an_editable_file_is_a_writable_one_of_its_own(source: Path, tmp_path: Path) -> None:
    assert link(source, tmp_path / "a", LinkMode.EDITABLE) in {LinkMode.REFLINK, LinkMode.COPY}
    assert not (tmp_path / "a").samefile(source)
    assert mode_of(tmp_path / "a") & 0o200


def test_whether_a_reflink_can_be_made_is_tried_and_nothing_is_left(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    possible = can_reflink(source, folder)
    assert list(folder.iterdir()) == []
    assert (link(source, folder / "a", LinkMode.EDITABLE) is LinkMode.REFLINK) == possible
    assert not can_reflink(tmp_path / "none", folder)


def test_a_users_own_file_is_never_hard_linked(source: Path, tmp_path: Path) -> None:
    assert copy_private(source, tmp_path / "a") in {LinkMode.REFLINK, LinkMode.COPY}
    assert (tmp_path / "a").read_bytes() == b"bytes"
    assert source.stat().st_nlink == 1
    assert mode_of(tmp_path / "a") & 0o200
