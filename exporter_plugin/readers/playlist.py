"""M3U and M3U8: URLs and local paths, one a line, with what the comments above them say."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.text import shown
from exporter_plugin.readers.document import Said
from exporter_plugin.readers.location import located
from exporter_plugin.row import Mix, public_name

if TYPE_CHECKING:
    from exporter_plugin.readers.document import Document
    from exporter_plugin.row import Row

_LINES = re.compile(r"\r\n|\r|\n")
# `#EXTINF:215 tvg-id="a,b",Artist - Title`, and also the bare `#EXTINF` that some players write.
_EXTINF = re.compile(r'#EXTINF:\s*(-?[0-9]+(?:\.[0-9]+)?)?(?:\s*[\w-]+="[^"]*")*[^,]*(?:,(.*))?', re.IGNORECASE)
_STREAM = re.compile(r"^#EXT-X-(?:TARGETDURATION|STREAM-INF)\b", re.MULTILINE)


def read(document: Document) -> Mix:
    """Return the mix of a playlist. Raise MixError with the number of the track and the line."""
    if _STREAM.search(document.text):
        raise document.error("", "this is an HLS stream, not a list of tracks; expected a playlist of audio files")
    name, said = document.name, Said()
    rows: list[Row] = []
    for number, line in enumerate(map(str.strip, _LINES.split(document.text)), 1):
        if line.upper().startswith("#PLAYLIST:"):
            name = shown(line.partition(":")[2]) or name
        elif line.startswith("#"):
            said = _comment(said, line)
        elif line:
            rows.append(located(document, f"track {len(rows) + 1}, line {number}", line, said))
            said = Said()
    if not rows:
        raise document.error("", "the playlist names no track; expected at least one path or URL")
    return Mix(name, tuple(rows))


def _comment(said: Said, line: str) -> Said:
    tag, _, value = line.partition(":")
    match tag.upper():
        case "#EXTALB":
            return replace(said, album=shown(value))
        case "#EXTART":
            return replace(said, artist=shown(value))
        case "#EXTINF":
            return _extinf(said, line)
    return said


def _extinf(said: Said, line: str) -> Said:
    match = _EXTINF.fullmatch(line)
    if match is None:
        return said
    seconds = float(match[1] or 0)  # 0 and -1 stand for "unknown"
    artist, dash, title = public_name(shown(match[2] or "")).partition(" - ")
    if not dash:
        artist, title = said.artist, artist
    return replace(said, title=title, artist=artist, file_length=seconds if 0 < seconds < 1e9 else None)
