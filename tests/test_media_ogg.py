"""cachestore.media.ogg with pages made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cachestore.errors import NotAudio, Truncated
from cachestore.media import identify
from cachestore.track import Track

if TYPE_CHECKING:
    from pathlib import Path

TRACK = Track("studio", "t1", title="Opus")


def verdict(folder: Path, data: bytes) -> str:
    """Return the extension of a whole file, else what is said of it."""
    path = folder / "body"
    path.write_bytes(data)
    try:
        return identify(path, TRACK).ext
    except (Truncated, NotAudio) as error:
        return error.reason


def page(body: bytes, *, flags: int = 4) -> bytes:
    lacing = b"\xff" * (len(body) // 255) + bytes([len(body) % 255])
    made = b"OggS\0" + bytes([flags]) + bytes(20) + bytes([len(lacing)]) + lacing + body
    return made[:22] + crc(made).to_bytes(4, "little") + made[26:]


def crc(data: bytes) -> int:
    """Return the checksum of RFC 3533, bit by bit."""
    state = 0
    for byte in data:
        state ^= byte << 24
        for _ in range(8):
            state = (state << 1 ^ (0x104C11DB7 if state >> 31 else 0)) & 0xFFFFFFFF
    return state


HEAD = page(b"\x01vorbis" + bytes(23), flags=2)
BROKEN = "the last page of the Ogg file, which ends after"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (HEAD + page(b"sound"), "ogg"),
        (HEAD + page(b""), "ogg"),
        (HEAD + page(b"sound" + bytes(300)) + bytes(100), "ogg"),
        (HEAD + page(b"OggS" * 300), "ogg"),
        (HEAD + page(page(b"", flags=0) * 20), "ogg"),
        (HEAD + page(b"a") + page(b"b"), "ogg"),
        (HEAD, f"the Ogg file ends after {len(HEAD)} bytes, without the mark of its end"),
        (HEAD + page(b"a") + page(b"b", flags=0), "the Ogg file ends after"),
        (HEAD + page(b"sound")[:-1] + b"S", BROKEN),
        (HEAD + page(b"sound")[:-1], BROKEN),
        (HEAD + page(b"sound" + bytes(300))[:-1], BROKEN),
        (HEAD + page(b"sound")[:20], BROKEN),
        (HEAD + b"OggS", BROKEN),
    ],
)
def test_an_ogg_file_ends_in_a_whole_page_that_says_so(tmp_path: Path, made: bytes, told: str) -> None:
    assert verdict(tmp_path, made).startswith(told)
