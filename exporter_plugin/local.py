"""Local tracks: the user's own files, which are looked at and copied, never linked, changed or stored."""

from __future__ import annotations

import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.errors import LocalFileError, NotAudio
from cachestore.events import Provenance
from cachestore.links import copy_private
from cachestore.media import recognize
from exporter_plugin.outcome import Hole, Placed

if TYPE_CHECKING:
    from exporter_plugin.outcome import Outcome
    from exporter_plugin.row import Row
    from exporter_plugin.staging import Staging


def place_local(row: Row, path: Path, staging: Staging) -> Outcome:
    """Bring a row its file, a private copy of the one at `path`. Raise NoSpace."""
    try:
        ext, content = _look_at(path, row)
        owned = staging.place(row, ext, content, partial(copy_private, path))
    except (NotAudio, OSError, ValueError) as error:
        return Hole(row, LocalFileError(row.address, row.label, _problem(error, row)))
    return Placed(row, owned, Provenance.LOCAL)


def _look_at(path: Path, row: Row) -> tuple[str, str]:
    """Return the extension of the bytes of a file, and its size and mtime as the mark of its contents."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):  # a FIFO would be waited for
        raise NotAudio(row.address, row.label, "it is no regular file")
    media = recognize(path)  # whole or not: the person who has the file knows
    if media is None:
        raise NotAudio(row.address, row.label, "it is no audio file")
    return media.ext, f"{info.st_size}-{info.st_mtime_ns}"


def _problem(error: Exception, row: Row) -> str:
    # The sentence goes into the bundle too, which is no place for the folders of this machine.
    shown = row.address if Path(row.address).is_absolute() else f"{row.address} (relative to the mix)"
    match error:
        case NotAudio():
            return f"{shown} is not an audio file"
        case FileNotFoundError():
            return f"there is no file {shown}"
        case OSError():
            return f"{shown} cannot be copied ({error.strerror})"
    return "its path is none"  # a NUL is in it
