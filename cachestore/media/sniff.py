"""Which container a file is, told from its first bytes. The decisions among the doubtful are in cachestore.media."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.media import asf, au, ogg, w64
from cachestore.media.mpeg import first_frame
from cachestore.media.tail import id3v2_size

if TYPE_CHECKING:
    from typing import BinaryIO

HEAD = 64 * 1024  # bytes that are looked at
VIDEO_BRANDS = (b"qt  ", b"M4V", b"3g", b"F4V", b"f4v")
IMAGE_BRANDS = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_MOST_TAGS = 16


@dataclass(frozen=True, slots=True)
class Container:
    """A container: its canonical extension, and where in the file it starts."""

    ext: str
    start: int


def container(file: BinaryIO) -> Container | None:
    """Return which container a file is, behind any ID3v2 tags; None if it is none."""
    start, head = _behind_tags(file)
    ext = _named(head)
    if ext is not None:
        return Container(ext, start)
    frame = first_frame(head, complete=len(head) < HEAD, skip_padding=start > 0)
    return frame and Container(frame[0], start + frame[1])


def _behind_tags(file: BinaryIO) -> tuple[int, bytes]:
    """Return the place behind all leading ID3v2 tags, and the first bytes there."""
    start = 0
    for _ in range(_MOST_TAGS):
        file.seek(start)
        size = id3v2_size(file.read(10))
        if not size:
            break
        start += size
    file.seek(start)
    return start, file.read(HEAD)


def _named(head: bytes) -> str | None:
    """Return the extension of a container that names itself."""
    if (pcm := _recorded(head)) is not None:
        return pcm
    if head[4:8] == b"ftyp":
        return None if head[8:12].startswith(VIDEO_BRANDS + IMAGE_BRANDS) else "m4a"
    if head[:4] == b"OggS":
        return ogg.codec(head)
    if head[:4] == b"\x1aE\xdf\xa3":
        return "webm" if b"\x42\x82\x84webm" in head[:64] else None
    plain = {b"fLaC": "flac", b"caff": "caf", b"wvpk": "wv"}
    return "wma" if head.startswith(asf.HEADER) else plain.get(head[:4])


def _recorded(head: bytes) -> str | None:
    """Return the extension of a container that recorders write, and that is mostly for PCM."""
    if head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return "wav"
    if head.startswith(w64.RIFF) and head[24:40] == w64.WAVE:
        return "w64"
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return "aiff"
    return "au" if au.is_au(head) else None
