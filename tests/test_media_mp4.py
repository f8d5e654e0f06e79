"""cachestore.media.mp4 with boxes and tables made by hand."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from cachestore.errors import NotAudio, Truncated
from cachestore.media import identify
from cachestore.track import Track

if TYPE_CHECKING:
    from pathlib import Path

TRACK = Track("studio", "t1", title="Opus")
FTYP = b"\0\0\0\x14ftypM4A \0\0\0\0isom"


def box(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return struct.pack(">I4s", 8 + len(body) if size is None else size, name) + body


def verdict(folder: Path, data: bytes) -> str:
    """Return the extension of a whole file, else what is said of it."""
    path = folder / "body"
    path.write_bytes(data)
    try:
        return identify(path, TRACK).ext
    except (Truncated, NotAudio) as error:
        return error.reason


# What the tables of the index say, where the sound says only that it is the last.


def table(rows: int, body: bytes) -> bytes:
    return struct.pack(">II", 0, rows) + body


def mp4(stco: bytes, stsc: bytes, stsz: bytes, *, sound: int = 100, name: bytes = b"stco") -> bytes:
    tables = box(name, stco) + box(b"stsc", stsc) + box(b"stsz", stsz)
    track = box(b"trak", box(b"tkhd", b"") + box(b"mdia", box(b"minf", box(b"stbl", tables))))
    return FTYP + box(b"moov", track) + box(b"mdat", b"s" * sound, size=0)


def chunks(*places: int) -> bytes:
    return table(len(places), struct.pack(f">{len(places)}I", *places))


def per_chunk(samples: int) -> bytes:
    return table(1, struct.pack(">III", 1, samples, 1))


def sizes(*each: int) -> bytes:
    return struct.pack(">II", 0, 0) + struct.pack(f">I{len(each)}I", len(each), *each)


START = len(mp4(chunks(0, 0), per_chunk(3), sizes(10, 20, 20, 20), sound=0))
CUT = "the MP4 file ends after"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (mp4(chunks(0, START + 40), per_chunk(3), sizes(10, 20, 20, 20)), "m4a"),
        (mp4(chunks(0, START + 41), per_chunk(3), sizes(10, 20, 20, 20)), f"{CUT} {START + 100} of {START + 101} byt"),
        (mp4(chunks(0, START + 90), per_chunk(3), struct.pack(">III", 0, 5, 9) + bytes(8)), CUT),
        (mp4(table(1, struct.pack(">Q", 5 << 32)), per_chunk(3), sizes(1, 2, 3), name=b"co64"), CUT),
        (mp4(table(1, struct.pack(">Q", START)), per_chunk(3), sizes(1, 2, 3), name=b"co64"), "m4a"),
        # Absurd tables say nothing.
        (mp4(chunks(0, START + 41), per_chunk(0xFFFFFFFF), sizes(10, 20, 20, 20)), "m4a"),
        (mp4(chunks(0, START), per_chunk(3), struct.pack(">III", 0, 0, 0xFFFFFFFF)), "m4a"),
        (mp4(table(0xFFFFFFFF, b""), per_chunk(3), sizes(10)), "m4a"),
        (mp4(table(0, b""), table(0, b""), sizes()), "m4a"),
        (mp4(chunks(START), table(9, b""), sizes(1, 2, 3)), "m4a"),
        (mp4(b"", b"", b""), "m4a"),
        (FTYP + box(b"moov", b"") + box(b"mdat", b"s", size=0), "m4a"),
        (FTYP + box(b"moov", box(b"trak", b"", size=1 << 31)) + box(b"mdat", b"s", size=0), "m4a"),
        (FTYP + box(b"moov", box(b"trak", b"", size=2) * 50) + box(b"mdat", b"s", size=0), "m4a"),
    ],
)
def test_the_last_chunk_of_an_open_mp4_file_must_be_there(tmp_path: Path, made: bytes, told: str) -> None:
    assert verdict(tmp_path, made).startswith(told)


def test_an_mp4_file_is_cut_when_the_second_box_of_its_sound_is_missing(tmp_path: Path) -> None:
    def index(second: int) -> bytes:
        return mp4(chunks(START, second), per_chunk(1), sizes(50, 50), sound=0)[:-8]

    first, other = box(b"mdat", b"s" * 50), box(b"mdat", b"s" * 50)
    whole = len(index(0) + first + other)
    made = index(whole - 50)
    assert verdict(tmp_path, made + first + other) == "m4a"
    assert verdict(tmp_path, made + first) == f"{CUT} {whole - 58} of {whole} bytes that its header announces"


MOOV, MDAT, MOOF = box(b"moov", b""), box(b"mdat", b"sound"), box(b"moof", b"")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (MOOV + MDAT, "m4a"),
        (MOOV + box(b"mdat", struct.pack(">Q", 21) + b"sound", size=1), "m4a"),
        (MOOV + MDAT + bytes(7), "m4a"),
        (MOOV + MDAT + bytes(70), "m4a"),
        (MOOV + MDAT + b"\xff" * 70, "m4a"),
        (MOOV + MOOF + MDAT, "m4a"),
        (MOOV + MDAT + box(b"mdat", b""), "m4a"),
        (MOOV + box(b"mdat", b""), "the MP4 file has no sound in it"),
        (MOOV + box(b"mdat", b"", size=0), "the MP4 file has no sound in it"),
        (MDAT + box(b"moov", box(b"trak", b""), size=0), "m4a"),
        (MDAT, f"{CUT} 33 bytes, before its index (moov)"),
        (MOOV, f"{CUT} 28 bytes, before the sound (mdat) that its index announces"),
        (MOOV + MOOF + MDAT + MOOF, f"{CUT} 57 bytes, before the sound (mdat)"),
        (MOOV + box(b"mdat", struct.pack(">Q", 22) + b"sound", size=1), f"{CUT} 49 of 50 bytes"),
        (MOOV + box(b"mdat", b"sound", size=14), f"{CUT} 41 of 42 bytes"),
        (MOOV + MDAT + b"\0\0\1\0moof"[:6], f"{CUT} 47 of 49 bytes"),
        (MOOV + MDAT + box(b"free", b"", size=1), "m4a"),
        (MOOV + box(b"mdat", b"sound", size=7), f"{CUT} 41 bytes, before the sound"),
        (MDAT + box(b"moov", box(b"trak", b"", size=100), size=0), f"{CUT} 49 of 141 bytes"),
    ],
)
def test_an_mp4_file_is_whole_when_its_boxes_are(tmp_path: Path, made: bytes, told: str) -> None:
    assert verdict(tmp_path, FTYP + made).startswith(told)


def sidx(*fragments: int, offset: int = 0, version: int = 0) -> bytes:
    times = struct.pack(">QQ" if version else ">II", 0, offset)
    references = b"".join(struct.pack(">III", size, 1000, 0) for size in fragments)
    return box(
        b"sidx",
        struct.pack(">III", version << 24, 1, 1000) + times + struct.pack(">HH", 0, len(fragments)) + references,
    )


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("offset", [0, 8])
def test_all_fragments_that_a_list_announces_must_be_there(tmp_path: Path, version: int, offset: int) -> None:
    fragment, gap = MOOF + MDAT, box(b"free", b"")[: 8 * bool(offset)]
    listed = FTYP + MOOV + sidx(21, 21, offset=offset, version=version) + gap
    assert verdict(tmp_path, listed + fragment * 2) == "m4a"
    assert verdict(tmp_path, listed + fragment * 3) == "m4a"
    assert verdict(tmp_path, listed + fragment).endswith("bytes that its header announces")
    later = listed + fragment * 2 + sidx(99)
    assert verdict(tmp_path, later) == "m4a"  # one of several, of which the first counts
