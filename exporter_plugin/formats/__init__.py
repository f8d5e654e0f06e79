"""The files of a bundle beside its audio: M3U8, and what other packages add.

A format is a callable ``write(view, folder)`` under the entry point ``exporter_plugin.bundle_formats``: it writes files
that refer to the audio by paths relative to `folder`, directly into `folder`. What it raises costs a warning only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.events import WarningEvent
from exporter_plugin.formats import m3u8

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from cachestore.events import OnEvent
    from exporter_plugin.outcome import BundleView

ENTRY_POINTS = "exporter_plugin.bundle_formats"


def write_all(view: BundleView, folder: Path, tell: OnEvent) -> None:
    """Write the bundle into `folder` in every format; one of another package that fails costs a warning."""
    from importlib.metadata import entry_points

    m3u8.write(view, folder)
    for point in entry_points(group=ENTRY_POINTS):
        _write_other(point, view, folder, tell)


def _write_other(point: EntryPoint, view: BundleView, folder: Path, tell: OnEvent) -> None:
    before = set(folder.iterdir())
    try:
        point.load()(view, folder)
    except Exception as error:  # noqa: BLE001 - somebody else's format may fail in any way; the audio is here
        for half in set(folder.iterdir()) - before:
            half.unlink()
        reason = f"{type(error).__name__}: {error}"
        tell(WarningEvent("format_failed", f"the bundle has no {point.name} file ({reason})"))
