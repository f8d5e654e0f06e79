"""File names that are safe and unique on every filesystem: ext4, APFS, NTFS, exFAT, FAT32.

A name is a stem and an extension. Stems are unique by themselves, whatever extensions the bytes turn out to need, so
they are known before the first download and no track's failure changes another track's name.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# DAWs append to the full name (`.asd`, `.reapindex`) and other filesystems count otherwise: 255 would be too many.
MAX_NAME_BYTES = 200
MAX_STEM_BYTES = MAX_NAME_BYTES - len(".reserve!!")  # an extension has at most nine letters
_MIN_ARTIST_BYTES = 60
_HASH_LENGTHS = (6, 12, 24)  # hex digits; more only where a name of this very form is taken
_RESERVED_CHARACTERS = str.maketrans(dict.fromkeys('/\\:*?"<>|', "_"))
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {p + n for p in ("com", "lpt") for n in "0123456789¹²³"}


@dataclass(frozen=True, slots=True)
class Named:
    """What the name of one file is made from: `identity` tells it from all others, `index` is 1-based.

    `fallback` stands in when neither artist nor title is known.
    """

    identity: str
    index: int
    artist: str
    title: str
    fallback: str


def track_stems(named: Sequence[Named], rows: int, taken: Collection[str] = ()) -> dict[str, str]:
    """Return by identity the stem ``01 - Artist - Title``, unique among `named` and against the stems `taken`.

    The index is as wide as `rows` needs. Where names clash, all of them get `` [6 hex of the identity]``, so that
    neither the order of the rows nor a clash's other half decides who has which name.
    """
    width = max(2, len(str(rows)))
    occupied = {fold(stem) for stem in taken}
    stems = {one.identity: _stem(one, width, "") for one in named}
    for length in _HASH_LENGTHS:
        count = Counter(fold(stem) for stem in stems.values())
        clashing = [one for one in named if count[fold(s := stems[one.identity])] > 1 or fold(s) in occupied]
        stems |= {one.identity: _stem(one, width, f" [{_hash(one.identity, length)}]") for one in clashing}
    return stems


def safe_stem(text: str) -> str:
    """Return `text` as the stem of a file of its own, at most 190 bytes; "untitled" when nothing is left of it."""
    stem = cut(_clean(text).lstrip(" .-~"), MAX_STEM_BYTES).rstrip(" .") or "untitled"
    device = stem.partition(".")[0].replace(" ", "").casefold()
    return f"_{stem}" if device in _DEVICES else stem


def fold(name: str) -> str:
    """Return what filesystems without case or with normalization compare: equal folds may be one file."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _stem(named: Named, width: int, suffix: str) -> str:
    prefix = f"{named.index:0{width}d} - "
    words = _words(named, MAX_STEM_BYTES - _size(prefix) - _size(suffix))
    return f"{prefix}{words}{suffix}"


def _words(named: Named, room: int) -> str:
    """Return ``Artist - Title``, or what is known of it, in at most `room` bytes."""
    artist, title = _clean(named.artist), _clean(named.title)
    if artist and title:
        # The artist gives way first: it is the title that tells tracks of one artist apart.
        head = cut(artist, max(_MIN_ARTIST_BYTES, room - _size(f" - {title}")))
        words = f"{head} - {cut(title, room - _size(f'{head} - '))}"
    else:
        words = cut(artist or title or _clean(named.fallback), room)
    return words.rstrip(" .") or "untitled"


def _clean(text: str) -> str:
    """Return `text` in NFC without characters that a filesystem refuses, hides or reorders."""
    spaced = " ".join(text.split())
    kept = "".join(c for c in spaced if not unicodedata.category(c).startswith("C"))
    return " ".join(unicodedata.normalize("NFC", kept).translate(_RESERVED_CHARACTERS).split())


def cut(text: str, limit: int) -> str:
    """Return as much of `text` as fits into `limit` bytes of UTF-8, no letter without its combining marks."""
    if _size(text) <= limit:
        return text
    end = len(text.encode()[: max(limit, 0)].decode(errors="ignore"))
    whole = end
    while whole and unicodedata.category(text[whole]).startswith("M"):
        whole -= 1
    return text[: whole or end].rstrip()


def _size(text: str) -> int:
    return len(text.encode())


def _hash(identity: str, length: int) -> str:
    return hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()[:length]
