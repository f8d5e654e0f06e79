"""The house, held by reading the imports: which floor a room is on, and who may import what (docs/design.md).

Imports inside functions and those for types only count too: they are knowledge all the same.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUSE = Path(__file__).parent.parent

# An arrow goes from a higher number to a lower one. The whole numbers are the floors of the design; a room that stands
# on another one of its own floor is a step higher.
FLOORS = {
    "cachestore": 8.0,
    "cachestore.__main__": 7.0,
    "cachestore.cli": 6.0,
    "cachestore.cache": 5.1,
    "cachestore.fetching": 5.0,
    "cachestore.prune": 4.2,
    "cachestore.sweep": 4.15,
    "cachestore.usage": 4.1,
    "cachestore.playlists": 4.0,
    "cachestore.verify": 4.0,
    "cachestore.store": 3.1,
    "cachestore.rows": 3.0,
    "cachestore.download": 2.5,
    "cachestore.sources": 2.4,
    "cachestore.web": 2.3,
    "cachestore.blobs": 2.0,
    "cachestore.boot": 2.0,
    "cachestore.config": 2.2,
    "cachestore.index": 2.0,
    "cachestore.links": 2.1,
    "cachestore.media": 2.0,
    "cachestore.partials": 2.2,
    "cachestore.root": 2.0,
    "cachestore.aside": 0.9,
    "cachestore.text": 0.9,
    "cachestore.authorizing": 1.0,
    "cachestore.runs": 2.0,
    "cachestore.entry": 1.2,
    "cachestore.track": 1.1,
    "cachestore.version": 1.0,
    "cachestore.release": 1.0,
    "cachestore.events": 1.1,
    "cachestore.quantities": 1.1,
    "cachestore.errors": 1.0,
    "exporter_plugin": 9.0,
    "exporter_plugin.demo": 8.0,
    "exporter_plugin.cli": 7.0,
    "exporter_plugin.summary": 6.5,
    "exporter_plugin.export": 6.0,
    "exporter_plugin.plan": 6.0,
    "exporter_plugin.otio": 6.0,
    "exporter_plugin.gather": 5.7,
    "exporter_plugin.foresight": 5.7,
    "exporter_plugin.local": 4.1,
    "exporter_plugin.publish": 5.6,
    "exporter_plugin.untouched": 5.5,
    "exporter_plugin.staging": 5.5,
    "exporter_plugin.formats": 5.4,
    "exporter_plugin.staging_place": 5.3,
    "exporter_plugin.row_events": 5.4,
    "exporter_plugin.layout": 5.3,
    "exporter_plugin.inspection": 5.3,
    "exporter_plugin.outcome": 5.3,
    "exporter_plugin.options": 5.2,
    "exporter_plugin.space": 5.0,
    "exporter_plugin.destination": 5.2,
    "exporter_plugin.manifest": 5.1,
    "exporter_plugin.cloud": 5.1,
    "exporter_plugin.mix": 5.0,
    "exporter_plugin.readers": 4.2,
    "exporter_plugin.template": 4.1,
    "exporter_plugin.naming": 4.0,
    "exporter_plugin.litter": 4.0,
    "exporter_plugin.facts": 4.0,
    "exporter_plugin.row": 4.0,
}

# Who may import a package, as rooms or single files; nobody else may.
IMPORTERS = {
    "anycrc": ("cachestore.download.digests",),
    "click": ("cachestore.cli", "exporter_plugin.cli", "exporter_plugin.demo", "exporter_plugin.summary"),
    "diskcache": ("cachestore.index",),
    "filelock": ("cachestore.runs",),
    "httpx": ("cachestore.download", "cachestore.web"),
    "jsonpointer": ("cachestore.sources",),
    "opentimelineio": ("exporter_plugin.otio",),
    "platformdirs": ("cachestore.config",),
    "reflink_copy": ("cachestore.links",),
    "rich": ("cachestore.cli.bars", "cachestore.cli.meter"),
    "tenacity": ("cachestore.web",),
    "tinytag": ("exporter_plugin.facts",),
    "xxhash": ("cachestore.blobs", "cachestore.download.digests", "cachestore.track", "cachestore.version"),
}


@dataclass(frozen=True, slots=True)
class Arrow:
    """An import of `target` (a module, ours or not) in the file `source`."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source} imports {self.target}"


