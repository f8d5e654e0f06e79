"""Reading a mix: where it is and which format it has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.errors import MixError
from exporter_plugin.readers import mix_json, playlist
from exporter_plugin.readers.document import Document

if TYPE_CHECKING:
    from typing import BinaryIO

    from exporter_plugin.row import Mix

_STDIN = "standard input"
_MAX_BYTES = 64 * 1024 * 1024  # far above any mix, far below an album by mistake or an endless device


def read_mix(path: str | Path, *, stdin: BinaryIO | None = None) -> Mix:
    """Return the mix in the file `path`, or on `stdin` for ``-``. Raise MixError.

    What starts with ``#EXTM3U`` or is a file named ``.m3u`` or ``.m3u8`` is a playlist, all else our JSON. A mix
    without a name is called by the stem of its file; on stdin it stays nameless, and its paths are relative to the
    working directory.
    """
    if str(path) == "-":
        return _read(Document(_STDIN, _text(_STDIN, stdin or _stdin()), Path.cwd(), ""), suffix="")
    file = Path(path)
    try:
        with file.open("rb") as opened:
            text = _text(str(path), opened)
    except OSError as error:
        raise MixError(str(path), "", _refusal(error)) from None
    except ValueError:  # a NUL in the path
        raise MixError(repr(str(path)), "", "this is no path; expected the file of a mix") from None
    return _read(Document(str(path), text, file.absolute().parent, file.stem), suffix=file.suffix.lower())


def _stdin() -> BinaryIO:
    if sys.stdin is None:  # closed by who started us
        raise MixError(_STDIN, "", "it is closed; expected a mix in JSON or a playlist")
    return sys.stdin.buffer


def _read(document: Document, *, suffix: str) -> Mix:
    is_playlist = suffix in {".m3u", ".m3u8"} or document.text.lstrip().startswith(playlist.MARK)
    return playlist.read(document) if is_playlist else mix_json.read(document)


def _text(name: str, opened: BinaryIO) -> str:
    content = opened.read(_MAX_BYTES + 1)
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
            return "there is no such file; expected a mix in JSON or a playlist"
        case IsADirectoryError():
            return "this is a folder; expected the file of a mix"
    return f"it cannot be read ({error.strerror}); expected a mix in JSON or a playlist"
