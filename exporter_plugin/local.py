"""Local tracks: the user's own files, which are looked at and copied, never linked, changed or stored."""

from __future__ import annotations

import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.errors import LocalFileError, NotAudio
from cachestore.media import identify
from cachestore.track import Track

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter_plugin.row import Row


@dataclass(frozen=True, slots=True)
class LocalFile:
    """What a local track is: the extension of its bytes, and its size and mtime as the mark of its contents."""

    ext: str
    content: str


def look_at(path: Path, row: Row) -> LocalFile:
    """Return what the file of `row` is. Raise NotAudio or OSError."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):  # a FIFO would be waited for
        raise NotAudio(row.address, row.label, "it is no regular file")
    media = identify(path, Track("file", row.address))
    return LocalFile(media.ext, f"{info.st_size}-{info.st_mtime_ns}")


@contextmanager
def local_failures(row: Row) -> Iterator[None]:
    """Let whatever is wrong with the file of `row` be a LocalFileError."""
    # The sentence goes into the bundle too, which is no place for the folders of this machine.
    shown = row.address if Path(row.address).is_absolute() else f"{row.address} (relative to the mix)"
    try:
        yield
    except NotAudio:
        problem = f"{shown} is not an audio file"
    except FileNotFoundError:
        problem = f"there is no file {shown}"
    except OSError as error:
        problem = f"{shown} cannot be copied ({error.strerror})"
    except ValueError:  # a NUL in the path
        problem = "its path is none"
    else:
        return
    raise LocalFileError(row.address, row.label, problem)
