"""Sizes and durations: as people write them, and back."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachestore.errors import QuantityError
from cachestore.quantities import format_age, format_size, parse_age, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1234", 1234),
        ("1 B", 1),
        ("20 GB", 20 * 10**9),
        ("20GB", 20 * 10**9),
        ("20gb", 20 * 10**9),
        ("20GiB", 20 * 2**30),
        ("1.5 kB", 1500),
        ("512 MiB", 512 * 2**20),
        (" 2 TB ", 2 * 10**12),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0 s", 0), ("90 s", 90), ("1 h", 3600), ("30min", 1800), ("7 days", 604800), ("1 week", 604800), ("1.5 h", 5400)],
)  # fmt: skip
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "GB", "-1", "1 2", "ten", "1e9", "1,5 GB", "5 apples", "٣ GB", "9" * 400, "9" * 300 + " TB"]
)
def test_a_size_that_does_not_parse_says_what_was_expected(text: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_size(text)
    assert str(caught.value) == f'{text!r} does not parse: expected a size such as "20 GB", "512 MiB" or "0"'


@pytest.mark.parametrize(
    "text", ["", "90", "-1 h", "soon", "1 month", "h", "inf", "nan", "9" * 400, "9" * 308 + " days"]
)
def test_a_duration_that_does_not_parse_says_what_was_expected(text: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_age(text)
    assert str(caught.value) == f'{text!r} does not parse: expected a duration such as "90 s", "1 h" or "7 days"'


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (12_345_678, "12.3 MB"),
        (20 * 10**9, "20.0 GB"),
        (3 * 10**15, "3000.0 TB"),
    ],
)
def test_a_size_is_shown_in_three_digits(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (-5, "0 s"), (59, "59 s"), (7200, "2 h"), (172800, "2 d"), (120, "2 min")]
)
def test_a_duration_is_shown_in_its_largest_unit(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


@given(st.integers(min_value=0, max_value=10**15))
def test_what_is_shown_can_be_read_again_within_its_precision(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.05, abs=0.5)


@given(st.text())
def test_any_text_is_a_size_or_a_quantity_error(text: str) -> None:
    with suppress(QuantityError):
        assert parse_size(text) >= 0
