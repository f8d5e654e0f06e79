"""Which reader reads a mix: ours, and those of other packages."""

from __future__ import annotations

from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from cachestore.errors import MixError
from cachestore.text import shown
from exporter_plugin.row import Mix

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from importlib.metadata import EntryPoint

    from exporter_plugin.readers.document import Document

    Reader = Callable[[Document], Mix]

ENTRY_POINTS = "exporter_plugin.mix_readers"
OURS = ("json", "m3u", "m3u8", "xspf")
_MARKS = {"#EXTM3U": "m3u8", "<": "xspf"}


def reader_of(document: Document, suffix: str) -> Reader:
    """Return what reads `document`, from a file with `suffix` in lower case: it makes a Mix or raises MixError."""
    points = entry_points(group=ENTRY_POINTS)
    name = _name(document, suffix.removeprefix("."), points.names)
    found = points.select(name=name)
    if name not in OURS:
        return partial(_read_guarded, next(iter(found)))
    # Nobody takes a format of ours over by registering its name.
    ours: Reader = next(point for point in found if point.value.startswith("exporter_plugin.")).load()
    return ours


def _name(document: Document, extension: str, known: Collection[str]) -> str:
    """Return the name of the reader: what begins like M3U or XSPF is that, whatever of ours its extension says."""
    if extension in known and extension not in OURS:
        return extension
    begins = document.text.lstrip()
    marked = next((name for mark, name in _MARKS.items() if begins.startswith(mark)), None)
    return marked or (extension if extension in OURS else "json")


def _read_guarded(point: EntryPoint, document: Document) -> Mix:
    """Return the mix that the reader of another package makes. Raise MixError whatever it does instead."""
    from cachestore.aside import is_interrupt

    reader = f"the reader {point.name} ({point.value})"
    try:
        mix = point.load()(document)
    except MixError as error:  # what a mix is made of does not know in which file that is
        raise document.error(error.place, error.problem) from None
    except BaseException as error:  # a plugin may do anything
        if is_interrupt(error):
            raise
        problem = f"{reader} failed ({type(error).__name__}: {shown(str(error))}); update or remove it"
        raise document.error("", problem) from None
    if not isinstance(mix, Mix):
        raise document.error("", f"{reader} found no track in it; expected at least one")
    return mix
