"""Where a run stages: on the disk of the destination, where a rename leads from there into it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from cachestore.runs import staging_suffix
from exporter_plugin.destination import writing
from exporter_plugin.naming import cut

if TYPE_CHECKING:
    from pathlib import Path

_MAX_HINT_BYTES = 100  # of DEST's name in the name of its staging folder


def staging_path(dest: Path, run_id: str) -> Path:
    """Return where a run stages: beside `dest`, or inside where no rename leads in, as on a mount point.

    The parents of `dest` are made. Raise DestinationError or NoSpace.
    """
    hint = dest.name.encode(errors="replace").decode()  # a name need not be UTF-8
    name = f".{cut(hint, _MAX_HINT_BYTES)}{staging_suffix(run_id)}"
    with writing(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
        beside, inside = dest.parent / name, dest / name
        return beside if not dest.exists() or _can_move(beside, inside) else inside


def _can_move(beside: Path, inside: Path) -> bool:
    """Return whether a folder can be renamed from `beside` to `inside`: equal devices promise nothing."""
    try:
        beside.mkdir()
        beside.rename(inside)
        inside.rename(beside)
    except OSError:
        return False
    else:
        return True
    finally:
        for folder in (beside, inside):
            with suppress(OSError):
                folder.rmdir()
