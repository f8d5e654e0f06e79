"""Reading a mix: where it is and which format it has."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.config import load_config
from cachestore.errors import MixError
from cachestore.playlists import parse_playlist
from cachestore.track import alike
from exporter_plugin.readers import source_playlist
from exporter_plugin.readers.document import Document
from exporter_plugin.readers.registry import reader_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from typing import BinaryIO

    from cachestore.config import Config
    from cachestore.playlists import PlaylistAddress
    from exporter_plugin.row import Mix

_STDIN = "standard input"
_PIECE = 1024 * 1024
_MAX_BYTES = 64 * 1024 * 1024  # far above any mix, far below an album by mistake or an endless device


def read_mix(
    path: str | Path,
    *,
    stdin: BinaryIO | None = None,
    config: Config | None = None,
    offline: bool = False,
    cancel: threading.Event | None = None,
) -> Mix:
    """Return the mix in the file `path`, on `stdin` for ``-``, or that of a playlist ``source:playlist/NAME-or-ID``.

    What starts with ``#EXTM3U`` is an M3U playlist and what starts with ``<`` is XSPF; else a file is read by the
    reader that its extension names (`exporter_plugin.readers`), and what has none by that of our JSON. A mix without a
    name is called by the stem of its file; on stdin it stays nameless, and its paths are relative to the
    working directory. Raise MixError.

    The source's server is asked with `config`, else as the command line finds it, but not when `offline`. That may
    raise ConfigError, TrackError or, once `cancel` is set, Cancelled.
    """
    if str(path) == "-":
        return _read(Document(_STDIN, _text(_STDIN, stdin or _stdin()), _absolute(Path(), _STDIN), ""), suffix="")
    address = _playlist_of_source(path)
    if address is not None:
        mix = source_playlist.read(address, config or load_config(), offline=offline, cancel=cancel)
        return _told_apart(mix, partial(MixError, str(address)))
    file = Path(path)
    try:
        with file.open("rb", buffering=0) as opened:
            text = _text(str(path), opened)
    except OSError as error:
        raise MixError(str(path), "", _refusal(error)) from None
    except ValueError:  # a NUL in the path
        raise MixError(repr(str(path)), "", "this is no path; expected the file of a mix") from None
    return _read(Document(str(path), text, _absolute(file, str(path)).parent, file.stem), suffix=file.suffix.lower())


def opened(path: str) -> Callable[..., Mix]:
    """Return what gives the mix that `read_mix` finds at `path`, with its other arguments. Raise what that does.

    A file is read at once: what is wrong with it is told before what is wrong with the configuration.
    """
    known = None if _playlist_of_source(path) else read_mix(path)
    return lambda **how: known or read_mix(path, **how)


def _playlist_of_source(path: str | Path) -> PlaylistAddress | None:
    """Return which playlist of a source `path` names, None for a file; a file of that very name wins."""
    return None if os.path.lexists(path) else parse_playlist(str(path))


def _absolute(path: Path, name: str) -> Path:
    try:
        return path.absolute()
    except FileNotFoundError:
        problem = "it is relative to the current folder, which has been removed or replaced"
        raise MixError(name, "", f"{problem}; expected to be run in one that is there") from None


def _stdin() -> BinaryIO:
    if sys.stdin is None:  # closed by who started us
        raise MixError(_STDIN, "", "it is closed; expected a mix in JSON or a playlist")
    try:
        descriptor = sys.stdin.fileno()
    except OSError:  # a host program has put something of its own there
        return sys.stdin.buffer
    # Unbuffered: whoever reads it may be left behind, with no lock that the interpreter waits for in the end.
    return open(descriptor, "rb", buffering=0, closefd=False)


def _read(document: Document, *, suffix: str) -> Mix:
    return _told_apart(reader_of(document, suffix)(document), document.error)


def _told_apart(mix: Mix, error: Callable[[str, str], MixError]) -> Mix:
    """Return the mix. Raise the `error` of a row whose URL differs from another one's in a credential only."""
    if (same := alike([row.track for row in mix.rows])) is not None:
        first, second = (place + 1 for place in same)
        one = f"but for a credential its URL is that of track {first}, so that both are one track"
        expected = 'expected an "id" for each, in a mix in JSON (the same one if they are the same track)'
        raise error(f"track {second}", f"{one}; {expected}")
    return mix


def _text(name: str, opened: BinaryIO) -> str:
    content = bytearray()
    while len(content) <= _MAX_BYTES and (piece := opened.read(_PIECE)):
        content += piece
    if len(content) > _MAX_BYTES:
        raise MixError(name, "", f"it is larger than {_MAX_BYTES} bytes; expected a mix in JSON or a playlist")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MixError(name, f"line {line}", "this is no UTF-8; expected a mix in JSON or a playlist") from None


def _refusal(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such file; expected a mix in JSON, a playlist, or SOURCE:playlist/NAME"
        case IsADirectoryError():
            return "this is a folder; expected the file of a mix"
    return f"it cannot be read ({error.strerror}); expected a mix in JSON or a playlist"
