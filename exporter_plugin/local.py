"""Local tracks: what the user's own files are, which are never hard-linked, changed or stored."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.errors import LocalFileError
from cachestore.media import MEDIA_TYPES, recognize
from cachestore.text import redacted

if TYPE_CHECKING:
    from exporter_plugin.row import Row


def look_at(row: Row, path: Path) -> tuple[str, str, int]:
    """Return of a row's file the extension of its bytes, size and mtime as their mark, and size. Raise LocalFileError.

    Its own extension means nothing, and whether it is whole is for the person to know who has it.
    """
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):  # a FIFO would be waited for
            raise _refused(row, "{} is no file")
        media = recognize(path)
    except (OSError, ValueError) as error:
        raise unusable(row, error) from None
    if media is None:
        raise _refused(row, f"{{}} is of no kind of audio that is known here ({', '.join(MEDIA_TYPES)})")
    return media.ext, f"{info.st_size}-{info.st_mtime_ns}", info.st_size


def unusable(row: Row, error: Exception) -> LocalFileError:
    """Return what is wrong with a row's file: the `error` of looking at or copying it."""
    match error:
        case FileNotFoundError():
            return _refused(row, "there is no file {}")
        case OSError():
            return _refused(row, f"{{}} cannot be copied ({error.strerror})")
    return _refused(row, "its path is none")  # a NUL is in it


def _refused(row: Row, problem: str) -> LocalFileError:
    # The sentence goes into the bundle too, which is no place for the folders of this machine.
    address = redacted(row.address)
    shown = address if Path(row.address).is_absolute() else f"{address} (relative to the mix)"
    return LocalFileError(row.address, row.label, problem.format(shown))
