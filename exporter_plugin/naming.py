"""What makes a file name safe on every filesystem: ext4, APFS, NTFS, exFAT, FAT32.

A name is a stem and an extension.
"""

from __future__ import annotations

import unicodedata

# DAWs append to the full name (`.asd`, `.reapindex`) and other filesystems count otherwise: 255 would be too many.
MAX_NAME_BYTES = 200
MAX_STEM_BYTES = MAX_NAME_BYTES - len(".reserve!!")  # an extension has at most nine letters
_RESERVED_CHARACTERS = str.maketrans(dict.fromkeys('/\\:*?"<>|', "_"))
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {p + n for p in ("com", "lpt") for n in "0123456789¹²³"}


def safe_stem(text: str, limit: int = MAX_STEM_BYTES) -> str:
    """Return `text` as the stem of a file in at most `limit` bytes; "untitled" when nothing is left of it."""
    room = limit - len("_")
    stem = cut(clean(text).lstrip(" .-~"), room).rstrip(" .") or "untitled"
    device = stem.partition(".")[0].replace(" ", "").casefold()
    return f"_{stem}" if device in _DEVICES else stem


def stem_of(file: str) -> str:
    """Return the last part of a path with ``/`` without its extension, as pathlib does, which takes its time."""
    name = file.rpartition("/")[2]
    stem, _, ext = name.rpartition(".")
    return stem if stem and ext else name


def is_safe(name: str) -> bool:
    """Return whether a file may be called `name` as it is."""
    return safe_stem(name, MAX_NAME_BYTES + len("_")) == name


def fold(name: str) -> str:
    """Return what filesystems without case or with normalization compare: equal folds may be one file."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def clean(text: str) -> str:
    """Return `text` in NFC without characters that a filesystem refuses, hides or reorders."""
    spaced = " ".join(text.split())
    if spaced.isascii() and spaced.isprintable():
        return spaced.translate(_RESERVED_CHARACTERS)
    kept = "".join(c for c in spaced if not unicodedata.category(c).startswith("C"))
    return " ".join(unicodedata.normalize("NFC", kept).translate(_RESERVED_CHARACTERS).split())


def cut(text: str, limit: int) -> str:
    """Return as much of `text` as fits into `limit` bytes of UTF-8, no letter without its combining marks."""
    if size(text) <= limit:
        return text
    end = len(text.encode()[: max(limit, 0)].decode(errors="ignore"))
    whole = end
    while whole and unicodedata.category(text[whole]).startswith("M"):
        whole -= 1
    return text[: whole or end].rstrip()


def size(text: str) -> int:
    """Return how many bytes `text` takes in a name."""
    return len(text.encode())
