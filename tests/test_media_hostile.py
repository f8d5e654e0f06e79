"""cachestore.media with what no program wrote: typed errors only, little work and little memory for any file."""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachestore.errors import Cancelled, NotAudio, NotFound, Truncated, Unauthorized
from cachestore.media import MEDIA_TYPES, identify
from cachestore.track import Track

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.library import Sample

TRACK = Track("studio", "t1", title="Opus")
FTYP = b"\0\0\0\x14ftypM4A \0\0\0\0isom"
FLAC = b"fLaC\x80\0\0\x22" + b"\xff" * 34
WEBM = bytes.fromhex("1a45dfa387 4282847765626d 18538067 01ffffffffffffff")
OGG = b"OggS" + bytes(22) + b"\1\x08OpusHead"
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ADTS = bytes.fromhex("fff150800b9ffc") + bytes(85)


class Watched:
    """A path whose file tells how much was read of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.reads = self.largest = self.total = 0

    def open(self, mode: str) -> Watched:
        self._file = cast("BinaryIO", self._path.open(mode))
        return self

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def seek(self, place: int, whence: int = 0) -> int:
        return self._file.seek(place, whence)

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.reads, self.largest, self.total = self.reads + 1, max(self.largest, len(data)), self.total + len(data)
        return data


def judge(path: Path | Watched) -> str:
    """Return the extension of a file, or the reason of a typed error; nothing else may come."""
    try:
        media = identify(cast("Path", path), TRACK)
    except (Truncated, NotAudio, Unauthorized, NotFound) as error:
        return error.reason
    assert media.media_type == MEDIA_TYPES[media.ext]
    return media.ext


APPENDED = (b"TAG" + bytes(124) + b"x") * 16
HUGE_FRAMES = b"fLaC\x80\0\0\x22" + b"\xff" * 10 + b"\x0a\xc4\x4f\xf0" + bytes(20)
# A frame with a right checksum whose header has a wrong one.
ALMOST_A_FRAME = bytes.fromhex("fff8c9080000 b532")

LOOPS = {
    "wave": b"RIFF\xff\xff\xff\xffWAVE" + b"LIST\0\0\0\0" * 300_000,
    "aiff": b"FORM\0\0\0\0AIFF" + b"COMM\0\0\0\0" * 300_000,
    "caf": b"caff\0\1\0\0" + (b"free" + bytes(8)) * 200_000,
    "mp4": FTYP + b"\0\0\0\x08free" * 600_000,
    "mp4, index": FTYP + (8 << 20 | 8).to_bytes(4) + b"moov" + b"\0\0\0\x08trak" * (1 << 20) + b"\0\0\0\0mdat",
    "webm": WEBM + b"\xec\x80" * 1_100_000,
    "flac, metadata": b"fLaC\0\0\0\x22" + bytes(34) + b"\1\0\0\0" * 300_000,
    "flac, frames": FLAC + b"\xff\xf8\xc9\x08\x00\x95" * 300_000,
    "flac, tags": FLAC + (b"TAG" + bytes(124) + b"x") * 20_000,
    "flac, marks of tags": FLAC + b"ID3" * 300_000,
    "flac, noise": HUGE_FRAMES + random.Random(1).randbytes(4_300_000),
    "flac, almost frames": HUGE_FRAMES + ALMOST_A_FRAME * 500_000,
    "ogg": OGG + b"OggS" * 300_000,
    "wavpack": b"wvpk" * 300_000,
    "adts": ADTS + b"\xff\xf1" * 300_000,
    "adts, marks of tags before tags": ADTS * 2 + b"ID3" * 340_000 + APPENDED,
    "adts, headers of tags before tags": ADTS * 2 + b"ID3\4\0\0\0\0\0\1" * 100_000 + APPENDED,
    "tags in front": b"ID3\4\0\0\0\0\0\0" * 500_000,
    "sync bytes": b"ID3\4\0\0\0\0\0\0" + b"\xff" * 70_000,
    "asf": ASF * 1000,
    "comments": b"<!---->" * 20_000,
    "nested xml": b"<Error>" * 20_000,
    "nested json": b"[" * 100_000,
}


@pytest.mark.parametrize("name", LOOPS)
def test_what_goes_on_and_on_is_given_up(tmp_path: Path, name: str) -> None:
    path = tmp_path / "body"
    path.write_bytes(LOOPS[name])
    watched = Watched(path)
    assert judge(watched)
    assert watched.reads <= 400_010
    assert watched.total <= 32 << 20


class Clock:
    """A check that tells the longest processor time between two of its calls."""

    def __init__(self) -> None:
        self.longest, self._last = 0.0, time.thread_time()

    def __call__(self) -> None:
        now = time.thread_time()
        self.longest, self._last = max(self.longest, now - self._last), now


@pytest.mark.parametrize("name", [name for name in LOOPS if name not in {"ogg", "wavpack"}])
def test_what_goes_on_can_be_ended_at_any_time(tmp_path: Path, name: str) -> None:
    path = tmp_path / "body"
    path.write_bytes(LOOPS[name])
    clock, started = Clock(), time.thread_time()
    with suppress(Truncated, NotAudio):
        identify(path, TRACK, clock)
    clock()
    assert clock.longest < 0.5
    assert time.thread_time() - started < 4


@pytest.mark.parametrize("name", ["mp4", "webm", "flac, noise", "adts, marks of tags before tags"])
def test_what_ends_the_run_ends_the_look_at_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "body"
    path.write_bytes(LOOPS[name])
    calls = iter(range(5))

    def check() -> None:
        if next(calls) == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        identify(path, TRACK, check)


SPARSE = {
    "wave": b"RIFF\0\0\0\0WAVEdata\0\0\0\0",
    "aiff": b"FORM\0\0\0\0AIFFSSND\0\0\0\0",
    "caf": b"caff\0\1\0\0data" + b"\xff" * 8,
    "mp4": FTYP + b"\0\0\0\x08moov\0\0\0\0mdat",
    "flac": FLAC,
    "ogg": OGG,
    "wavpack": b"wvpk" + b"\xff" * 40,
    "mp3": bytes.fromhex("fffb9064") + bytes(413) + bytes.fromhex("fffb9064"),
    "adts": ADTS * 2,
    "asf": ASF + b"\xff" * 20,
    "webm": WEBM,
    "zeros": b"",
}


@pytest.mark.parametrize("name", SPARSE)
def test_a_file_of_gigabytes_costs_no_more_than_another(tmp_path: Path, name: str) -> None:
    path = tmp_path / "body"
    path.write_bytes(SPARSE[name])
    os.truncate(path, 3 << 30)
    watched = Watched(path)
    assert judge(watched)
    assert watched.reads < 30
    assert watched.largest <= 5 << 20
    assert watched.total <= 16 << 20


EXTREMES = [bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1", b"\1\0\0\0", bytes(8), b"\xff" * 8]
CHANGES = st.lists(st.tuples(st.integers(0, 600), st.sampled_from(EXTREMES) | st.binary(max_size=3)), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(ext=st.sampled_from(["flac", "mp3", "ogg", "m4a", "wav"]), front=CHANGES, back=CHANGES, cut=st.integers(0, 700))
def test_damage_at_either_end_of_a_real_file_is_told_by_a_typed_error(
    library: Mapping[str, Sample],
    tmp_path: Path,
    ext: str,
    front: list[tuple[int, bytes]],
    back: list[tuple[int, bytes]],
    cut: int,
) -> None:
    data = bytearray(library[ext].data)
    for place, change in [*front, *((len(data) - 700 + place, change) for place, change in back)]:
        data[place : place + len(change)] = change
    path = tmp_path / "body"
    path.write_bytes(data[: len(data) - cut])
    judge(path)


MARKS = [
    *SPARSE.values(),
    FTYP,
    b"moov",
    b"mdat",
    b"moof",
    b"sidx",
    b"trak",
    b"data",
    b"SSND",
    b"ds64",
    b"RF64",
    b"desc",
]
MARKS += [
    b"OggS",
    b"wvpk",
    b"ID3\4\0\0\0\0\0\0",
    b"TAG",
    b"APETAGEX",
    b"Xing",
    b"VBRI",
    b"\xff\xf8",
    b"\xff\xfb\x90\x64",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=500, deadline=None)
@given(
    start=st.sampled_from([value for value in SPARSE.values() if value]),
    rest=st.lists(st.sampled_from([*MARKS, *EXTREMES]) | st.binary(max_size=20), max_size=30),
)
def test_any_bytes_behind_any_beginning_are_told_by_a_typed_error(
    tmp_path: Path, start: bytes, rest: list[bytes]
) -> None:
    path = tmp_path / "body"
    path.write_bytes(start + b"".join(rest))
    judge(path)
