"""Where a pass that was cut short goes on: a small file in ROOT, which nobody has to be able to write or read."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Position:
    """How far a pass has come: the last folder of blobs that it has done, or the number of the last row."""

    folder: str | None = None
    row: int | None = None


def load_position(root: Path, *, quick: bool) -> Position:
    """Return where the last pass over the store at `root`, a quick one or a full one, was cut short, else the start."""
    path = _path(root, quick=quick)
    if not path.is_file():  # a pipe would be waited for
        return Position()
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        fields = json.loads(path.read_bytes())
        folder, row = fields["folder"], fields["row"]
        if isinstance(folder, str | None) and (row is None or (type(row) is int and 0 <= row < 2**63)):
            return Position(folder, row)
    return Position()


def save_position(root: Path, position: Position, *, quick: bool) -> None:
    """Keep `position` for the next pass of its kind, if ROOT can be written; the start is kept as no file."""
    path = _path(root, quick=quick)
    fresh = path.with_suffix(".new")
    with suppress(OSError):
        if position == Position():
            path.unlink(missing_ok=True)
            return
        fresh.unlink(missing_ok=True)
        with fresh.open("x") as file:  # what was planted there is not written through
            file.write(json.dumps(asdict(position)) + "\n")
        fresh.replace(path)


def _path(root: Path, *, quick: bool) -> Path:
    return root / ("verify-quick.json" if quick else "verify.json")
