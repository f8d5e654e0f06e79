"""Who contends: each peer knows its name, its version, how it is installed, and why it is missing if it is.

Each package of PyPI gets a venv of its own, so that none holds another one back, and those of npm one folder. They stay
in the cache folder for the next time. Which there are, and from which version on, is the extra `bench` of pyproject.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUSE = Path(__file__).parent.parent.parent
PROGRAMS = Path(__file__).parent / "programs"
_NPM = "npm"
_PRODUCT = ("cachestore", "exporter_plugin")


def _asked(argv: Sequence[str | Path], **more: str) -> str:
    """Return the first line that a command prints, empty if it fails."""
    try:
        done = subprocess.run(
            list(argv), env=os.environ | more, capture_output=True, text=True, check=False, timeout=600
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.strip().splitlines() or [""])[0] if done.returncode == 0 else ""


def _installed(argv: Sequence[str | Path]) -> str:
    """Run an installation; return why it failed, else nothing."""
    try:
        done = subprocess.run(list(argv), capture_output=True, text=True, check=False, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[-1]


class Program:
    """A program of the system: `name` as it is called, `package` as Debian calls it."""

    def __init__(self, name: str, package: str, *, install: bool) -> None:
        self.name = name
        self._package = package
        self._install = install

    def missing(self) -> str:
        """Install the package if need be."""
        if not shutil.which(self.name) and self._install:
            _installed(["sh", HOUSE / ".ci" / "apt", self._package])
        return "" if shutil.which(self.name) else f"not installed (Debian: {self._package})"

    def version(self) -> str:
        """Return the first number with a dot that it prints of itself."""
        found = re.search(r"\d+(\.\d+)+", _asked([self.name, "--version"]) or self._from_dpkg())
        return found[0] if found else "?"

    def _from_dpkg(self) -> str:
        return _asked(["dpkg-query", "--show", "--showformat=${Version}", self._package])


class Python:
    """The interpreter that runs ours, for loops that need nothing else: that of an editable one is slower to start."""

    name = "python"

    def __init__(self, ours: Ours) -> None:
        self._ours = ours

    def missing(self) -> str:
        """Make the environment of ours if need be."""
        return self._ours.missing()

    def version(self) -> str:
        """Return its version."""
        return sys.version.partition(" ")[0]

    def program(self, name: str, *arguments: str | Path) -> tuple[str, ...]:
        """Return the command for a file of `programs`."""
        return self._ours.program(name, *arguments)


class PythonPackage:
    """A package of PyPI in a venv of its own below `room`."""

    def __init__(self, name: str, room: Path, *, install: bool) -> None:
        self.name = name
        self._room = room / name
        self._install = install

    @property
    def bin(self) -> Path:
        """The folder of its programs."""
        return self._room / "bin"

    def missing(self) -> str:
        """Make the venv and install the package if need be."""
        if self.version() or not self._install:
            return "" if self.version() else "not installed"
        return new_venv(self._room) or pip(self.bin / "python", requirement(self.name))

    def version(self) -> str:
        """Return the version in the venv, empty if there is none."""
        return _asked([self.bin / "python", "-c", f"from importlib.metadata import *; print(version({self.name!r}))"])

    def program(self, name: str, *arguments: str | Path) -> tuple[str, ...]:
        """Return the command for a file of `programs`."""
        return (str(self.bin / "python"), str(PROGRAMS / name), *map(str, arguments))


class NodePackage:
    """A package of npm; all are in the folder `room`."""

    def __init__(self, name: str, room: Path, *, install: bool) -> None:
        self.name = name
        self._room = room
        self._install = install

    def missing(self) -> str:
        """Install the package if need be, without its scripts."""
        if not shutil.which("node"):
            return "not installed (Debian: nodejs npm)"
        if not self.version() and self._install:
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
            return _installed([_NPM, "install", "--prefix", self._room, *options, self.name])
        return "" if self.version() else "not installed"

    def version(self) -> str:
        """Return the version that is installed, empty if there is none."""
        path = self._room / "node_modules" / self.name / "package.json"
        return str(json.loads(path.read_text())["version"]) if path.exists() else ""

    def program(self, name: str, *arguments: str | Path) -> tuple[str, ...]:
        """Return the command for a file of `programs`, which is told where the packages are."""
        return ("node", str(PROGRAMS / name), str(self._room / "package.json"), *map(str, arguments))


class Ours:
    """This checkout, installed as a user has it: an editable one would be slower to start."""

    name = "cachestore"

    def __init__(self, room: Path | None) -> None:
        self._room = room

    @property
    def python(self) -> Path:
        """Where it is installed; without a room, the interpreter that runs this suite."""
        return Path(sys.executable) if self._room is None else self._room / "bin" / "python"

    def missing(self) -> str:
        """Install the code that is checked out."""
        return "" if self._room is None else _install_ours(self._room)

    def version(self) -> str:
        """Return the last commit of the code, with a + if it was changed since."""
        git = ["git", "-C", str(HOUSE)]
        changed = _asked([*git, "status", "--porcelain", "--", *_PRODUCT])
        return (_asked([*git, "log", "-1", "--format=%h", "--", *_PRODUCT]) or "?") + ("+" if changed else "")

    def command(self, *arguments: str | Path) -> tuple[str, ...]:
        """Return the command for the command line."""
        return (str(self.python), "-m", "cachestore", *map(str, arguments))

    def program(self, name: str, *arguments: str | Path) -> tuple[str, ...]:
        """Return the command for a file of `programs`."""
        return (str(self.python), str(PROGRAMS / name), *map(str, arguments))


@cache
def _install_ours(room: Path) -> str:
    """Install a copy, since building leaves files behind."""
    copy = room / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    for name in _PRODUCT:
        shutil.copytree(HOUSE / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(HOUSE / name, copy)
    venv = "" if (room / "bin" / "python").exists() else new_venv(room)
    python = room / "bin" / "python"
    return venv or pip(python, str(copy)) or pip(python, "--force-reinstall", "--no-deps", str(copy))


def new_venv(folder: Path) -> str:
    """Make a venv without pip; return why it failed, else nothing."""
    return _installed([sys.executable, "-m", "venv", "--without-pip", folder])


def pip(python: Path, *arguments: str) -> str:
    """Install with the pip of this environment into another one; return why it failed, else nothing."""
    return _installed([sys.executable, "-m", "pip", "--quiet", "--python", python, "install", *arguments])


def requirement(name: str) -> str:
    """Return what the extra `bench` says of a package."""
    extras = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return next(str(wanted) for wanted in extras["bench"] if re.split(r"[><=\[; ]", wanted)[0] == name)
