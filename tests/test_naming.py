"""Names are safe and unique on every filesystem."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter_plugin.naming import MAX_STEM_BYTES, Named, cut, fold, safe_stem, track_stems

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
    "\0",
]
TEXT = st.lists(st.text() | st.sampled_from(AWKWARD), max_size=8).map("".join) | st.text(min_size=150)
NAMED = st.builds(Named, st.text(), st.integers(1, 9999), TEXT, TEXT, TEXT)


def one_stem(artist: str = "", title: str = "", fallback: str = "t42", index: int = 1, rows: int = 12) -> str:
    return track_stems([Named("s:t42", index, artist, title, fallback)], rows)["s:t42"]


@pytest.mark.parametrize(
    ("artist", "title", "stem"),
    [
        ("E.P.", "Opus", "01 - E.P. - Opus"),
        ("", "Opus", "01 - Opus"),
        ("E.P.", "", "01 - E.P"),
        ("", "", "01 - t42"),
        ("AC/DC", 'Who: "Live"?', "01 - AC_DC - Who_ _Live__"),
        ("A", "Stab.", "01 - A - Stab"),
        ("A", "two\n\tlines", "01 - A - two lines"),
        ("A", "gpj\u202e.exe", "01 - A - gpj.exe"),
        ("A", "Ro\u0301s", "01 - A - Rós"),
        ("A", "half \ud83d", "01 - A - half"),
        ("..", "..", "01 - .. -"),
    ],
)
def test_a_stem_is_index_artist_and_title_made_safe(artist: str, title: str, stem: str) -> None:
    assert one_stem(artist, title) == stem


def test_nothing_usable_at_all_is_untitled() -> None:
    assert one_stem("\u202e", "\0", "\u200b") == "01 - untitled"


def test_the_index_is_as_wide_as_the_mix_needs() -> None:
    assert one_stem(title="T", index=7, rows=99) == "07 - T"
    assert one_stem(title="T", index=7, rows=100) == "007 - T"


def test_a_long_artist_gives_way_before_the_title() -> None:
    stem = one_stem("Orchestra " * 30, "Adagio in G " * 8)
    assert stem.endswith("Adagio in G")
    assert stem.startswith("01 - Orchestra Orchestra")


def test_a_cut_takes_a_letter_with_its_marks() -> None:
    assert cut("ab" + "e\u0323\u0302", 4) == "ab"
    assert cut("日本語", 7) == "日本"
    assert cut("abc", 3) == "abc"


@pytest.mark.parametrize("name", ["CON", "aux", "Nul.tar", "COM1", "lpt¹.x", "con .x", "CONIN$"])
def test_device_names_of_windows_are_defused(name: str) -> None:
    assert safe_stem(name) == f"_{name}"


@pytest.mark.parametrize(
    ("name", "stem"), [("..", "untitled"), ("  .hidden", "hidden"), ("a/../b", "a_.._b"), ("a.", "a")]
)
def test_a_stem_of_its_own_is_never_hidden_or_a_way_out(name: str, stem: str) -> None:
    assert safe_stem(name) == stem


def test_names_that_clash_all_get_the_hash_of_their_track_whatever_their_order() -> None:
    pair = [Named("s:a", 1, "", "Straße", ""), Named("s:b", 1, "", "STRASSE", "")]
    stems = track_stems(pair, 2)
    assert stems == track_stems(pair[::-1], 2)
    assert stems["s:a"].startswith("01 - Straße [")
    assert stems["s:b"].startswith("01 - STRASSE [")
    assert len(stems["s:a"]) == len("01 - Straße [123456]")


def test_a_taken_name_is_avoided_and_a_taken_hash_gets_longer() -> None:
    [named] = [Named("s:a", 1, "", "One", "")]
    avoided = track_stems([named], 1, {"01 - ONE"})["s:a"]
    longer = track_stems([named], 1, {"01 - ONE", avoided})["s:a"]
    assert longer.startswith(avoided.removesuffix("]"))
    assert len(longer) == len(avoided) + 6


@given(TEXT)
def test_every_stem_of_its_own_is_safe(text: str) -> None:
    assert_safe(safe_stem(text))


@given(st.lists(NAMED, unique_by=lambda named: named.identity, max_size=12), st.sets(st.text(), max_size=4))
def test_all_stems_are_safe_and_unique_and_keep_their_index(named: list[Named], taken: set[str]) -> None:
    stems = track_stems(named, 9999, taken)
    for one in named:
        assert_safe(stems[one.identity])
        assert stems[one.identity].startswith(f"{one.index:04d} - ")
    folds = [fold(stem) for stem in stems.values()]
    assert len(folds) == len(set(folds))
    assert not set(folds) & {fold(name) for name in taken}
    assert stems == track_stems(named[::-1], 9999, taken)


def assert_safe(stem: str) -> None:
    assert 0 < len(stem.encode()) <= MAX_STEM_BYTES
    assert stem == unicodedata.normalize("NFC", stem)
    assert not set(stem) & set('/\\:*?"<>|')
    assert not any(unicodedata.category(c).startswith("C") for c in stem)
    assert stem == stem.strip(" ")
    assert not stem.endswith(".")
    assert stem[0] not in ".-~"
