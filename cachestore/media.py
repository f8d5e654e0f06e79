"""What the bytes of a file are: the container, told from its first bytes, and never from what a server says.

One canonical extension and media type for each container. The decisions among the doubtful:

- ISO media (``ftyp``) is ``m4a`` whatever its brand, also with a picture track beside the sound, except for brands
  that promise video (QuickTime, M4V, 3GP, F4V) or images (HEIF, AVIF).
- ASF is ``wma``: only its header objects, not its first bytes, would tell a video.
- MPEG audio is ``mp3`` in layer III only, and a frame must be followed by another of its kind, so that no accident of
  two bytes makes an mp3. Behind an ID3 tag, padding is skipped.
- Matroska is audio as WebM only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachestore.errors import NotAudio

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from cachestore.track import Track

_HEAD = 64 * 1024
_MPEG1_KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KILOBITS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f]")
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_VIDEO_BRANDS = (b"qt  ", b"M4V", b"3g", b"F4V", b"f4v")
_IMAGE_BRANDS = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_RIFF = (b"RIFF", b"RF64", b"BW64")

MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
    "aiff": "audio/aiff",
    "caf": "audio/x-caf",
    "wma": "audio/x-ms-wma",
    "wv": "audio/x-wavpack",
    "webm": "audio/webm",
}
_OGG_CODECS = {b"\x01vorbis": "ogg", b"OpusHead": "opus", b"\x7fFLAC": "oga"}
_OTHERS = {
    b"PK": "a ZIP archive",
    b"\x1f\x8b": "a GZIP archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\x89PNG": "an image (PNG)",
    b"\xff\xd8\xff": "an image (JPEG)",
    b"GIF8": "an image (GIF)",
    b"%PDF": "a PDF document",
    b"\x1aE\xdf\xa3": "a Matroska video",
    b"OggS": "an Ogg stream without Vorbis, Opus or FLAC",
}
_TEXTS = {
    r"#EXTM3U": "a playlist (M3U)",
    r"\[playlist\]": "a playlist (PLS)",
    r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|script|title|meta)\b": "an HTML page",
    r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<playlist\b": "a playlist (XSPF)",
    r"<[?!a-z]": "an XML document",
    r"[{\[]": "a JSON document",
    r"[^\ufffd]{16}|[^\ufffd]+\Z": "a plain text",
}


@dataclass(frozen=True, slots=True)
class Media:
    """A container: its canonical extension, without a dot, and its media type."""

    ext: str
    media_type: str


def identify(path: Path, track: Track) -> Media:
    """Return what the file at `path` is. Raise NotAudio, saying what it looks like instead."""
    with path.open("rb") as file:
        start = file.read(_HEAD)
        head, tagged = _behind_tags(file, start)
    ext = _magic(head) or _frames(head, skip_padding=tagged)
    if ext is None:
        looks = "an ID3 tag without audio behind it" if tagged else _looks_like(start)
        raise NotAudio(track.address, track.label, f"the server sent {looks} instead of audio")
    return Media(ext, MEDIA_TYPES[ext])


def _behind_tags(file: BinaryIO, head: bytes) -> tuple[bytes, bool]:
    """Return the first bytes behind all leading ID3v2 tags, and whether there was one (id3.org, ID3v2.4 §3.1)."""
    place = 0
    while head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        place += 10 + size + (10 if head[5] & 0x10 else 0)
        file.seek(place)
        head = file.read(_HEAD)
    return head, place > 0


def _magic(head: bytes) -> str | None:
    """Return the extension of a container that names itself."""
    if head[:4] in _RIFF and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return "aiff"
    if head[4:8] == b"ftyp":
        return None if head[8:12].startswith(_VIDEO_BRANDS + _IMAGE_BRANDS) else "m4a"
    if head[:4] == b"OggS":
        return _ogg_codec(head)
    if head[:4] == b"\x1aE\xdf\xa3":
        return "webm" if b"\x42\x82\x84webm" in head[:64] else None
    plain = {b"fLaC": "flac", b"caff": "caf", b"wvpk": "wv"}
    return "wma" if head.startswith(_ASF) else plain.get(head[:4])


def _ogg_codec(head: bytes) -> str | None:
    """Return the extension of the first codec that an Ogg stream announces; each has a page at the start (RFC 3533)."""
    place = 0
    while head[place : place + 4] == b"OggS" and len(head) > place + 27:
        segments = head[place + 26]
        body = place + 27 + segments
        for mark, ext in _OGG_CODECS.items():
            if head.startswith(mark, body):
                return ext
        place = body + sum(head[place + 27 : body])
    return None


def _frames(head: bytes, *, skip_padding: bool) -> str | None:
    """Return the extension of a stream of MPEG frames: at the start, or behind any padding of a tag."""
    place = head.find(b"\xff")
    while place != -1 and (skip_padding or not head[:place].strip(b"\0")):
        for ext, frame_length in (("mp3", _mp3_frame), ("aac", _adts_frame)):
            length = frame_length(head[place : place + 7])
            following = head[place + length :][:2]
            ends = not following and len(head) < _HEAD
            if length and (following == head[place : place + 2] or ends):
                return ext
        place = head.find(b"\xff", place + 1)
    return None


def _mp3_frame(header: bytes) -> int:
    """Return the length in bytes of a frame of MPEG 1, 2 or 2.5 layer III, 0 if this is none (ISO 11172-3 §2.4.2.3)."""
    if len(header) < 4 or header[1] & 0xE6 != 0xE2 or header[1] & 0x18 == 0x08:
        return 0
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if bitrate in {0, 15} or rate == 3:
        return 0
    version = header[1] >> 3 & 3  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    kilobits = (_MPEG1_KILOBITS if version == 3 else _MPEG2_KILOBITS)[bitrate - 1]
    hertz = (44100, 48000, 32000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    return (144 if version == 3 else 72) * kilobits * 1000 // hertz + (header[2] >> 1 & 1)


def _adts_frame(header: bytes) -> int:
    """Return the length in bytes of an ADTS frame of AAC, 0 if this is none (ISO 13818-7 §6.2)."""
    if len(header) < 7 or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0


def _looks_like(head: bytes) -> str:
    """Return what bytes that are no audio look like to a person."""
    if not head:
        return "an empty file"
    if head[4:8] == b"ftyp":
        return "an image (HEIF)" if head[8:12] in _IMAGE_BRANDS else "a video"
    if head[:4] == b"RIFF":
        return "an image (WebP)" if head[8:12] == b"WEBP" else "a RIFF file that is no WAVE"
    known = next((what for magic, what in _OTHERS.items() if head.startswith(magic)), None)
    return known or _reads_like(head) or f"unknown bytes ({head[:8].hex(' ')})"


def _reads_like(head: bytes) -> str | None:
    """Return what kind of text the bytes are, None if they are no text."""
    encoding = "utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    text = head.decode(encoding, "replace").lstrip()
    if _NO_TEXT.search(text[:512]):
        return None
    return next((what for start, what in _TEXTS.items() if re.match(start, text, re.IGNORECASE | re.DOTALL)), None)
