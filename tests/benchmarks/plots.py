"""``plots.py FIGURES FOLDER``: draw benchmarks.svg and benchmarks-growth.svg; it runs where matplotlib is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt

from tests.benchmarks.figures import Book

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tests.benchmarks.figures import RowFigures

_COLOURS = {"ours": "#0b6e4f", "peer": "#7c8a99", "bare": "#d5dae0"}
_GOAL = "#c2410c"


def _bars(axes: Axes, row: RowFigures) -> None:
    """Draw one row: a bar a contender, the shortest on top; a line where the goal is."""
    found = [(row.ratio(each), each) for each in row.contenders]
    shown = sorted(((ratio, each) for ratio, each in found if ratio is not None), key=lambda pair: -pair[0])
    ratios = [ratio for ratio, _ in shown]
    axes.barh([each.name for _, each in shown], ratios, color=[_COLOURS[each.kind] for _, each in shown])
    for place, ratio in enumerate(ratios):
        axes.text(ratio, place, f" {ratio:.2f}", va="center", fontsize=7)
    if row.limit:
        axes.axvline(row.limit, color=_GOAL, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(min([0.5, *(ratio / 1.5 for ratio in ratios)]), max([2, *(ratio * 2.2 for ratio in ratios)]))
    axes.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(row.title, fontsize=8, loc="left")
    measure = "CPU time" if row.by == "cpu" else "time"
    axes.set_xlabel(f"{measure} / {row.base} (log)", fontsize=7)


def _overview(book: Book, path: Path) -> None:
    rows = [row for name, row in book.rows.items() if not name.startswith("growth")]
    lines = (len(rows) + 1) // 2
    figure, axes = plt.subplots(lines, 2, figsize=(11, 2.3 * lines), squeeze=False)
    for place, row in zip(axes.flat, rows, strict=False):
        _bars(place, row)
    for place in axes.flat[len(rows) :]:
        place.set_visible(False)
    figure.suptitle("Shorter is better: ours green, peers grey, bare tools light, our goal dashed", fontsize=10)
    _save(figure, path)


def _growth(book: Book, path: Path) -> None:
    rows = [row for name, row in book.rows.items() if name.startswith("growth")]
    if not rows:
        return
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for name in dict.fromkeys(each.name for row in rows for each in row.contenders):
        points = [(row.files, each.middle("wall")) for row in rows for each in row.contenders if each.name == name]
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="entries", ylabel="seconds, whole process")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.set_aspect("equal", adjustable="datalim")  # twice the work in twice the time is the diagonal
    axes.legend(fontsize=8)
    axes.set_title("Linear is a slope of 45 degrees", fontsize=9)
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    figure.tight_layout(rect=(0, 0, 1, 0.98))  # the title of all stands above
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, facecolor="white")
    plt.close(figure)


def draw(book: Book, folder: Path, kind: str = "svg") -> None:
    """Draw both plots of a book into a folder."""
    mpl.use("agg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "cachestore", "font.family": "sans-serif"}
    _overview(book, folder / f"benchmarks.{kind}")
    _growth(book, folder / f"benchmarks-growth.{kind}")


if __name__ == "__main__":
    draw(Book.load(Path(sys.argv[1])), Path(sys.argv[2]))
