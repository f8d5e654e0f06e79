"""What a program may import: the faces, and the tree of errors."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from inspect import getmembers, isclass, ismodule
from pathlib import Path

import pytest

from cachestore import errors

FACES = ["cachestore", "exporter_plugin"]
DRAWN = re.compile(r"^(?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+)(?: +(?P<codes>[\d/]+))?", re.MULTILINE)


def named_for_type_checkers(face: str) -> dict[str, str]:
    """Return the room of each name that a type checker finds in a face, whose names are loaded lazily."""
    tree = ast.parse(Path(str(import_module(face).__file__)).read_text())
    return {
        name.asname or name.name: str(node.module)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }


@pytest.mark.parametrize("face", FACES)
def test_all_is_sorted_and_is_what_dir_shows(face: str) -> None:
    module = import_module(face)
    assert list(module.__all__) == sorted(set(module.__all__))
    assert dir(module) == list(module.__all__)


@pytest.mark.parametrize("face", FACES)
def test_a_type_checker_sees_the_names_that_exist(face: str) -> None:
    assert sorted(named_for_type_checkers(face)) == list(import_module(face).__all__)


@pytest.mark.parametrize("face", FACES)
def test_every_name_is_the_one_of_its_room(face: str) -> None:
    for name, place in named_for_type_checkers(face).items():
        assert getattr(import_module(face), name) is getattr(import_module(place), name)


@pytest.mark.parametrize("face", FACES)
def test_nothing_else_lies_about_in_a_face(face: str) -> None:
    module = import_module(face)
    public = {name for name, value in vars(module).items() if not name.startswith("_") and not ismodule(value)}
    assert public <= {*module.__all__, "annotations", "TYPE_CHECKING"}


@pytest.mark.parametrize("face", FACES)
def test_an_unknown_name_is_an_attribute_error(face: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = import_module(face).no_such_name


@pytest.mark.parametrize("face", FACES)
def test_importing_a_face_loads_nothing_from_outside(face: str) -> None:
    # What is there before the import comes from the environment's own start-up hooks.
    script = f"import sys; before = set(sys.modules); import {face}; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    tops = {name.partition(".")[0] for name in loaded}
    assert tops <= set(sys.stdlib_module_names) | {face}


def drawn_tree() -> dict[str, tuple[str | None, str]]:
    """Return the parent and the exit codes of each class that the docstring of the errors draws."""
    above: list[tuple[int, str]] = []
    tree = {}
    for match in DRAWN.finditer((errors.__doc__ or "").split("\n\n")[2]):
        depth = len(match["indent"])
        above = [known for known in above if known[0] < depth]
        tree[match["name"]] = (above[-1][1] if above else None, match["codes"] or "")
        above.append((depth, match["name"]))
    return tree


def error_classes() -> dict[str, type[errors.CacheStoreError]]:
    return {name: value for name, value in getmembers(errors, isclass) if issubclass(value, errors.CacheStoreError)}


def test_the_drawn_tree_of_errors_is_that_of_the_classes() -> None:
    real = {name: value.__base__.__name__ for name, value in error_classes().items() if value.__base__}
    assert {name: parent or "Exception" for name, (parent, _) in drawn_tree().items()} == real


def test_the_drawn_exit_codes_are_those_of_the_classes() -> None:
    tree, classes = drawn_tree(), error_classes()
    for name, (parent, codes) in tree.items():
        stated = codes or tree[str(parent)][1]
        assert str(classes[name].exit_code) in stated.split("/"), name


def test_the_errors_export_every_class() -> None:
    assert sorted({*errors.__all__} - {"is_full"}) == sorted(error_classes())


def test_every_code_of_a_track_error_is_its_own() -> None:
    codes = [value.code for value in error_classes().values() if issubclass(value, errors.TrackError)]
    assert sorted(codes) == sorted(set(codes))
