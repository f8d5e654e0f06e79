"""``python -m tests.benchmarks``: measure, keep the figures, write docs/benchmarks.md and its plots.

Rows that are not named keep the figures they had. docs/testing.md says more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.figures import Book
from tests.benchmarks.page import page
from tests.benchmarks.peers import HOUSE, PythonPackage
from tests.benchmarks.runner import ROWS, machine, measured
from tests.benchmarks.scale import SCALES

_HERE = Path(__file__).parent
_FIGURES = _HERE / "figures.json"
_DOCS = HOUSE / "docs"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs; the median counts")
    parser.add_argument("--scale", choices=SCALES, default="full", help="small takes minutes, full about an hour")
    parser.add_argument("--only", action="append", choices=ROWS, help="measure this row; may be given again")
    parser.add_argument("--folder", type=Path, help="where to measure, on the disk that matters; 5 GB are needed")
    parser.add_argument("--page", action="store_true", help="measure nothing: make page and plots of what is kept")
    return parser.parse_args()


def _cache() -> Path:
    """Return the folder where peers stay installed."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cachestore-benchmarks"


def _measure(book: Book, arguments: argparse.Namespace) -> None:
    book.machine = machine(arguments.folder)
    for name in arguments.only or ROWS:
        scale = SCALES[arguments.scale]
        row = measured(name, scale, arguments.rounds, cache=_cache(), folder=arguments.folder)
        rows = book.rows | {name: row}
        book.rows = {known: rows[known] for known in ROWS if known in rows}
        book.save(_FIGURES)


def _write(book: Book) -> None:
    (_DOCS / "benchmarks.md").write_text(page(book))
    plotter = PythonPackage("matplotlib", _cache() / "pypi", install=True)
    if missing := plotter.missing():
        sys.exit(f"no plots: matplotlib {missing}")
    environment = os.environ | {"PYTHONPATH": str(HOUSE)}
    subprocess.run([plotter.bin / "python", _HERE / "plots.py", _FIGURES, _DOCS], env=environment, check=True)


if __name__ == "__main__":
    chosen = _arguments()
    kept = Book.load(_FIGURES)
    if not chosen.page:
        _measure(kept, chosen)
    _write(kept)
