"""The benchmarks run and their page comes out; nothing here looks at how long anything took."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.figures import Book, RowFigures
from tests.benchmarks.measure import Command, NotDoneError, run
from tests.benchmarks.page import page
from tests.benchmarks.peers import HOUSE
from tests.benchmarks.runner import ROWS, measured
from tests.benchmarks.scale import Lot, Scale

if TYPE_CHECKING:
    from pathlib import Path

LEAST = Scale(
    name="least",
    large=Lot(1, 4096),
    medium=Lot(1, 4096),
    tiny=Lot(2, 4096),
    asked=2,
    warm=(3, 6),
    entries=10,
    pruned=10,
    verified=Lot(1, 4096),
    growth=(2, 4, 6),
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RowFigures]:
    """Two cheap rows, measured twice, with no peers that would have to be installed."""
    folder = tmp_path_factory.mktemp("benchmarks")
    return {name: measured(name, LEAST, 2, cache=None, folder=folder) for name in ("version", "warm-few")}


@pytest.mark.long
def test_ours_and_bare_tools_are_measured_each_round(rows: dict[str, RowFigures]) -> None:
    for row in rows.values():
        there = [figures for figures in row.contenders if figures.kind != "peer"]
        assert [figures.failed for figures in there] == [""] * len(there)
        assert {len(figures.wall) for figures in there} == {len(row.load)} == {2}
        assert row.ratio(row.ours) == pytest.approx((row.ours.middle("wall") or 0) / base(row))


def base(row: RowFigures) -> float:
    return next(figures.middle("wall") or 0 for figures in row.contenders if figures.name == row.base)


@pytest.mark.long
def test_the_page_has_a_table_for_each_row_and_names_missing_peers(rows: dict[str, RowFigures]) -> None:
    text = page(Book({"processor": "one"}, dict(rows)))
    for row in rows.values():
        assert f"### {row.title}\n" in text
        assert f"| {row.title} | {row.aim} | {row.ratio(row.ours):.2f} x" in text
    assert "- dvc checkout: missing: not installed\n" in text


@pytest.mark.long
def test_figures_are_kept(rows: dict[str, RowFigures], tmp_path: Path) -> None:
    book = Book({"processor": "one"}, dict(rows))
    book.save(tmp_path / "figures.json")
    assert Book.load(tmp_path / "figures.json") == book


def test_a_contender_that_fails_or_did_not_do_its_work_has_no_figures(tmp_path: Path) -> None:
    def undone() -> None:
        raise NotDoneError("nothing arrived")

    with pytest.raises(NotDoneError, match="exit code 3: too bad"):
        run(Command((sys.executable, "-c", "import sys; print('too bad', file=sys.stderr); sys.exit(3)")), tmp_path)
    with pytest.raises(NotDoneError, match="nothing arrived"):
        run(Command((sys.executable, "-c", ""), undone), tmp_path)
    with pytest.raises(NotDoneError, match="exit code nothing"):
        run(Command(("/no/such/program",)), tmp_path)


def test_what_a_program_says_of_itself_and_its_memory_are_read(tmp_path: Path) -> None:
    program = "memory = bytearray(64_000_000); print('inner 0.25')"
    spent = run(Command((sys.executable, "-c", program)), tmp_path)
    assert spent.inner == 0.25
    assert 64 < spent.rss < 200
    assert spent.cpu > 0


def test_the_page_is_that_of_the_figures_which_have_every_row() -> None:
    book = Book.load(HOUSE / "tests" / "benchmarks" / "figures.json")
    assert (HOUSE / "docs" / "benchmarks.md").read_text() == page(book)
    assert set(book.rows) == set(ROWS)
