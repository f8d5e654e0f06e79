"""cachestore.media with headers made by hand: what programs write that is odd but whole, and what no program writes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from cachestore.errors import NotAudio, Truncated
from cachestore.media import identify
from cachestore.track import Track
from tests.library import make_wave

if TYPE_CHECKING:
    from pathlib import Path

TRACK = Track("studio", "t1", title="Opus")
FMT = b"fmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 44100, 88200, 2, 16)
SOUND = bytes(range(1, 201))


def verdict(folder: Path, data: bytes) -> str:
    """Return the extension of a whole file, else what is said of it."""
    path = folder / "body"
    path.write_bytes(data)
    try:
        return identify(path, TRACK).ext
    except (Truncated, NotAudio) as error:
        return f"{type(error).__name__}: {error.reason}"


def wave(chunks: bytes, size: int | None = None, *, form: bytes = b"RIFF") -> bytes:
    return form + struct.pack("<I", 4 + len(chunks) if size is None else size) + b"WAVE" + chunks


def data(sound: bytes, size: int | None = None) -> bytes:
    return b"data" + struct.pack("<I", len(sound) if size is None else size) + sound


def ds64(form: int, sound: int) -> bytes:
    return b"ds64" + struct.pack("<IQQQI", 28, form, sound, 0, 0)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF - 36, 0x7FFF0000, 0x80000024, 0xFFFFFFFF - 36])
def test_the_sizes_of_a_wave_file_that_was_streamed_say_nothing(tmp_path: Path, size: int) -> None:
    assert verdict(tmp_path, wave(FMT + data(SOUND, size), size)) == "wav"
    assert verdict(tmp_path, wave(FMT + data(SOUND, size))[:-1]).startswith("Truncated")


@pytest.mark.parametrize(
    "whole",
    [
        wave(FMT + data(SOUND), len(FMT + data(SOUND)) + 12),  # counts itself
        wave(FMT + data(SOUND) + b"LIST\4\0\0\0INFO"),
        wave(FMT + data(SOUND[:-1]) + b"\0LIST\4\0\0\0INFO"),
        wave(FMT + data(SOUND[:-1]), 5 + len(FMT + data(SOUND[:-1]))),  # the padding is missing
        wave(FMT + data(SOUND[:-1])),  # and not counted
        wave(b"LIST\5\0\0\0INFO!\0" + FMT + data(SOUND)),
        wave(b"LIST\5\0\0\0INFO!" + FMT + data(SOUND)),  # the padding was forgotten
        wave(b"LIST\5\0\0\0INFO!x" + FMT + data(SOUND)),  # or is no zero
        wave(FMT + data(SOUND)) + b"and more",
        wave(ds64(36 + len(FMT + data(SOUND)) + 4, 200) + FMT + data(SOUND, 0xFFFFFFFF), 0xFFFFFFFF, form=b"RF64"),
        wave(ds64(0, 0) + FMT + data(SOUND, 0xFFFFFFFF), 0xFFFFFFFF, form=b"BW64"),
        wave(ds64(0, 0) + FMT + data(SOUND), form=b"RF64"),
        make_wave(46),
        make_wave(1001),
    ],
)
def test_a_wave_file_is_whole_in_all_the_ways_in_which_programs_write_it(tmp_path: Path, whole: bytes) -> None:
    assert verdict(tmp_path, whole) == "wav"


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        (wave(FMT + data(SOUND, 300), 0), "ends after 244 of 344 bytes that its header announces"),
        (wave(FMT + data(SOUND), 1000), "ends after 244 of 1008 bytes that its header announces"),
        (wave(FMT + data(SOUND[:-1]) + b"\0LIST\4\0\0\0INF", 252), "ends after 255 of 260 bytes"),
        (wave(FMT + data(SOUND), 237), "ends after 244 of 245 bytes"),
        (wave(FMT + data(SOUND[:-1]) + b"\0LIST\4\0\0\0INF", 248), "ends after 255 of 256 bytes"),
        (wave(FMT + data(SOUND, 0x7F100000)), "ends after 244 of 2131755052 bytes"),
        (wave(FMT + data(SOUND, 3_200_000_000)), "ends after 244 of 3200000044 bytes"),
        (wave(FMT + data(SOUND), 3_200_000_000), "ends after 244 of 3200000008 bytes"),
        (wave(FMT), "the file ends after 36 bytes, before its sound begins"),
        (wave(b"LIST\xff\xff\0\0" + FMT + data(SOUND)), "before its sound begins"),
        (wave(ds64(1000, 0) + FMT + data(SOUND, 0xFFFFFFFF), 0xFFFFFFFF, form=b"RF64"), "ends after 280 of 1008"),
        (wave(ds64(0, 201) + FMT + data(SOUND, 0xFFFFFFFF), 0xFFFFFFFF, form=b"RF64"), "ends after 280 of 281"),
        (wave(ds64(0, 5 << 32) + FMT + data(SOUND, 0xFFFFFFFF), 0xFFFFFFFF, form=b"BW64"), "of 21474836560 bytes"),
        (b"FORM\0\0\1\0AIFFSSND\0\0\0\x0a" + bytes(10), "the AIFF file ends after 30 of 264 bytes"),
        (b"FORM\0\0\0\x0cAIFCSSND\0\0\0\x0a" + bytes(9), "the AIFF file ends after 29 of 30 bytes"),
        (b"FORM\0\0\0\0AIFFCOMM\0\0\0\2\0\0", "before its sound begins"),
    ],
)
def test_a_wave_or_aiff_file_is_cut_when_the_whole_or_the_sound_is(tmp_path: Path, cut: bytes, told: str) -> None:
    assert verdict(tmp_path, cut).startswith("Truncated: the ")
    assert told in verdict(tmp_path, cut)


@pytest.mark.parametrize(
    "empty",
    [
        make_wave(44),
        wave(FMT + data(b"", 0xFFFFFFFF), 0xFFFFFFFF),
        wave(FMT + data(b"", 0), 0),
        wave(FMT + data(b"", 0x7FFFF000), 0x7FFFF024),
        wave(ds64(0, 0) + FMT + data(b"", 0xFFFFFFFF), 0xFFFFFFFF, form=b"RF64"),
        b"FORM\x7f\0\0\x50AIFFSSND\x7f\0\0\x08" + bytes(8),
        b"FORM\0\0\0\x14AIFFSSND\0\0\0\x08" + bytes(8),
        b"FORM\0\0\0\0AIFCSSND\0\0\0\0",
    ],
)
def test_a_wave_or_aiff_file_without_any_sound_is_no_audio(tmp_path: Path, empty: bytes) -> None:
    assert verdict(tmp_path, empty).startswith("NotAudio: the ")
    assert "has no sound" in verdict(tmp_path, empty)


def test_the_sizes_that_sox_streams_in_aiff_say_nothing(tmp_path: Path) -> None:
    assert verdict(tmp_path, b"FORM\x7f\0\0\x50AIFFSSND\x7f\0\0\x08" + bytes(100)) == "aiff"


def caf(*chunks: tuple[bytes, int, bytes], packet: int = 2) -> bytes:
    description = struct.pack(">d4sIIIII", 44100.0, b"lpcm", 0, packet, 1, 1, 16)
    all_chunks = [(b"desc", 32, description), *chunks]
    return b"caff\0\1\0\0" + b"".join(name + struct.pack(">q", size) + body for name, size, body in all_chunks)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (caf((b"data", 200, SOUND)), "caf"),
        (caf((b"data", -1, SOUND)), "caf"),
        (caf((b"data", 4, SOUND)), "caf"),  # libsndfile to a pipe
        (caf((b"data", 200, SOUND), (b"pakt", 4, b"abcd"), packet=0), "caf"),
        (caf((b"data", 200, SOUND)) + bytes(7), "caf"),
        (caf((b"data", 200, SOUND)) + b"\xff" * 20, "caf"),
        (caf((b"data", 201, SOUND)), "Truncated: the CAF file ends after 264 of 265 bytes that its header announces"),
        (caf((b"data", 200, SOUND)) + b"free\0\0", "Truncated: the CAF file ends after 270 of 276 bytes"),
        (caf((b"data", 200, SOUND), packet=0), "Truncated: the CAF file ends after 264 bytes, before its sound or its"),
        (caf(), "Truncated: the CAF file ends after 52 bytes, before its sound or its packet table"),
        (caf((b"free", -5, b""), (b"data", 200, SOUND)), "NotAudio: a chunk of the CAF file has a negative size"),
        (caf((b"free", (1 << 63) - 1, b"")), "Truncated: the CAF file ends after 64 of 9223372036854775871 bytes"),
    ],
)
def test_a_caf_file_is_whole_when_all_its_chunks_are(tmp_path: Path, made: bytes, told: str) -> None:
    assert verdict(tmp_path, made).startswith(told)


def block(index: int, samples: int, total: int, *, flags: int = 0x1800, high: tuple[int, int] = (0, 0)) -> bytes:
    return struct.pack("<4sIHBBIIIII", b"wvpk", 224, 0x410, *high, total, index, samples, flags, 0) + SOUND


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (block(0, 100, 200) + block(100, 100, 200), "wv"),
        (block(0, 100, 200) + block(100, 100, 0), "wv"),
        (block(0, 100, 0) + block(100, 100, 0), "wv"),
        (block(0, 100, 0xFFFFFFFF), "wv"),
        (block(0, 100, 200) + block(0, 0, 200, flags=0), "wv"),  # what stood behind the sound of a WAVE file
        (block(0, 9, 109, high=(0, 1)) + block(0, 108, 0, high=(1, 0)), "wv"),
        (
            block(0, 9, 109, high=(0, 1)) + block(0, 107, 0, high=(1, 0)),
            "Truncated: the WavPack file ends after 42949674",
        ),
        (block(0, 100, 200), "Truncated: the WavPack file ends after 100 of 200 samples"),
        (block(0, 100, 100, flags=0x800), "Truncated: the WavPack file ends after 100 of 100 samples"),
        (block(0, 100, 100)[:-1], "Truncated: the last block of the WavPack file, which ends after 231 bytes, is not"),
    ],
)
def test_a_wavpack_file_is_whole_when_its_last_block_is_and_is_the_last(tmp_path: Path, made: bytes, told: str) -> None:
    assert verdict(tmp_path, made).startswith(told)


MP3 = bytes.fromhex("fffb9064")  # 128 kbit/s, 44.1 kHz: frames of 417 bytes


def mp3(mark: bytes, *, at: int, frames: int = 20) -> bytes:
    first = (MP3 + bytes(at - 4) + mark).ljust(417, b"\0")
    return first + (MP3 + bytes(413)) * (frames - 1)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (mp3(b"Info\0\0\0\3" + struct.pack(">II", 20, 8340), at=36), "mp3"),
        (mp3(b"Info\0\0\0\3" + struct.pack(">II", 20, 8340 + 1441), at=36), "mp3"),  # of something that is gone
        (mp3(b"Info\0\0\0\2" + struct.pack(">I", 8340 + 1441), at=36), "mp3"),
        (
            mp3(b"Info\0\0\0\3" + struct.pack(">II", 21, 8340 + 417), at=36),
            "Truncated: the MP3 file ends after 8340 bytes, before the last frame",
        ),
        (
            mp3(b"Info\0\0\0\3" + struct.pack(">II", 20, 8340 + 1442), at=36),
            "Truncated: the MP3 file ends after 8340 of",
        ),
        (mp3(b"Xing\0\0\0\2" + struct.pack(">I", 99_999), at=21), "Truncated: the MP3 file ends after 8340 of 99999"),
        (mp3(b"Xing\0\0\0\2" + struct.pack(">I", 99_999), at=38), "Truncated"),
        (mp3(b"Xing\0\0\0\1" + struct.pack(">I", 99_999), at=36), "mp3"),
        (
            mp3(b"VBRI" + bytes(6) + struct.pack(">I", 99_999), at=36),
            "Truncated: the MP3 file ends after 8340 of 99999",
        ),
        (mp3(b"VBRI" + bytes(6) + struct.pack(">I", 8340), at=36), "mp3"),
        (mp3(b"VBRI" + bytes(6) + struct.pack(">II", 8340 - 417, 19), at=36), "mp3"),
        (mp3(b"VBRI" + bytes(6) + struct.pack(">II", 8340 + 834, 22), at=36), "Truncated"),
        (mp3(b"", at=36), "mp3"),
    ],
)
def test_an_mp3_file_is_cut_when_frames_are_missing_that_it_announces(tmp_path: Path, made: bytes, told: str) -> None:
    assert verdict(tmp_path, made).startswith(told)


def asf(sound: int, *, said: int | None = None) -> bytes:
    header = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + struct.pack("<QI2x", 134, 1)
    properties = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365") + struct.pack("<Q16xQ", 104, 1 << 40) + bytes(56)
    size = 50 + sound if said is None else said
    return (
        header
        + properties
        + bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
        + struct.pack("<Q", size)
        + bytes(26 + sound)
    )


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (asf(500), "wma"),  # although its header says that the file has a terabyte, as it may after tags were removed
        (asf(500) + bytes(56), "wma"),
        (asf(500, said=50), "wma"),
        (asf(500, said=0), "wma"),
        (asf(500)[:-1], "Truncated: the ASF file ends after"),
        (asf(500)[:150], "Truncated: the ASF file ends after"),
        (asf(500)[:100], "Truncated: the ASF file ends after"),
        (asf(500)[:20], "Truncated: the ASF file ends after"),
    ],
)
def test_an_asf_file_is_whole_when_its_sound_is(tmp_path: Path, made: bytes, told: str) -> None:
    assert verdict(tmp_path, made).startswith(told)


EBML = bytes.fromhex("1a45dfa3 9b 4286810142f7810142f2810442f38108 4282847765626d 42858102")
SEGMENT, CLUSTER, OPEN = bytes.fromhex("18538067"), bytes.fromhex("1f43b675"), b"\x01" + b"\xff" * 7


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (EBML + SEGMENT + b"\x8a" + CLUSTER + b"\x85sound", "webm"),
        (EBML + SEGMENT + b"\x8a" + CLUSTER + b"\x85sound" + b"behind it", "webm"),
        (EBML + SEGMENT + OPEN + CLUSTER + b"\x85sound", "webm"),
        (EBML + SEGMENT + b"\xff" + CLUSTER + b"\xff" + b"sound", "webm"),
        (EBML + SEGMENT + OPEN + b"\xec\x82xx" + CLUSTER + b"\x85sound" + CLUSTER + b"\x40\x01x", "webm"),
        (EBML + SEGMENT + b"\x8b" + CLUSTER + b"\x85sound", "Truncated: the WebM file ends after 47 of 48 bytes"),
        (EBML + SEGMENT + OPEN + CLUSTER + b"\x85soun", "Truncated: the WebM file ends after 53 of 54 bytes"),
        (EBML + SEGMENT + OPEN + CLUSTER + b"\x85sound" + CLUSTER[:2], "Truncated: the WebM file ends after 56 bytes"),
        (EBML + SEGMENT + OPEN + b"\xec\x82xx", "Truncated: the WebM file ends after"),
        (EBML + SEGMENT, "Truncated"),
        (EBML, "Truncated"),
        (EBML + b"\xec\xff", "NotAudio: an element of the WebM file has no end"),
        (EBML + bytes(20), "NotAudio: an element of the WebM file has no id or size"),
    ],
)
def test_a_webm_file_is_whole_when_its_segment_or_what_is_in_it_is(tmp_path: Path, made: bytes, told: str) -> None:
    assert verdict(tmp_path, made).startswith(told)
