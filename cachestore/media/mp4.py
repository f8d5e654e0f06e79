"""MP4: boxes of a size, a name and a body (ISO 14496-12 §4.2)."""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from cachestore.media.span import Broken, Cut, is_name
from cachestore.media.tail import sound_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cachestore.media.span import Span

_HEADER = struct.Struct(">I4s")
_PARTS = {b"moov", b"mdat", b"moof", b"sidx"}
MOST_BOXES = 400_000  # an hour in fragments of one frame each has 310,000
_MOST_INNER_BOXES = 100
_WINDOW = 4096  # bytes read at once: tiny boxes come in hundreds of thousands
_MOST_SAMPLES = 100_000  # in one chunk


class Box(NamedTuple):
    """A box: its name, where its body starts, where it ends, and whether it says only that it is the last one."""

    name: bytes
    body: int
    end: int
    open: bool


def check_mp4(span: Span) -> None:
    """Raise Cut when a box is cut or one is missing, or a list of fragments or the last chunk of sound reaches further.

    Raise Broken when there is no sound at all. A cut between two fragments is seen only with the list
    (``sidx``) that announces them.
    """
    solid, end = sound_end(span)
    found: dict[bytes, Box] = {}
    behind, has_sound = span.start, False
    for number, box in enumerate(boxes(span, span.start, end)):
        if number == MOST_BOXES:
            raise Broken(f"the MP4 file has more than {MOST_BOXES} boxes")
        span.hold("MP4 file", box.end)
        if box.name in _PARTS and (box.name != b"sidx" or b"sidx" not in found):
            found[box.name] = box
        has_sound |= box.name == b"mdat" and box.body < box.end
        behind = box.end
    if 0 < solid - behind < 8:
        span.hold("MP4 file", behind + 8)
    _check_parts(span, found)
    if not has_sound:
        raise Broken("the MP4 file has no sound in it")


def _check_parts(span: Span, found: dict[bytes, Box]) -> None:
    size = span.end - span.start
    index, sound, fragment = found.get(b"moov"), found.get(b"mdat"), found.get(b"moof")
    if index is None:
        raise Cut(f"the MP4 file ends after {size} bytes, before its index (moov)")
    if sound is None or (fragment is not None and fragment.body > sound.body):
        raise Cut(f"the MP4 file ends after {size} bytes, before the sound (mdat) that its index announces")
    if b"sidx" in found:
        span.hold("MP4 file", _fragments_end(span, found[b"sidx"]))
    if index.open:
        for box in islice(boxes(span, index.body, index.end), _MOST_INNER_BOXES):
            span.hold("MP4 file", box.end)
    for track in _inner(span, index):  # the sound may be in several boxes, of which the last ones may be missing
        if track.name == b"trak":
            span.hold("MP4 file", _track_end(span, track))


def boxes(span: Span, place: int, end: int) -> Iterator[Box]:
    """Yield the boxes from `place` to `end`, up to what is none; the last one may reach further than `end`."""
    window, low = b"", place
    while place + 8 <= end:
        if place + 16 > low + len(window):
            window, low = span.read(place, _WINDOW), place
        size, name = _HEADER.unpack_from(window, place - low)
        body, box_end = place + 8, place + size
        if size == 1:
            body, box_end = place + 16, place + int.from_bytes(window[body - low : body - low + 8], "big")
        elif size == 0:
            box_end = end
        if not is_name(name) or box_end < body:
            return
        yield Box(name, body, box_end, open=size == 0)
        place = box_end


def _inner(span: Span, box: Box) -> list[Box]:
    """Return the boxes in a box, those that are whole."""
    return [inner for inner in islice(boxes(span, box.body, box.end), _MOST_INNER_BOXES) if inner.end <= box.end]


def _fragments_end(span: Span, listing: Box) -> int:
    """Return where the last fragment of a segment index ends, 0 if it does not say (§8.16.3)."""
    body = span.read(listing.body, min(listing.end - listing.body, 1 << 20))
    width = 8 if body[:1] == b"\1" else 4
    offset = int.from_bytes(body[12 + width : 12 + 2 * width], "big")
    references = body[16 + 2 * width :]
    sizes = (int.from_bytes(references[at : at + 4], "big") & 0x7FFFFFFF for at in range(0, len(references) - 11, 12))
    return listing.end + offset + sum(sizes)


def _track_end(span: Span, track: Box) -> int:
    """Return where the last chunk of a track ends, 0 if its tables do not say (§8.7)."""
    tables = {track.name: track}
    for name in (b"trak", b"mdia", b"minf", b"stbl"):
        tables = {box.name: box for box in _inner(span, tables[name])} if name in tables else {}
    chunks = tables.get(b"co64") or tables.get(b"stco")
    if chunks is None or not tables.keys() >= {b"stsc", b"stsz"}:
        return 0
    offset = _last(span, chunks, 8 if chunks.name == b"co64" else 4)
    samples = int.from_bytes(_last(span, tables[b"stsc"], 12)[4:8], "big")
    return int.from_bytes(offset, "big") + _last_sizes(span, tables[b"stsz"], samples) if offset else 0


def _last(span: Span, table: Box, width: int) -> bytes:
    """Return the last row of a table whose rows have `width` bytes, no bytes if the table does not hold it."""
    rows = int.from_bytes(span.read(table.body + 4, 4), "big")
    end = table.body + 8 + rows * width
    return span.read(end - width, width) if rows and end <= table.end else b""


def _last_sizes(span: Span, table: Box, samples: int) -> int:
    """Return the size of the last `samples` samples together, 0 if the table does not hold them."""
    each, rows = (int.from_bytes(span.read(table.body + at, 4), "big") for at in (4, 8))
    if each or samples > min(rows, _MOST_SAMPLES):
        return each * min(rows, samples)
    end = table.body + 12 + 4 * rows
    return sum(struct.unpack(f">{samples}I", span.read(end - 4 * samples, 4 * samples))) if end <= table.end else 0
