"""Files are called by a template: safe and unique whatever a server or a person says, the same in every export."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cachestore.config import Config
from cachestore.track import Track
from exporter_plugin.naming import fold
from exporter_plugin.row import Row
from exporter_plugin.template import Named, Template, TemplateError, track_stems
from tests.test_naming import TEXT, assert_safe

DEFAULT = Template(Config(Path()).template)
FIELDS = ["index", "index:02d", "artist", "title", "title:.9", "album", "id", "bpm", "bpm:.1f", "key"]
# Templates as people write them, and as nobody does.
TEMPLATES = st.lists(
    st.sampled_from([f"{{{field}}}" for field in FIELDS])
    | st.sampled_from([" - ", ".", " (", ")", "[", "]", "e", "~"]),
    max_size=8,
).map("".join)
BPM = st.none() | st.floats()
ROWS = st.builds(
    lambda track_id, *said: Row(Track("s", track_id, None, *said[:3]), bpm=said[3], musical_key=said[4]),
    *(st.text(min_size=1), TEXT, TEXT, TEXT, BPM, TEXT),
)
NAMED = st.builds(Named, st.integers(1, 9999), ROWS)


def row(artist: str = "", title: str = "", track_id: str = "t42", album: str = "", **said: object) -> Row:
    return Row(Track("s", track_id, title=title, artist=artist, album=album), **said)  # type: ignore[arg-type]


def stem_of(text: str, row: Row, index: int = 1, rows: int = 12) -> str:
    return track_stems([Named(index, row)], Template(text), rows, ())[row.identity]


def stems_of(*rows: Row, occupied: set[str] = frozenset()) -> dict[str, str]:  # type: ignore[assignment]
    return track_stems([Named(1, row) for row in rows], DEFAULT, 12, {fold(stem) for stem in occupied})


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
        ("{index}", "{0.__class__}", "01 - {index} - {0.__class__}"),
        ("..", "..", "01 - t42"),
    ],
)
def test_by_default_a_stem_is_index_artist_and_title_made_safe(artist: str, title: str, stem: str) -> None:
    assert stems_of(row(artist, title)) == {"s:t42": stem}


def test_nothing_usable_at_all_is_untitled() -> None:
    assert stem_of("{index:02d} - {artist} - {title}", row("\u202e", "\0", "\u200b")) == "01 - untitled"


FULL = row("Kobo", "Night Bus", album="Lines", bpm=124.0, musical_key="8A")


@pytest.mark.parametrize(
    ("template", "stem"),
    [
        ("{artist} - {title}", "Kobo - Night Bus"),
        ("{index}. {title} ({bpm} BPM, {key})", "3. Night Bus (124 BPM, 8A)"),
        ("{key} {bpm:.1f} {title}", "8A 124.0 Night Bus"),
        ("{bpm:03d}", None),
        ("{bpm:4f} {id}", "124 t42"),
        ("{album}_{index:04d}_{id}", "Lines_0003_t42"),
        ("{title:.5} [{id}]", "Night [t42]"),
        ("{{{title}}}", "{Night Bus}"),
        (".{title}.", "Night Bus"),
        ("Set: {title}", None),
    ],
)
def test_a_template_has_the_fields_of_a_row(template: str, stem: str | None) -> None:
    if stem is None:
        with pytest.raises(TemplateError):
            Template(template)
    else:
        assert stem_of(template, FULL, index=3) == stem


@pytest.mark.parametrize(
    ("template", "stem"),
    [
        ("{artist} - {title}", "Opus"),
        ("{title} ({bpm} BPM, {key})", "Opus"),
        ("{title} [{key}] {id}", "Opus t42"),
        ("Mix {index} {bpm} {title}", "Mix 1 Opus"),
        ("{key}", None),
    ],
)
def test_what_is_not_known_goes_with_the_text_before_it_or_the_brackets_around_it(
    template: str, stem: str | None
) -> None:
    if stem is None:
        with pytest.raises(TemplateError, match="tells no track from another"):
            Template(template)
    else:
        assert stem_of(template, row(title="Opus")) == stem


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{artistt} {title}", r"no field {artistt}; did you mean artist\?"),
        ("{title.__class__}", "no field {title.__class__}"),
        ("{}", "no field {}"),
        ("{0}", "no field {0}"),
        ("{title", "braces do not match"),
        ("title}", "braces do not match"),
        ("{title!r}", "cannot be written like that"),
        ("{title:>80}", "cannot be written like that"),
        ("{index:9999999999d}", "cannot be written like that"),
        ("{index:{title}}", "cannot be written like that"),
        ("{index:x}", "cannot be written like that"),
        ("{artist}", "tells no track from another"),
        ("", "tells no track from another"),
        ("{artist}/{title}", "cannot be in a name on every disk"),
        ("{title}\u202e", "cannot be in a name on every disk"),
        ("\udcff{title}", "cannot be in a name on every disk"),
        ("x" * 101 + "{title}", "too long"),
        ("{index}" * 12, "too long"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_sentence(template: str, problem: str) -> None:
    with pytest.raises(TemplateError, match=problem) as caught:
        Template(template)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@given(st.text() | TEMPLATES)
def test_any_text_is_a_template_or_is_refused(text: str) -> None:
    try:
        template = Template(text)
    except TemplateError:
        return
    assert_safe(template.stem(Named(1, FULL), 2))


def test_an_index_with_zeros_is_as_wide_as_the_mix_needs() -> None:
    assert stem_of("{index:02d} {title}", row(title="T"), index=7, rows=99) == "07 T"
    assert stem_of("{index:02d} {title}", row(title="T"), index=7, rows=100) == "007 T"
    assert stem_of("{index} {title}", row(title="T"), index=7, rows=100) == "7 T"


def test_a_long_artist_gives_way_before_the_title() -> None:
    [stem] = stems_of(row("Orchestra " * 30, "Adagio in G " * 8)).values()
    assert stem.endswith("Adagio in G")
    assert stem.startswith("01 - Orchestra Orchestra")


def test_a_number_at_the_end_of_a_long_name_is_not_cut() -> None:
    assert stem_of("{title} {title} {artist} {index:03d}", row("Å" * 200, "Ü" * 200), index=42).endswith(" 042")


def test_names_that_clash_all_get_the_hash_of_their_track_whatever_their_order() -> None:
    pair = [row(title="Straße", track_id="a"), row(title="STRASSE", track_id="b")]
    stems = stems_of(*pair)
    assert stems == stems_of(*pair[::-1])
    assert stems["s:a"].startswith("01 - Straße [")
    assert stems["s:b"].startswith("01 - STRASSE [")
    assert len(stems["s:a"]) == len("01 - Straße [123456]")


def test_a_taken_name_is_avoided_and_a_taken_hash_gets_longer() -> None:
    one = row(title="One")
    avoided = stems_of(one, occupied={"01 - ONE"})["s:t42"]
    longer = stems_of(one, occupied={"01 - ONE", avoided})["s:t42"]
    assert longer.startswith(avoided.removesuffix("]"))
    assert len(longer) == len(avoided) + 6


@given(
    st.lists(NAMED, unique_by=lambda named: named.row.identity, max_size=8),
    TEMPLATES.filter(lambda text: bool(re.search(r"\{(index|title|id)", text))),
    st.sets(st.text(), max_size=4),
)
@example([Named(1, row("a" * 300, "b" * 300, bpm=1e308))], "{title}{bpm}{artist}{title:.9}{index:02d}", set())
def test_all_stems_are_safe_and_unique_and_the_same_in_any_order(
    named: list[Named], text: str, taken: set[str]
) -> None:
    try:
        template = Template(text)
    except TemplateError:
        return
    occupied = {fold(stem) for stem in taken}
    stems = track_stems(named, template, 9999, occupied)
    for one in named:
        assert_safe(stems[one.row.identity])
    folds = [fold(stem) for stem in stems.values()]
    assert len(folds) == len(set(folds))
    assert not set(folds) & occupied
    assert stems == track_stems(named[::-1], template, 9999, occupied)


@given(st.lists(NAMED, unique_by=lambda named: named.row.identity, max_size=8))
@example([Named(1, row("", "."))])
@example([Named(1, row("..", ". ."))])
def test_by_default_every_stem_keeps_its_index(named: list[Named]) -> None:
    stems = track_stems(named, DEFAULT, 9999, ())
    for one in named:
        assert stems[one.row.identity].startswith(f"{one.index:04d} - ")
