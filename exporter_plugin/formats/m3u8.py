"""The playlist that every bundle has: UTF-8 without BOM, paths relative to the bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_plugin.naming import safe_stem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter_plugin.formats import BundleRow, BundleView


def write(view: BundleView, folder: Path) -> None:
    """Write ``<name>.m3u8`` into `folder`; holes are comments."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_line(view.name)}", *(line for row in view.rows for line in _lines(row))]
    content = "".join(f"{line}\n" for line in lines)
    (folder / f"{safe_stem(view.name)}.m3u8").write_text(content, encoding="utf-8", errors="replace", newline="\n")


def _lines(part: BundleRow) -> Iterator[str]:
    label = _line(part.row.label)
    if part.file is None:
        yield f"# MISSING: {label} ({_line(part.reason)})"
        return
    seconds = -1 if part.row.duration is None else round(part.row.duration)
    yield f"#EXTINF:{seconds},{label}"
    yield part.file


def _line(text: str) -> str:
    """Return `text` on one line, or a title could add tracks of its own."""
    return " ".join(text.split())
