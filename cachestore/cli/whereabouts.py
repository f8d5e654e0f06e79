"""Which bundles a file of the cache is in, and in which it was before they were moved or deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from cachestore.store.reader import StoreReader


@dataclass(slots=True)
class Whereabouts:
    """The folders of bundles, those that are there and those that are not."""

    living: list[Path] = field(default_factory=list)
    lost: list[Path] = field(default_factory=list)


def whereabouts(store: StoreReader, digests: Collection[str]) -> dict[str, Whereabouts]:
    """Return the registered bundles that list one of `digests`, by digest, sorted."""
    found: dict[str, Whereabouts] = {}
    for bundle in sorted(store.bundles(), key=lambda bundle: bundle.dest):
        listed = {file.digest for file in bundle.files}.intersection(digests)
        is_there = bool(listed) and _is_there(bundle.dest)
        for digest in listed:
            known = found.setdefault(digest, Whereabouts())
            (known.living if is_there else known.lost).append(bundle.dest)
    return found


def _is_there(dest: Path) -> bool:
    try:
        return dest.is_dir()
    except OSError:  # a folder above it is closed to us
        return False
