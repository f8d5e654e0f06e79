"""Blobs: a digest and its place, both ways; bytes hashed and compared."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from cachestore.blobs import BlobDigest, Blobs, checked, equal_bytes, hash_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
    from pathlib import Path

    blobs = Blobs(Path("/store/blobs-v1"))
    place = blobs.path(f"xxh3-128:{name}")
    assert place == Path("/store/blobs-v1/xxh3-128", name[:2], name[2:4], name[4:])
    assert blobs.digest_of(place) == f"xxh3-128:{name}"


@pytest.mark.parametrize("text", ["", "xxh3-128:", "xxh3-128:../../etc", "sha256:" + "0" * 32, "xxh3-128:" + "G" * 32])
def test_what_is_no_digest_has_no_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="is no digest"):
        Blobs(tmp_path).path(text)


@pytest.mark.parametrize(
    "name", ["notes.txt", "xxh3-128/ab/cd/ef", "xxh3-128/abc/d/" + "0" * 28, "md5/ab/cd/" + "0" * 28]
)
def test_a_file_that_is_no_blob_stands_for_no_digest(tmp_path: Path, name: str) -> None:
    assert Blobs(tmp_path).digest_of(tmp_path / name) is None
