"""Links: one more name, in the mode that was asked for or an honest fallback."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NoReturn

import pytest

from cachestore.errors import LinkError, NoSpace
from cachestore.links import LinkMode, copy_private, link

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NO_LINK_HERE = [errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(b"bytes")
    path.chmod(0o444)
    return path


def failing(number: int) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


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


@pytest.mark.parametrize("number", NO_LINK_HERE, ids=errno.errorcode.get)
def test_auto_copies_where_no_hard_link_is_possible_and_says_so(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", failing(number))
    assert link(source, tmp_path / "a", LinkMode.AUTO) is LinkMode.COPY
    assert (tmp_path / "a").read_bytes() == b"bytes"


@pytest.mark.parametrize("number", NO_LINK_HERE, ids=errno.errorcode.get)
def test_a_strict_hard_link_is_an_error_where_none_is_possible(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", failing(number))
    with pytest.raises(LinkError) as caught:
        link(source, tmp_path / "a", LinkMode.HARDLINK)
    assert caught.value.mode == "hardlink"
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_full_disk_is_no_reason_to_copy(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", failing(number))
    with pytest.raises(NoSpace):
        link(source, tmp_path / "a", LinkMode.AUTO)
    assert not (tmp_path / "a").exists()


def test_a_copy_that_fills_the_disk_is_removed(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.copyfileobj", failing(errno.ENOSPC))
    with pytest.raises(NoSpace, match="is full"):
        link(source, tmp_path / "a", LinkMode.COPY)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("mode", [LinkMode.AUTO, LinkMode.HARDLINK, LinkMode.COPY, LinkMode.REFLINK])
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


def test_a_users_own_file_is_never_hard_linked(source: Path, tmp_path: Path) -> None:
    assert copy_private(source, tmp_path / "a") in {LinkMode.REFLINK, LinkMode.COPY}
    assert (tmp_path / "a").read_bytes() == b"bytes"
    assert source.stat().st_nlink == 1
    assert mode_of(tmp_path / "a") & 0o200
