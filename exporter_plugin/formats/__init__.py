"""The files of a bundle beside its audio: M3U8 always, projects when they apply, and what other packages add.

A format is a callable ``write(view, folder)`` under the entry point ``exporter_plugin.bundle_formats``: it writes files
that refer to the audio by paths relative to `folder`, directly into `folder`. It may have a method ``applies(view)``;
without one it always does. What it raises costs a warning only. Ours are registered in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from cachestore.errors import UsageError, is_full
from cachestore.events import WarningEvent
from exporter_plugin.formats import m3u8

if TYPE_CHECKING:
    from collections.abc import Collection
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from cachestore.events import OnEvent
    from exporter_plugin.outcome import BundleView

ENTRY_POINTS = "exporter_plugin.bundle_formats"


@dataclass(eq=False)
class FormatUnknown(UsageError):
    """A format that was asked for is not installed."""

    name: str
    known: Collection[str]

    def __str__(self) -> str:
        return f"there is no format {self.name!r}; expected {' or '.join(self.known)}"


def chosen(names: Collection[str]) -> list[EntryPoint]:
    """Return the formats `names`, or all when there are none. Raise FormatUnknown."""
    # Nobody takes a format of ours over by registering its name.
    ours_last = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.value.startswith("exporter_plugin."))
    known = {point.name: point for point in ours_last}
    for name in names:
        if name not in known:
            raise FormatUnknown(name, sorted(known))
    return [known[name] for name in sorted(set(names) or known)]


def write_all(view: BundleView, folder: Path, tell: OnEvent, formats: Collection[str] = ()) -> None:
    """Write the playlist into `folder`, and each of `formats`, or, when there are none, each format that applies.

    One that fails costs a warning. Raise FormatUnknown, or OSError on a full disk.
    """
    m3u8.write(view, folder)
    for point in chosen(formats):
        _write_other(point, view, folder, tell, asked=bool(formats))


def _write_other(point: EntryPoint, view: BundleView, folder: Path, tell: OnEvent, *, asked: bool) -> None:
    before = set(folder.iterdir())
    try:
        write = point.load()
        if asked or getattr(write, "applies", lambda _: True)(view):
            write(view, folder)
    except Exception as error:
        for half in set(folder.iterdir()) - before:
            half.unlink()
        if is_full(error):
            raise
        reason = f"{type(error).__name__}: {error}"
        tell(WarningEvent("format_failed", f"the bundle has no {point.name} file ({reason})"))
