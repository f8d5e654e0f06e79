"""The playlist that every bundle has: UTF-8 without BOM, paths relative to the bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.text import shown
from exporter_plugin.outcome import Hole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter_plugin.formats.view import BundleView
    from exporter_plugin.outcome import Outcome


def render(view: BundleView) -> bytes:
    """Return the playlist; holes are comments."""
    # All is on one line, or a title could add tracks of its own.
    lines = ["#EXTM3U", f"#PLAYLIST:{shown(view.name)}", *(line for row in view.outcomes for line in _lines(view, row))]
    return "".join(f"{line}\n" for line in lines).encode()


def _lines(view: BundleView, outcome: Outcome) -> Iterator[str]:
    label = shown(outcome.row.label)
    if isinstance(outcome, Hole):
        yield f"# MISSING: {label} ({shown(outcome.error.reason)})"
        return
    length = view.length(outcome)
    yield f"#EXTINF:{-1 if length is None else max(1, round(length))},{label}"  # 0 and -1 stand for "unknown"
    yield outcome.file