def files() -> dict[str, Path]:
    paths = [path for top in ("cachestore", "exporter_plugin") for path in (HOUSE / top).rglob("*.py")]
    return {".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


FILES = files()


def ours(module: str) -> bool:
    return module.partition(".")[0] in {"cachestore", "exporter_plugin"}


def room(module: str) -> str:
    """Return the room that a module is in: a file or folder right below its package."""
    return ".".join(module.split(".")[:2])


def within(module: str, place: str) -> bool:
    return module == place or module.startswith(f"{place}.")


def imports(module: str) -> Iterator[Arrow]:
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (Arrow(module, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} line {node.lineno}: a relative import; ours are absolute"
            for name in node.names:
                submodule = f"{node.module}.{name.name}"
                yield Arrow(module, submodule if submodule in FILES else str(node.module))


ARROWS = sorted({arrow for module in FILES for arrow in imports(module)}, key=str)
INNER = [arrow for arrow in ARROWS if ours(arrow.target)]


def told(arrows: list[Arrow]) -> str:
    return "\n".join(str(arrow) for arrow in arrows)


def test_every_room_has_a_floor_and_every_floor_a_room() -> None:
    assert {room(module) for module in FILES} == set(FLOORS)


def test_arrows_only_go_down() -> None:
    wrong = [
        arrow
        for arrow in INNER
        if room(arrow.source) != room(arrow.target) and FLOORS[room(arrow.source)] <= FLOORS[room(arrow.target)]
    ]
    assert not wrong, told(wrong)


def test_there_are_no_circles_between_files() -> None:
    arrows: dict[str, set[str]] = {module: set() for module in FILES}
    for arrow in INNER:
        arrows[arrow.source].add(arrow.target)
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as circle:
        pytest.fail(" imports ".join(reversed(circle.args[1])))


def test_nobody_inside_imports_a_face() -> None:
    faces = {"cachestore", "exporter_plugin"}
    wrong = [arrow for arrow in INNER if arrow.target in faces]
    assert not wrong, told(wrong)


def test_cachestore_never_imports_the_exporter() -> None:
    wrong = [a for a in INNER if within(a.source, "cachestore") and within(a.target, "exporter_plugin")]
    assert not wrong, told(wrong)


def test_a_package_from_outside_is_imported_only_where_it_may_be() -> None:
    outside = [a for a in ARROWS if not ours(a.target) and a.target.partition(".")[0] not in sys.stdlib_module_names]
    wrong = [a for a in outside if not any(within(a.source, p) for p in IMPORTERS.get(a.target.partition(".")[0], ()))]
    assert not wrong, told(wrong)


def reached(module: str, seen: set[str]) -> set[str]:
    """Return all that `module` imports, directly or not, ours and others'."""
    for arrow in ARROWS:
        if arrow.source == module and arrow.target not in seen:
            seen.add(arrow.target)
            reached(arrow.target, seen)
    return seen


@pytest.mark.parametrize("module", ["prune", "verify", "cli.prune", "cli.verify", "cli.main"])
def test_what_cron_runs_reaches_no_network(module: str) -> None:
    network = {"httpx", "cachestore.cache", "cachestore.download", "cachestore.sources", "socket", "http.client"}
    assert not network & {room(found) if ours(found) else found for found in reached(f"cachestore.{module}", set())}


@dataclass(frozen=True, slots=True)
class Function:
    """A function and how long it is, its docstring left out."""

    place: str
    lines: int


def functions() -> list[Function]:
    return [
        Function(f"{module}.{node.name}", length(node))
        for module, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    documented = ast.get_docstring(node) is not None
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def test_functions_fit_on_a_screen() -> None:
    worst = [f"{function.place}: {function.lines} lines" for function in functions() if function.lines > 40]
    assert not worst, "\n".join(worst)


def test_the_median_function_has_less_than_ten_lines() -> None:
    assert median(function.lines for function in functions()) < 10


def test_files_have_less_than_three_hundred_lines() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in FILES.items()}
    worst = [f"{module}: {lines} lines" for module, lines in lengths.items() if lines >= 300]
    assert not worst, "\n".join(worst)
