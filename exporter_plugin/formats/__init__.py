"""What a bundle format sees of a bundle, and which formats there are.

A format is a callable ``write(view, folder)`` under the entry point ``exporter_plugin.bundle_formats``: it writes files
that refer to the audio by paths relative to `folder`, directly into `folder`. What it raises costs a warning only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint

    from exporter_plugin.row import Row

ENTRY_POINTS = "exporter_plugin.bundle_formats"


@dataclass(frozen=True, slots=True)
class BundleRow:
    """A row of the mix in the bundle. `file` is relative to the bundle, with ``/``; None is a hole, for `reason`."""

    row: Row
    file: str | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BundleView:
    """A bundle as formats see it: its name and the rows of the mix in order."""

    name: str
    rows: tuple[BundleRow, ...]


def other_formats() -> Iterator[EntryPoint]:
    """Yield the formats beside M3U8, which every bundle has."""
    from importlib.metadata import entry_points

    return (point for point in entry_points(group=ENTRY_POINTS) if point.name != "m3u8")
