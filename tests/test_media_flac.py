"""cachestore.media.flac with frames of every kind that RFC 9639 allows, made here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cachestore.errors import NotAudio, Truncated
from cachestore.media import identify
from cachestore.track import Track

if TYPE_CHECKING:
    from pathlib import Path

TRACK = Track("studio", "t1", title="Opus")
BLOCK_CODES = {192: 1, 576: 2, 1152: 3, 2304: 4, 4608: 5, 256: 8, 512: 9, 1024: 10, 2048: 11, 4096: 12, 32768: 15}


def crc(data: bytes, polynomial: int, bits: int) -> bytes:
    """Return the remainder of a division, bit by bit, as the RFC has it."""
    value = int.from_bytes(data, "big") << bits
    for at in range(value.bit_length() - 1, bits - 1, -1):
        if value >> at & 1:
            value ^= polynomial << at - bits
    return value.to_bytes(bits // 8, "big")


def coded(number: int) -> bytes:
    """Return a number coded as UTF-8 codes characters, in up to 7 bytes."""
    if number < 0x80:
        return bytes([number])
    length = next(length for length in range(2, 8) if number < 1 << 5 * length + 1)
    tail = bytes(0x80 | number >> 6 * at & 0x3F for at in range(length - 2, -1, -1))
    return bytes([0xFF << 8 - length & 0xFF | number >> 6 * (length - 1)]) + tail


def frame(
    number: int, samples: int, *, variable: bool = False, wide: bool = False, rate: int = 9, polynomial: int = 0x107
) -> bytes:
    """Return a mono frame of silence; `rate` is the code of the sample rate, `polynomial` that of the header's CRC."""
    code = BLOCK_CODES.get(samples, 0) if not wide else 0
    size = b"" if code else (samples - 1).to_bytes(1 if samples <= 256 else 2, "big")
    code = code or (6 if samples <= 256 else 7)
    header = bytes([0xFF, 0xF8 | variable, code << 4 | rate, 0x08]) + coded(number) + size
    header += bytes({12: 1, 13: 2, 14: 2}.get(rate, 0))
    whole = header + crc(header, polynomial, 8) + b"\0\xab\xcd"  # a constant subframe
    return whole + crc(whole, 0x18005, 16)


def flac(total: int, *frames: bytes, block: tuple[int, int] = (4096, 4096), blocks: bytes = b"") -> bytes:
    sizes = b"".join(size.to_bytes(2, "big") for size in block) + bytes(6)
    info = sizes + (44100 << 44 | 15 << 36 | total).to_bytes(8, "big") + bytes(16)
    return b"fLaC" + (b"\0" if blocks else b"\x80") + b"\0\0\x22" + info + blocks + b"".join(frames)


def is_whole(folder: Path, data: bytes) -> bool:
    path = folder / "body"
    path.write_bytes(data)
    try:
        return identify(path, TRACK).ext == "flac"
    except Truncated:
        return False


NUMBERS = st.integers(0, 0x7F) | st.integers(0, (1 << 31) - 1) | st.sampled_from([0x7F, 0x80, 0x7FF, 0x800, 0xFFFF])
KINDS = st.fixed_dictionaries({"wide": st.booleans(), "rate": st.sampled_from([0, 9, 12, 13, 14])})
SAMPLES = st.sampled_from(sorted(BLOCK_CODES)) | st.integers(16, 65535)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@example(number=(1 << 36) - 70_000, samples=65535, variable=True, kind={"wide": True, "rate": 14})
@given(number=NUMBERS, samples=SAMPLES, variable=st.booleans(), kind=KINDS)
def test_the_last_frame_says_how_far_the_file_reaches(
    tmp_path: Path, number: int, samples: int, variable: bool, kind: dict[str, int]
) -> None:
    reached = number + samples if variable else number * 32 + samples
    last = frame(number, samples, variable=variable, wide=bool(kind["wide"]), rate=kind["rate"])
    files = {total: flac(total, b"any sound", last, block=(32, 32)) for total in {0, reached} if total < 1 << 36}
    assert all(is_whole(tmp_path, data) for data in files.values())
    if reached + 1 < 1 << 36:
        assert not is_whole(tmp_path, flac(reached + 1, b"any sound", last, block=(32, 32)))
    assert not is_whole(tmp_path, flac(0, b"any sound", last[:-1] + bytes([last[-1] ^ 1])))
    assert not is_whole(tmp_path, flac(0, b"any sound", last[:3] + bytes([last[3] ^ 2]) + last[4:]))


def test_the_cut_is_told_in_samples(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(flac(12_000, frame(0, 4096), frame(1, 4096)))
    with pytest.raises(Truncated, match="the FLAC file ends after 8192 of 12000 samples that its header announces"):
        identify(path, TRACK)


def test_what_looks_like_a_frame_within_the_last_frame_is_none(tmp_path: Path) -> None:
    inner = frame(7, 4096)
    header = frame(2, 4096)[:6]
    outer = header + b"\2" + inner + inner[:-1] + b"\xff\xf8"
    assert is_whole(tmp_path, flac(12_288, frame(0, 4096), frame(1, 4096), outer + crc(outer, 0x18005, 16)))


@pytest.mark.parametrize("zeros", [1, 2, 5000])
def test_zeros_behind_a_frame_that_ends_in_zeros_do_not_matter(tmp_path: Path, zeros: int) -> None:
    last = next(made for made in (frame(number, 4096) for number in range(20_000)) if made.endswith(b"\0"))
    assert is_whole(tmp_path, flac(0, last))
    assert is_whole(tmp_path, flac(0, last + bytes(zeros)))
    assert not is_whole(tmp_path, flac(0, last[:-2] + bytes(zeros)))


def test_metadata_must_be_inside_the_file(tmp_path: Path) -> None:
    picture = b"\x86\0\3\xe8" + bytes(1000)
    whole = flac(4096, frame(0, 4096), blocks=b"\1\0\0\0" + picture)
    assert is_whole(tmp_path, whole)
    for size in (5, 20, 42, 44, 48, 60, 1045):
        assert not is_whole(tmp_path, whole[:size])
    path = tmp_path / "body"
    path.write_bytes(whole[:500])
    with pytest.raises(Truncated, match="the FLAC file ends after 500 of 1050 bytes that its header announces"):
        identify(path, TRACK)


def test_a_file_that_does_not_begin_with_its_stream_info_is_no_flac(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"fLaC" + bytes(100))
    with pytest.raises(NotAudio, match="does not begin with its stream info"):
        identify(path, TRACK)


def test_a_header_with_a_wrong_checksum_is_none(tmp_path: Path) -> None:
    assert is_whole(tmp_path, flac(0, frame(5, 4096)))
    assert not is_whole(tmp_path, flac(0, frame(5, 4096, polynomial=0x11D)))


def test_a_file_without_frames_is_cut(tmp_path: Path) -> None:
    assert not is_whole(tmp_path, flac(0))
    assert not is_whole(tmp_path, flac(0, bytes(5000)))
