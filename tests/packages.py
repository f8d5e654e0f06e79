"""Packages of somebody else, made of what a page shows: ``install(build_wheel(folder, files, points), target)``."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_INFO = "my_package-1.0.dist-info"
_METADATA = "Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def section(page: Path, heading: str) -> str:
    """Return what a page says below a heading, down to the next one."""
    _, _, below = page.read_text(encoding="utf-8").partition(f"# {heading}\n")
    return re.split(r"^#+ ", below, maxsplit=1, flags=re.MULTILINE)[0]


def blocks(page: Path, heading: str, language: str) -> list[str]:
    """Return the code of a language below a heading of a page."""
    return re.findall(rf"```{language}\n(.*?)```", section(page, heading), re.DOTALL)


def build_wheel(
    folder: Path, files: Mapping[str, str], points: str, more: Mapping[str, Mapping[str, str]] | None = None
) -> Path:
    """Return a wheel with `files` and the entry `points` of a pyproject.toml and `more`.

    A wheel is a zip with a list of its files (PEP 427).
    """
    groups: dict[str, dict[str, str]] = tomllib.loads(points)["project"]["entry-points"]
    for group, entries in (more or {}).items():
        groups.setdefault(group, {}).update(entries)
    listed = "".join(
        f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in each.items()) for group, each in groups.items()
    )
    contents = {
        **files,
        f"{_INFO}/METADATA": _METADATA,
        f"{_INFO}/WHEEL": _WHEEL,
        f"{_INFO}/entry_points.txt": listed,
    }
    rows = [f"{name},sha256={_digest(text)},{len(text.encode())}" for name, text in contents.items()]
    contents[f"{_INFO}/RECORD"] = "\n".join([*rows, f"{_INFO}/RECORD,,", ""])
    wheel = folder / "my_package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
    return wheel


def install(wheel: Path, target: Path) -> Path:
    """Install a wheel into the folder `target` and return it."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-index", "--no-deps", "--target", str(target), str(wheel)], check=True)
    return target


def _digest(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
