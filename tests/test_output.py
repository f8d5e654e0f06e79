"""What people and programs read comes as it is made, and is as if it had come at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cachestore.cli.output import _json_fields, _json_pieces, print_json, print_json_object, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.lists(VALUES))
def test_a_list_that_comes_is_printed_with_an_item_a_line(items: list[object]) -> None:
    told = "".join(_json_pieces(iter(items), "\n"))
    lines = [f"\n  {json.dumps(item, ensure_ascii=False)}" for item in items]
    assert told == "[" + ",".join(lines) + ("\n]" if items else "]")
    assert json.loads(told) == items


@given(st.dictionaries(st.text(), VALUES), st.lists(VALUES))
def test_an_object_that_comes_is_printed_as_one_that_is_there(fields: dict[str, object], items: list[object]) -> None:
    def coming() -> Iterator[tuple[str, object]]:
        for name, value in [*fields.items(), ("coming", items)]:
            yield name, iter(items) if value is items else value

    told = "".join(_json_fields(coming()))
    assert json.loads(told) == fields | {"coming": items}
    assert told.splitlines()[0] == "{"


def test_a_field_is_asked_for_when_those_before_it_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []

    def items() -> Iterator[int]:
        for number in range(3):
            seen.append(number)
            yield number

    def fields() -> Iterator[tuple[str, object]]:
        yield "items", items()
        yield "sum", sum(seen)

    print_json_object(fields())
    assert json.loads(capsys.readouterr().out) == {"items": [0, 1, 2], "sum": 3}


def test_a_long_list_is_printed_while_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    def items() -> Iterator[int]:
        yield from range(2000)
        assert capsys.readouterr().out.startswith("[\n  0,\n  1,")
        yield 2000

    print_json(items())
    assert capsys.readouterr().out.endswith("\n  2000\n]\n")


def test_a_table_comes_page_by_page_and_keeps_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    def rows() -> Iterator[tuple[str, str]]:
        yield from [("a long name", "1")] * 200
        assert capsys.readouterr().out.startswith("NAME         N\na long name  1\n")
        yield "b", "22"

    print_table(("NAME", "N"), rows(), right=frozenset({1}))
    assert capsys.readouterr().out == "b            22\n"


def test_a_table_without_rows_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "N"), [])
    assert capsys.readouterr().out == ""
