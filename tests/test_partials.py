from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachestore.blobs import BlobDigest
from cachestore.errors import Cancelled
from cachestore.partials import Partial, claim
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from pathlib import Path

STRONG = Version(VersionKind.STRONG, '"a"')
GO_ON = threading.Event()


def _digest(data: bytes) -> str:
    running = BlobDigest()
    running.update(data)
    return running.hexdigest()


def kept(folder: Path, data: bytes, version: Version = STRONG, total: int = 100) -> None:
    with claim(folder, "studio:t42") as partial:
        partial.begin(version, total)
        partial.write(data)


def adopted(folder: Path, address: str = "studio:t42") -> Partial:
    partial = claim(folder, address)
    partial.adopt(GO_ON)
    return partial


def test_a_partial_is_taken_over_with_its_bytes_hashed_again(tmp_path: Path) -> None:
    kept(tmp_path, b"abc")
    partial = adopted(tmp_path)
    assert (partial.version, partial.total, partial.received) == (STRONG, 100, 3)
    partial.write(b"def")
    partial.finish()
    assert partial.hexdigest == _digest(b"abcdef")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"abcdef"]


def test_a_partial_can_be_claimed_once(tmp_path: Path) -> None:
    kept(tmp_path, b"abc")
    assert adopted(tmp_path).received == 3
    assert adopted(tmp_path).received == 0


def test_a_partial_of_another_track_is_not_touched(tmp_path: Path) -> None:
    kept(tmp_path, b"abc")
    assert adopted(tmp_path, "home:t42").received == 0
    assert adopted(tmp_path).received == 3


def test_a_partial_that_is_finished_leaves_the_with_block_as_it_is(tmp_path: Path) -> None:
    with claim(tmp_path, "studio:t42") as partial:
        partial.begin(STRONG, 3)
        partial.write(b"abc")
        partial.finish()
    assert [path.suffix for path in tmp_path.iterdir()] == [".work"]


@pytest.mark.parametrize(
    "sidecar",
    [
        b"",
        b'{"kind": "etag", "value": "\\"a\\"", "tot',
        b"[]",
        b"7",
        b'{"kind": "rumour", "value": "a", "total": 9}',
        b'{"kind": "etag", "value": 7, "total": 9}',
        b'{"kind": "etag", "value": "a", "total": "9"}',
        b'{"kind": "etag", "value": "a", "total": true}',
        b"\xff\xfe",
    ],
)
def test_a_partial_whose_sidecar_cannot_be_relied_on_is_dropped(tmp_path: Path, sidecar: bytes) -> None:
    kept(tmp_path, b"abc")
    next(tmp_path.glob("*.json")).write_bytes(sidecar)
    with adopted(tmp_path) as partial:
        assert partial.received == 0
    assert list(tmp_path.iterdir()) == []


def test_a_partial_without_its_sidecar_is_dropped(tmp_path: Path) -> None:
    kept(tmp_path, b"abc")
    next(tmp_path.glob("*.json")).unlink()
    with adopted(tmp_path) as partial:
        assert partial.received == 0
    assert list(tmp_path.iterdir()) == []


def test_a_cancel_while_bytes_are_hashed_again_gives_the_partial_back(tmp_path: Path) -> None:
    kept(tmp_path, bytes(3 * 1024 * 1024), total=10**7)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled), claim(tmp_path, "studio:t42") as partial:
        partial.adopt(cancel)
    assert adopted(tmp_path).received == 3 * 1024 * 1024


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    chunks=st.lists(st.tuples(st.binary(min_size=1, max_size=50), st.booleans()), max_size=8),
    kind=st.sampled_from([VersionKind.STRONG, VersionKind.PROVIDER, VersionKind.WEAK, VersionKind.MODIFIED]),
)
def test_whatever_was_interrupted_the_bytes_kept_are_a_beginning_of_the_body(
    tmp_path: Path, chunks: list[tuple[bytes, bool]], kind: VersionKind
) -> None:
    body = b"".join(chunk for chunk, _ in chunks)
    version = Version(kind, "v")
    sent = 0
    partial = adopted(tmp_path)
    partial.begin(version, len(body))
    for chunk, interrupted in chunks:
        partial.write(chunk)
        sent += len(chunk)
        if interrupted:
            partial.__exit__(None, None, None)
            partial = adopted(tmp_path)
            assert partial.received == (sent if kind in {VersionKind.STRONG, VersionKind.PROVIDER} else 0)
            if partial.received == 0:
                partial.begin(version, len(body))
                partial.write(body[:sent])
    partial.finish()
    assert partial.path.read_bytes() == body
    assert partial.hexdigest == _digest(body)
    partial.path.unlink()
    assert list(tmp_path.iterdir()) == []
