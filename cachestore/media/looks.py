"""What bytes that are no audio look like to a person."""

from __future__ import annotations

import re

from cachestore.media.sniff import IMAGE_BRANDS

_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f]")
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
    b"ID3\2": "an ID3 tag without audio behind it",
    b"ID3\3": "an ID3 tag without audio behind it",
    b"ID3\4": "an ID3 tag without audio behind it",
}
# Nothing here may be tried in more than one way: a page of nothing but comments would be tried for ever.
_XML = r"(<\?xml[^>]*>\s*)?+(<!--.*?-->\s*+)*+"
_TEXTS = {
    r"#EXTM3U": "a playlist (M3U)",
    r"\[playlist\]": "a playlist (PLS)",
    _XML + r"<(!doctype\s+html|html|head|body|script|title|meta)\b": "an HTML page",
    _XML + r"<playlist\b": "a playlist (XSPF)",
    r"<[?!a-z]": "an XML document",
    r"[{\[]": "a JSON document",
    r"[^\ufffd]{16}|[^\ufffd]+\Z": "a plain text",
}


def looks_like(head: bytes) -> str:
    """Return what a file that starts with `head`, its first 64 KiB, looks like."""
    if not head:
        return "an empty file"
    if head[4:8] == b"ftyp":
        return "an image (HEIF)" if head[8:12] in IMAGE_BRANDS else "a video"
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
