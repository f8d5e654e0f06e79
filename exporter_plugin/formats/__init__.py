"""The files of a bundle beside its audio: M3U8 always, projects when they apply, and what other packages add.

A format is a callable ``write(view, folder)`` under the entry point ``exporter_plugin.bundle_formats``: it writes files
that refer to the audio by paths relative to `folder`, directly into `folder`, which it has for itself. It may have a
method ``applies(view)``; without one it always does. What it raises, and files that a bundle cannot have, cost a
warning only. Ours are registered in the same way.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple

from cachestore.errors import Cancelled, UsageError, is_full
from cachestore.events import WarningEvent
from cachestore.text import shown
from exporter_plugin.formats import m3u8
from exporter_plugin.manifest import MANIFEST, MEDIA
from exporter_plugin.naming import fold, is_safe

if TYPE_CHECKING:
    from collections.abc import Collection
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from cachestore.events import OnEvent
    from exporter_plugin.formats.view import BundleView

ENTRY_POINTS = "exporter_plugin.bundle_formats"
_NOT_THEIRS = (MANIFEST, MEDIA)


@dataclass(eq=False)
class FormatUnknown(UsageError):
    """A format that was asked for is not installed."""

    name: str
    known: Collection[str]

    def __str__(self) -> str:
        return f"there is no format {self.name!r}; expected {' or '.join(self.known)}"


class FormatMisuse(Exception):
    """A format of another package wrote a file that a bundle cannot have."""


class Written(NamedTuple):
    """The `files` that were written, and the names of the formats that `failed`."""

    files: list[Path]
    failed: list[str]


def chosen(names: Collection[str]) -> list[EntryPoint]:
    """Return the formats `names`, or all when there are none; ours come first. Raise FormatUnknown."""
    # Nobody takes a format of ours over by registering its name, nor its file by writing it before.
    ours_last = sorted(entry_points(group=ENTRY_POINTS), key=_is_ours)
    known = {point.name: point for point in ours_last}
    for name in names:
        if name not in known:
            raise FormatUnknown(name, sorted(known))
    return [known[name] for name in sorted(set(names) or known, key=lambda name: (not _is_ours(known[name]), name))]


def _is_ours(point: EntryPoint) -> bool:
    return point.value.startswith("exporter_plugin.")


def write_all(view: BundleView, scratch: Path, tell: OnEvent, formats: Collection[str] = ()) -> Written:
    """Write the playlist below `scratch`, and each of `formats`, or, when there are none, each format that applies.

    The names of the files are safe and unlike each other. A format that fails has none and costs a warning, whatever it
    did in the folder of its own. Raise FormatUnknown, or OSError on a full disk.
    """
    m3u8.write(view, scratch)
    files, failed = list(scratch.iterdir()), []
    for number, point in enumerate(chosen(formats)):
        folder = scratch / str(number)
        folder.mkdir()
        written = _write_guarded(point, view, folder, tell, taken=files, asked=bool(formats))
        files += written or ()
        failed += [point.name] if written is None else []
    return Written(files, failed)


def decided(failed: Collection[str]) -> set[str]:
    """Return the extensions of our formats but the `failed` ones: what is not written of them is not wanted."""
    ours = (point for point in chosen(()) if _is_ours(point) and point.name not in failed)
    return {point.load().suffix for point in ours}


def _write_guarded(
    point: EntryPoint, view: BundleView, folder: Path, tell: OnEvent, *, taken: Collection[Path], asked: bool
) -> list[Path] | None:
    """Return the files that a format writes into `folder`, None if it fails, which is told."""
    try:
        write = point.load()
        if asked or getattr(write, "applies", lambda _: True)(view):
            write(view, folder)
        return _written(folder, {fold(name) for name in (*_NOT_THEIRS, *(file.name for file in taken))})
    except (KeyboardInterrupt, Cancelled):
        raise
    except BaseException as error:  # a plugin may do anything
        if is_full(error):
            raise
        reason = f"{type(error).__name__}: {shown(str(error))}"
        tell(WarningEvent("format_failed", f"no {point.name} file could be written ({reason})"))
        return None


def _written(folder: Path, taken: set[str]) -> list[Path]:
    """Return the files in `folder`. Raise FormatMisuse if a bundle cannot have one of them, or OSError."""
    files = sorted(folder.iterdir())
    for file in files:
        if not stat.S_ISREG(file.lstat().st_mode):
            raise FormatMisuse(f"{file.name!r} is no regular file; expected files only")
        if not is_safe(file.name):
            raise FormatMisuse(f"{file.name!r} is no name that every filesystem has; expected one such as view.stem")
        if fold(file.name) in taken:
            raise FormatMisuse(f"{file.name!r} is taken; expected a name that nothing else in the bundle has")
        file.open("rb").close()  # raises if it cannot be read
    return files
