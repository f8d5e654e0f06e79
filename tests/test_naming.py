"""Names are safe on every filesystem."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter_plugin.naming import MAX_STEM_BYTES, cut, safe_stem, stem_of

# What titles are made of when they are awkward: separators, dots, devices, bidi, combining marks, emoji, surrogates.
AWKWARD = [
    "/",
    "\\",
    ":",
    '"',
    "|",
    "..",
    ".",
    " ",
    "\u202e",
    "\u200d",
    "\u0301",
    "e\u0301",
    "ß",
    "ﬁ",
    "K",
    "CON",
    "com1",
    "LPT²",
    "CONIN$",
    "\0",
    "{title}",
]
# Names that Windows keeps for itself, with any extension (learn.microsoft.com, "Naming Files, Paths, and Namespaces").
DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
DEVICES |= {f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"}
TEXT = st.lists(st.text() | st.sampled_from(AWKWARD), max_size=8).map("".join) | st.text(min_size=150)


def test_a_cut_takes_a_letter_with_its_marks() -> None:
    assert cut("ab" + "e\u0323\u0302", 4) == "ab"
    assert cut("日本語", 7) == "日本"
    assert cut("abc", 3) == "abc"


@pytest.mark.parametrize("name", ["CON", "aux", "Nul.tar", "COM1", "lpt¹.x", "con .x", "CONIN$"])
def test_device_names_of_windows_are_defused(name: str) -> None:
    assert safe_stem(name) == f"_{name}"


@given(st.sampled_from(sorted(DEVICES)), st.sampled_from(["", " ", ".", ".tar", " .x", ". x"]), st.booleans())
def test_no_stem_is_the_name_of_a_device(device: str, behind: str, is_lower: bool) -> None:
    assert_safe(safe_stem(f"{device.lower() if is_lower else device}{behind}"))


def test_a_device_name_is_defused_within_the_limit() -> None:
    assert len(safe_stem("CON." + "x" * 300).encode()) <= MAX_STEM_BYTES


@pytest.mark.parametrize(
    ("name", "stem"), [("..", "untitled"), ("  .hidden", "hidden"), ("a/../b", "a_.._b"), ("a.", "a")]
)
def test_a_stem_is_never_hidden_or_a_way_out(name: str, stem: str) -> None:
    assert safe_stem(name) == stem


@given(TEXT)
def test_every_stem_is_safe(text: str) -> None:
    assert_safe(safe_stem(text))


def assert_safe(stem: str) -> None:
    assert 0 < len(stem.encode()) <= MAX_STEM_BYTES
    assert stem == unicodedata.normalize("NFC", stem)
    assert not set(stem) & set('/\\:*?"<>|')
    assert not any(unicodedata.category(c).startswith("C") for c in stem)
    assert stem == stem.strip(" ")
    assert not stem.endswith(".")
    assert stem[0] not in ".-~"
    assert stem.partition(".")[0].rstrip(" ").upper() not in DEVICES


@pytest.mark.parametrize("name", ["a.flac", "a", ".a", "a.b.flac", "a..flac", ".a.flac"])
def test_the_stem_of_a_file_is_what_pathlib_says(name: str) -> None:
    assert stem_of(f"media/{name}") == PurePosixPath(name).stem
