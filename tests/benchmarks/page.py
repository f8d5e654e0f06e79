"""docs/benchmarks.md, the whole of it: its prose is here and in two pages beside, its figures are in figures.json."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.figures import Book, Figures, RowFigures

_LARGE = Path(__file__).with_name("large_stores.md")  # what large_stores.py printed, and what was made of it
_STEPS = Path(__file__).with_name("steps.md")  # measured by hand, when each was made
_HEAD = """\
# Benchmarks

Made by `python -m tests.benchmarks`; [Testing](testing.md#benchmarks) says how to repeat it. Ours and the peers run in
turns, each as a process of its own, from its start to its exit; a figure is the median of its runs. Compare what
stands in one table; nothing is promised for another machine. Ours does all its work: it asks conditionally, judges
what comes, hashes it, publishes it, keeps its index, remembers each use.

![Each row's time as a multiple of its base, ours and the peers](benchmarks.svg)
"""
_STANDING = """\
Times as multiples of that of the one the goal names. A peer is what keeps files or answers for others, too; what a bare
tool takes is in the tables below. For `find`, the peer is the base; `prune` is by CPU time, since it pauses. Under a
load, the ratio in CPU time says more. The goals for RSS are 45 MB for any download or export, and 150 MB for any
command at 1,000,000 entries.
"""
_COLUMNS = """\
*Ratio* is to the contender with 1.00. *In process* leaves out the start of the program, where it says so itself. *CPU*
is that of all its processes, in seconds, and for downloads and `verify` also per gigabyte. *RSS* is the most memory
that any process of it had in any run, in MB; 9 is the least that can be told. Downloads come from nginx on loopback,
without TLS; exports are offline; everything is in the file cache of the system.
"""
_GROWTH = """\
Our own commands on stores of more and more entries.

![Seconds of our commands by the number of entries](benchmarks-growth.svg)
"""
_NOT_MEASURED = """\
- *TLS, latency, slow servers, proxies.* On a real network the server and the line decide; these figures say what the
  program itself costs.
- *Cold disks.* Everything is read from the file cache, and nobody waits for the disk: no contender syncs.
- *Other systems and filesystems.* macOS, reflinks, network filesystems, spinning disks.
- *dvc and cached_path with their remotes.* dvc links what it has; cached_path gets plain URLs.
- *git-annex, restic, rsync,* which do other work, and services that need an account.
"""


def page(book: Book) -> str:
    """Return the page."""
    growth = {name: row for name, row in book.rows.items() if name.startswith("growth")}
    others = {name: row for name, row in book.rows.items() if name not in growth}
    parts = [_HEAD, _machine(book), "## Where we stand\n", *_standing(others), "## Figures\n", _COLUMNS]
    parts += [part for row in others.values() for part in _row(row)]
    parts += ["## Growth\n", _GROWTH, *_growing(growth), _LARGE.read_text(), _STEPS.read_text()]
    parts += ["## Missing peers\n", *_missing(others), "## Not measured\n", _NOT_MEASURED]
    return "\n".join(parts)


def _machine(book: Book) -> str:
    facts = ", ".join(f"{what} {value}" for what, value in book.machine.items())
    loads = [load for row in book.rows.values() for load in row.load]
    span = f"{min(loads)} to {max(loads)}" if loads else "not known"
    sentence = f"The machine: {facts}. Load averages before the rounds: {span}; what is above 1 was other work beside."
    return _wrapped(sentence)


def _standing(rows: dict[str, RowFigures]) -> Iterator[str]:
    yield _STANDING
    yield _table(
        ["work", "goal, at most", "ours", "in CPU time", "RSS", "best peer"], [_stand(row) for row in rows.values()]
    )


def _stand(row: RowFigures) -> list[str]:
    ratio = row.ratio(row.ours)
    peers = [(row.ratio(peer), peer.name) for peer in row.contenders if peer.kind == "peer"]
    reached = sorted((ratio, name) for ratio, name in peers if ratio is not None)
    ours = "-" if ratio is None else f"{ratio:.2f} x"
    if row.limit and ratio is not None:
        ours += ", reached" if ratio <= row.limit else ", missed"
    if row.by == "inner" and (each := row.ours.middle("inner")) is not None:
        ours += f" ({each / row.files * 1e6:.0f} us)"
    cpu = row.ratio(row.ours, "cpu")
    return [
        row.title,
        row.aim,
        ours,
        "-" if cpu is None else f"{cpu:.2f} x",
        "-" if row.ours.memory is None else f"{row.ours.memory:.0f} MB",
        f"{reached[0][1]} {reached[0][0]:.2f} x" if reached else "-",
    ]


def _row(row: RowFigures) -> Iterator[str]:
    yield f"### {row.title}\n"
    loads = ", ".join(str(load) for load in row.load)
    yield _wrapped(f"Goal: {row.aim}. Scale {row.scale}, {_rounds(row.rounds)}, {row.date}, load {loads}.")
    heads = ["", "version", "seconds", "ratio", "in process", "CPU s", *(["CPU s/GB"] if row.size else []), "RSS"]
    yield _table(heads, [_figures(row, each) for each in row.contenders if not each.failed])
    notes = [f"- {each.name} {each.leaves_out}." for each in row.contenders if each.leaves_out and not each.failed]
    if notes:
        yield "\n".join(notes) + "\n"


def _rounds(number: int) -> str:
    return "one round" if number == 1 else f"{number} rounds"


def _figures(row: RowFigures, each: Figures) -> list[str]:
    cpu = each.middle("cpu")
    per_gigabyte = [_number(None if cpu is None else cpu / row.size * 1e9)] if row.size else []
    return [
        f"**{each.name}**" if each.kind == "ours" else each.name,
        each.version,
        _number(each.middle("wall")),
        _number(row.ratio(each)),
        _number(each.middle("inner")),
        _number(cpu),
        *per_gigabyte,
        "" if each.memory is None else f"{each.memory:.0f}",
    ]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _growing(rows: dict[str, RowFigures]) -> Iterator[str]:
    names = list(dict.fromkeys(each.name for row in rows.values() for each in row.contenders))
    heads = ["seconds", *(f"{row.files:,}" for row in rows.values()), "RSS at most"]
    found = {name: [each for row in rows.values() for each in row.contenders if each.name == name] for name in names}
    yield _table(heads, [[f"`{name}`", *_grown(found[name])] for name in names])
    if rows:
        last = list(rows.values())[-1]
        yield f"Scale {last.scale}, {_rounds(last.rounds)}, {last.date}.\n"


def _grown(runs: list[Figures]) -> list[str]:
    memory = max((each.memory or 0.0 for each in runs), default=0.0)
    return [*(_number(each.middle("wall")) for each in runs), f"{memory:.0f} MB"]


def _missing(rows: dict[str, RowFigures]) -> Iterator[str]:
    failed = {
        f"- {each.name}: {each.failed}"[:118]: None for row in rows.values() for each in row.contenders if each.failed
    }
    yield "\n".join(failed or ["None."]) + "\n"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    ruler = "|---" * len(heads) + "|"
    return "\n".join([f"| {' | '.join(heads)} |", ruler, *(f"| {' | '.join(row)} |" for row in rows), ""])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False) + "\n"
