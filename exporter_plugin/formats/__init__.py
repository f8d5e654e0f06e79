"""The files of a bundle beside its audio: M3U8 always, projects when they apply, and what other packages add.

A format is a callable ``render(view)`` under the entry point ``exporter_plugin.bundle_formats``: it returns the bytes
of files by their names, which refer to the audio by paths relative to the bundle. It may have a method
``applies(view)``; without one it always does. What it raises, and files that a bundle cannot have, cost a warning only.
Ours are registered in the same way.

Nothing is written here: an export that changes nothing writes nothing, nor does a dry run, and so no kill leaves files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple

from cachestore.errors import Cancelled, UsageError
from cachestore.events import WarningEvent
from cachestore.text import shown
from exporter_plugin.formats import m3u8
from exporter_plugin.manifest import MANIFEST, MEDIA
from exporter_plugin.naming import fold, is_safe

if TYPE_CHECKING:
    from collections.abc import Collection
    from importlib.metadata import EntryPoint

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
    """A format of another package returned what no file of a bundle can be."""


class Rendered(NamedTuple):
    """The bytes of `files` by their names, and the names of the formats that `failed`."""

    files: dict[str, bytes]
    failed: list[str]


def chosen(names: Collection[str]) -> list[EntryPoint]:
    """Return the formats `names`, or all when there are none; ours come first. Raise FormatUnknown."""
    # Nobody takes a format of ours over by registering its name, nor its file by being asked before.
    ours_last = sorted(entry_points(group=ENTRY_POINTS), key=_is_ours)
    known = {point.name: point for point in ours_last}
    for name in names:
        if name not in known:
            raise FormatUnknown(name, sorted(known))
    return [known[name] for name in sorted(set(names) or known, key=lambda name: (not _is_ours(known[name]), name))]


def _is_ours(point: EntryPoint) -> bool:
    return point.value.startswith("exporter_plugin.")


def render_all(view: BundleView, tell: OnEvent, formats: Collection[str] = ()) -> Rendered:
    """Return the playlist, and what each of `formats` makes, or, when there are none, each format that applies.

    The names of the files are safe and unlike each other. A format that fails has none and costs a warning. Raise
    FormatUnknown.
    """
    files, failed = {f"{view.stem}.m3u8": m3u8.render(view)}, []
    for point in chosen(formats):
        rendered = _render_guarded(point, view, tell, taken=files, asked=bool(formats))
        files |= rendered or {}
        failed += [point.name] if rendered is None else []
    return Rendered(files, failed)


def decided(failed: Collection[str]) -> set[str]:
    """Return the extensions of our formats but the `failed` ones: what is not written of them is not wanted."""
    ours = (point for point in chosen(()) if _is_ours(point) and point.name not in failed)
    return {point.load().suffix for point in ours}


def _render_guarded(
    point: EntryPoint, view: BundleView, tell: OnEvent, *, taken: Collection[str], asked: bool
) -> Mapping[str, bytes] | None:
    """Return the files that a format makes, None if it fails, which is told."""
    try:
        render = point.load()
        if not asked and not getattr(render, "applies", lambda _: True)(view):
            return {}
        return _checked(render(view), {fold(name) for name in (*_NOT_THEIRS, *taken)})
    except (KeyboardInterrupt, Cancelled):
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may do anything
        reason = f"{type(error).__name__}: {shown(str(error))}"
        tell(WarningEvent("format_failed", f"no {point.name} file could be written ({reason})"))
        return None


def _checked(files: object, taken: set[str]) -> dict[str, bytes]:
    """Return the files that a format made. Raise FormatMisuse if a bundle cannot have one of them."""
    if not isinstance(files, Mapping):
        raise FormatMisuse(f"it returned {type(files).__name__}; expected the bytes of files by their names")
    folds = set(taken)
    for name, content in files.items():
        if not isinstance(name, str) or not is_safe(name):
            raise FormatMisuse(f"{name!r} is no name that every filesystem has; expected one such as view.stem")
        if fold(name) in folds:
            raise FormatMisuse(f"{name!r} is taken; expected a name that nothing else in the bundle has")
        if not isinstance(content, bytes):
            raise FormatMisuse(f"{name!r} is {type(content).__name__}; expected bytes")
        folds.add(fold(name))
    return dict(files)
