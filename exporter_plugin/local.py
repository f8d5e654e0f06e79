"""Local tracks: the user's own files, which are looked at and copied, never linked, changed or stored."""

from __future__ import annotations

import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.errors import LocalFileError
from cachestore.events import Provenance
from cachestore.links import link
from cachestore.media import recognize
from cachestore.text import redacted
from exporter_plugin.outcome import Hole, Placed

if TYPE_CHECKING:
    from exporter_plugin.outcome import Outcome
    from exporter_plugin.row import Row
    from exporter_plugin.staging import Staging


def place_local(row: Row, path: Path, staging: Staging) -> Outcome:
    """Bring a row its file, a private copy of the one at `path`. Raise NoSpace."""
    try:
        ext, content, size = look_at(row, path)
        owned = staging.place(row, ext, content, size, partial(link, path))
    except LocalFileError as error:
        return Hole(row, error)
    except OSError as error:
        return Hole(row, _unusable(row, error))
    return Placed(row, owned, Provenance.LOCAL)


def look_at(row: Row, path: Path) -> tuple[str, str, int]:
    """Return of a row's file the extension of its bytes, size and mtime as their mark, and size. Raise LocalFileError.

    Its own extension means nothing, and whether it is whole is for the person to know who has it.
    """
    try:
        info = path.stat()
        # A FIFO would be waited for.
        media = recognize(path) if stat.S_ISREG(info.st_mode) else None
    except (OSError, ValueError) as error:
        raise _unusable(row, error) from None
    if media is None:
        raise _unusable(row, None)
    return media.ext, f"{info.st_size}-{info.st_mtime_ns}", info.st_size


def _unusable(row: Row, error: Exception | None) -> LocalFileError:
    return LocalFileError(row.address, row.label, _problem(row, error))


def _problem(row: Row, error: Exception | None) -> str:
    # The sentence goes into the bundle too, which is no place for the folders of this machine.
    address = redacted(row.address)
    shown = address if Path(row.address).is_absolute() else f"{address} (relative to the mix)"
    match error:
        case None:
            return f"{shown} is not an audio file"
        case FileNotFoundError():
            return f"there is no file {shown}"
        case OSError():
            return f"{shown} cannot be copied ({error.strerror})"
    return "its path is none"  # a NUL is in it
