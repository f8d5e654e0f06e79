"""The mix of the demo, as a person would write it: cloud tracks, one of them twice, between two local files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from exporter_plugin.demo.audio import CLOUD, LOCAL, render

if TYPE_CHECKING:
    from pathlib import Path

    from exporter_plugin.demo.audio import Piece

NAME = "Friday Warm-up"
SOURCE = "demo"
_OVERLAP = 0.4  # seconds by which a track fades into the next


def write_mix(file: Path, local: Path) -> None:
    """Write the mix to `file` and its local tracks into the new folder `local` beside it."""
    intro, outro = LOCAL
    local.mkdir()
    for piece in LOCAL:
        (local / f"{piece.title}.{piece.ext}").write_bytes(render(piece))
    rows, start = [], 0.0
    for piece in (intro, *CLOUD, CLOUD[0], outro):
        rows.append(_row(piece, start, local.name))
        start += piece.seconds - _OVERLAP
    file.write_text(json.dumps({"name": NAME, "tracks": rows}, indent=1), encoding="utf-8")


def _row(piece: Piece, start: float, local: str) -> dict[str, object]:
    where = {"source": SOURCE, "id": piece.id}
    if piece in LOCAL:
        where = {"path": f"{local}/{piece.title}.{piece.ext}"}
    said = {"title": piece.title, "artist": piece.artist, "bpm": piece.bpm, "key": piece.key}
    return where | said | {"start": round(start, 3), "duration": piece.seconds, "fade_out": _OVERLAP}
