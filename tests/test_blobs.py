"""Blobs: a digest and its place, both ways; bytes hashed and compared."""

from __future__ import annotations

import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from cachestore.blobs import BlobDigest, Blobs, checked, equal_bytes, hash_file, move_away, moved_at
from cachestore.errors import RootUnusable

if TYPE_CHECKING:
    from collections.abc import Callable


@given(st.lists(st.binary()))
def test_a_digest_fed_in_pieces_is_that_of_the_whole(pieces: list[bytes]) -> None:
    digest = BlobDigest()
    for piece in pieces:
        digest.update(piece)
    assert digest.hexdigest() == f"xxh3-128:{xxh3_128_hexdigest(b''.join(pieces))}"


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 1_000_000])
def test_a_file_is_hashed_to_its_last_byte(tmp_path: Path, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    (tmp_path / "file").write_bytes(data[:size])
    assert hash_file(tmp_path / "file") == f"xxh3-128:{xxh3_128_hexdigest(data[:size])}"


@given(st.binary(), st.binary())
def test_files_are_equal_when_their_bytes_are(tmp_path_factory: pytest.TempPathFactory, a: bytes, b: bytes) -> None:
    folder = tmp_path_factory.mktemp("equal")
    (folder / "a").write_bytes(a)
    (folder / "b").write_bytes(b)
    assert equal_bytes(folder / "a", folder / "b") == (a == b)
    assert equal_bytes(folder / "b", folder / "a") == (a == b)


@pytest.mark.parametrize("read", [hash_file, lambda path: equal_bytes(path, path)])
def test_a_long_read_ends_when_a_check_raises(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10 * 256 * 1024))
    checks: list[None] = []

    def check() -> None:
        checks.append(None)
        if len(checks) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError), checked(check):
        read(path)
    read(path)
    assert len(checks) == 3


def test_checks_nest_and_are_of_one_thread(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    checks: list[str] = []
    with checked(lambda: checks.append("outer")), ThreadPoolExecutor() as pool:
        with checked(lambda: checks.append("inner")):
            hash_file(path)
        pool.submit(hash_file, path).result()
        hash_file(path)
    assert checks == ["inner", "outer"]


@given(st.text("0123456789abcdef", min_size=32, max_size=32))
def test_the_place_of_a_digest_stands_for_that_digest(name: str) -> None:
    blobs = Blobs(Path("/store/blobs-v1"))
    place = blobs.path(f"xxh3-128:{name}")
    assert place == Path("/store/blobs-v1/xxh3-128", name[:2], name[2:])
    assert blobs.digest_of(str(place)) == f"xxh3-128:{name}"


@pytest.mark.parametrize("text", ["", "xxh3-128:", "xxh3-128:../../etc", "sha256:" + "0" * 32, "xxh3-128:" + "G" * 32])
def test_what_is_no_digest_has_no_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="is no digest"):
        Blobs(tmp_path).path(text)


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "xxh3-128/ab/cdef", "xxh3-128/abc/" + "0" * 29, "xxh3-128/ab/cd/" + "0" * 28, "md5/ab/" + "0" * 30],
)
def test_a_file_that_is_no_blob_stands_for_no_digest(tmp_path: Path, name: str) -> None:
    assert Blobs(tmp_path).digest_of(str(tmp_path / name)) is None


# --- what lies in the way of blobs

DIGEST = "xxh3-128:" + "ab" * 16
WAYS = pytest.mark.parametrize("way", [".", "ab"])


def finished(tmp_path: Path) -> Path:
    (tmp_path / "finished").write_bytes(b"body")
    return tmp_path / "finished"


def lead_away(tmp_path: Path, way: str) -> Path:
    """Put a symlink in the place of a folder that leads to DIGEST, and return a file where it leads to."""
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "blobs-v1" / "xxh3-128" / way
    file = elsewhere / Path("ab", "ab" * 15).relative_to(way)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"mine")
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    return file


@WAYS
@pytest.mark.parametrize("plant", ["symlink", "file"])
def test_what_is_in_the_place_of_a_folder_of_blobs_is_told_and_no_symlink_is_followed(
    tmp_path: Path, way: str, plant: str
) -> None:
    mine = lead_away(tmp_path, way)
    place, blobs = tmp_path / "blobs-v1" / "xxh3-128" / way, Blobs(tmp_path / "blobs-v1")
    if plant == "file":
        place.unlink()
        place.write_text("mine")
        assert blobs.stat(DIGEST) is None
        blobs.remove(DIGEST)
    looking = (blobs.stat, blobs.remove) if plant == "symlink" else ()
    for use in (*looking, blobs.make_room, lambda _: blobs.publish(finished(tmp_path), DIGEST)):
        with pytest.raises(RootUnusable, match=r"blobs-v1/xxh3-128\S* is no folder; run: cachestore repair"):
            use(DIGEST)
    assert [*blobs.iterate()] == ([str(place)] if plant == "file" else [])
    assert [path.read_bytes() for path in mine.parent.iterdir()] == [b"mine"]
    assert finished(tmp_path).exists()


def test_folders_that_are_removed_meanwhile_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "blobs-v1").mkdir()
    blobs = Blobs(tmp_path / "blobs-v1")
    for _ in range(2):
        blobs.publish(finished(tmp_path), DIGEST)
        assert blobs.stat(DIGEST) is not None
        shutil.rmtree(tmp_path / "blobs-v1" / "xxh3-128")
        assert blobs.stat(DIGEST) is None


def test_every_folder_of_blobs_is_private(tmp_path: Path) -> None:
    (tmp_path / "blobs-v1").mkdir()
    mask = os.umask(0o002)
    try:
        place = Blobs(tmp_path / "blobs-v1").make_room(DIGEST)
    finally:
        os.umask(mask)
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in place.parents[:2]} == {0o700}


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, os.fsdecode(b"\xff" * 255), "short"])
def test_a_file_with_a_long_name_can_be_moved_away(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    (tmp_path / "quarantine").mkdir()
    move_away(tmp_path / name, name, tmp_path / "quarantine")
    [moved] = (tmp_path / "quarantine").iterdir()
    assert moved.read_text() == "mine"
    assert name.startswith(moved.name.rpartition("-")[0])
    assert moved_at(moved.name) is not None
