"""The folders of blobs as they lie on the disk, in order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def folders(top: Path, after: str | None) -> Iterator[tuple[str, list[str]]]:
    """Yield `top` and the folders below it that come behind `after`, each with the names in it that are no folders.

    A folder is its path relative to `top`, with ``/``; a parent comes before its children, and siblings come in the
    order of their names. No symlink is followed, and what cannot be listed is empty.
    """
    done = [] if after is None else after.split("/")
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        inner, others = _listed(top / folder)
        if folder.split("/") > done:
            yield folder, others
        prefix = f"{folder}/" if folder else ""
        children = [f"{prefix}{name}" for name in inner]
        waiting += [child for child in children if (parts := child.split("/")) >= done[: len(parts)]]


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders in `folder`, the last first, and of all else."""
    inner: list[str] = []
    others: list[str] = []
    try:
        with os.scandir(folder) as found:
            for item in found:
                (inner if item.is_dir(follow_symlinks=False) else others).append(item.name)
    except OSError:  # removed meanwhile, or closed to us: its blobs are told as missing
        return [], []
    return sorted(inner, reverse=True), others
