"""Local tracks: what the user's own files are, which are never hard-linked, changed or stored."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.errors import LocalFileError
from cachestore.media import recognize
from cachestore.text import redacted

if TYPE_CHECKING:
    from exporter_plugin.row import Row


def look_at(row: Row, path: Path) -> tuple[str, str, int]:
    """Return of a row's file the extension of its bytes, size and mtime as their mark, and size. Raise LocalFileError.

    Its own extension means nothing, and whether it is whole is for the person to know who has it.
    """
    try:
        info = path.stat()
        # A FIFO would be waited for.
        media = recognize(path) if stat.S_ISREG(info.st_mode) else None
    except (OSError, ValueError) as error:
        raise unusable(row, error) from None
    if media is None:
        raise unusable(row, None)
    return media.ext, f"{info.st_size}-{info.st_mtime_ns}", info.st_size


def unusable(row: Row, error: Exception | None) -> LocalFileError:
    """Return what is wrong with a row's file: the `error` of looking at or copying it, none if it is no audio."""
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
