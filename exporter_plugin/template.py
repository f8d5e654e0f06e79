"""How the files of tracks are called: a template with fields, filled in, made safe, and unique.

Stems are unique by themselves, whatever extensions the bytes turn out to need, so they are known before the first
download and no track's failure changes another track's name.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING

from cachestore.config import nearest
from cachestore.errors import UsageError
from exporter_plugin.naming import MAX_STEM_BYTES, clean, cut, fold, safe_stem, size

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from exporter_plugin.row import Row

    Values = dict[str, str | int | float | None]

_TEXT = r"(?:\.[1-9][0-9]{0,2})?"
_SPECS = {
    "index": r"0?[0-9]?d?",
    "artist": _TEXT,
    "title": _TEXT,
    "album": _TEXT,
    "id": _TEXT,
    "bpm": r"0?[0-9]?(?:\.[0-9])?f?",
    "key": _TEXT,
}
_TELLING = {"index", "title", "id"}
_WIDEST = {"index": 9, "bpm": 14}  # bytes of numbers, which are never cut
_MAX_FIXED_BYTES = 100
# What is cut when a name gets too long, to how many bytes: it is the title that tells the tracks of one artist apart.
_YIELDING = (("album", 0), ("artist", 60), ("title", 0), ("id", 0), ("key", 0), ("artist", 0))
_BRACKETED = re.compile(r"(\s*\([^()]*\)|\s*\[[^\[\]]*\])")
_HASH_LENGTHS = (6, 12, 24)  # hex digits; more only where a name of this very form is taken


@dataclass(eq=False)
class TemplateError(UsageError):
    """A template of file names cannot be used."""

    template: str
    problem: str

    def __str__(self) -> str:
        return f"the template {self.template!r} cannot be used: {self.problem}"


@dataclass(frozen=True, slots=True)
class Named:
    """What the name of one file is made from: the first row of its track, and the number of that, from 1."""

    index: int
    row: Row

    def values(self) -> Values:
        """Return the fields of a template; what is not known is empty or None."""
        track, row = self.row.track, self.row
        artist, title = _shown(track.artist), _shown(track.title)
        bpm = row.bpm if row.bpm is not None and 0 < row.bpm < 1000 else None
        is_named_by_service = row.path is None and track.source != "url"
        return {
            "index": self.index,
            "artist": artist,
            "title": title or ("" if artist else _shown(row.fallback) or "untitled"),
            "album": clean(track.album),
            "id": clean(track.id if is_named_by_service else row.fallback),
            "bpm": bpm,
            "key": clean(row.musical_key),
        }


def _shown(text: str) -> str:
    """Return what a name shows of a text: nothing of one that has only dots, which no name may end in."""
    cleaned = clean(text)
    return cleaned if cleaned.strip(" .") else ""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A field and the text before it; the last piece of a part may have no field."""

    text: str
    field: str
    spec: str

    def shown(self, values: Values, width: int) -> str:
        """Return the value of the field, empty if it has none; an index with zeros is `width` digits wide at least."""
        value = values.get(self.field)
        if isinstance(value, str):
            return value[: int(self.spec[1:])].rstrip() if self.spec else value
        if isinstance(value, int):
            digits = format(value, self.spec)
            return digits.zfill(width) if self.spec.startswith("0") else digits
        if isinstance(value, float):
            spec = self.spec.removesuffix("f")
            return format(value, f"{spec}f" if "." in spec else f"{spec}.0f") if self.spec else f"{value:g}"
        return ""


class Template:
    """A text with the fields ``{index} {artist} {title} {album} {id} {bpm} {key}``. Raise TemplateError."""

    def __init__(self, text: str) -> None:
        self._text = unicodedata.normalize("NFC", text)
        parts = _BRACKETED.split(self._text)
        self._parts = [(_BRACKETED.fullmatch(part) is not None, self._pieces(part)) for part in parts]
        pieces = [piece for _, pieces in self._parts for piece in pieces]
        self._fields = Counter(piece.field for piece in pieces)
        if not _TELLING & set(self._fields):
            raise self._error("it tells no track from another; expected {index}, {title} or {id} in it")
        fixed = sum(size(piece.text) + _WIDEST.get(piece.field, 0) for piece in pieces)
        if fixed > _MAX_FIXED_BYTES:
            raise self._error(f"what it adds to each name is too long; expected at most {_MAX_FIXED_BYTES} bytes")

    def stem(self, named: Named, width: int, suffix: str = "") -> str:
        """Return the stem of a file with `suffix` at its end, in MAX_STEM_BYTES; numbers in it are never cut."""
        room = MAX_STEM_BYTES - size(suffix)
        values = named.values()
        stem = self._filled(values, width)
        for field, least in _YIELDING:
            while (over := size(stem) - room + len("_")) > 0 and size(value := str(values[field])) > least:
                values[field] = cut(value, max(least, size(value) - over))
                stem = self._filled(values, width)
        return safe_stem(stem, room) + suffix

    def _filled(self, values: Values, width: int) -> str:
        """Return the template with `values`; what is empty goes with the text before it, or the brackets around it."""
        filled, is_whole = "", True
        for is_bracketed, pieces in self._parts:
            shown = [(piece, piece.shown(values, width)) for piece in pieces]
            if is_bracketed and any(piece.field and not value for piece, value in shown):
                continue
            for piece, value in shown:
                if piece.field and not value:
                    is_whole = False
                else:
                    filled += f"{piece.text}{value}" if filled or is_whole else value
        return clean(filled)

    def _pieces(self, part: str) -> list[_Piece]:
        try:
            return [self._piece(*parsed) for parsed in Formatter().parse(part)]
        except ValueError:
            raise self._error("its braces do not match; expected fields such as {title}, and {{ for a brace") from None

    def _piece(self, text: str, field: str | None, spec: str | None, conversion: str | None) -> _Piece:
        bare = "".join(text.split())
        if clean(bare) != bare:
            raise self._error(f'{text!r} cannot be in a name on every disk; expected none of / \\ : * ? " < > |')
        if field is None:
            return _Piece(text, "", "")
        if field not in _SPECS:
            raise self._error(f"there is no field {{{field}}}{nearest(field, _SPECS)}")
        if conversion or not re.fullmatch(_SPECS[field], spec or ""):
            expected = "such as {index:02d}, {bpm:.0f} or {title:.40}"
            raise self._error(f"{{{field}}} cannot be written like that; expected formats {expected}")
        return _Piece(text, field, spec or "")

    def _error(self, problem: str) -> TemplateError:
        return TemplateError(self._text, problem)


def track_stems(named: Sequence[Named], template: Template, rows: int, occupied: Collection[str]) -> dict[str, str]:
    """Return by identity the stems of files, unique among `named` and against those whose folds are `occupied`.

    An index with zeros is as wide as `rows` needs. Where names clash, all of them get `` [6 hex of the identity]``, so
    that neither the order of the rows nor a clash's other half decides who has which name.
    """
    width = len(str(rows))
    stems = {one.row.identity: template.stem(one, width) for one in named}
    for length in _HASH_LENGTHS:
        count = Counter(fold(stem) for stem in stems.values())
        clashing = [one for one in named if count[fold(s := stems[one.row.identity])] > 1 or fold(s) in occupied]
        if not clashing:
            break
        for one in clashing:
            stems[one.row.identity] = template.stem(one, width, f" [{_hash(one.row.identity, length)}]")
    return stems


def _hash(identity: str, length: int) -> str:
    return hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()[:length]
