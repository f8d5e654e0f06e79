"""bundle.json: what a bundle holds, which of its files are ours, and how they were when we wrote them.

    bundle       1, the format of this file
    name         of the bundle
    exported_at  RFC 3339, UTC
    files        what we own: {file, size, mtime_ns, digest, identity, content, link_mode, ctime_ns}. `identity` is the
                 track (address, address@pin or file:PATH), `content` its digest, or size and mtime of a local original,
                 none once somebody changed it; playlists have neither
    tracks       one object a row of the mix: {index, track, label, status, file, size, link_mode, key, validator,
                 validator_kind, place, digest, freshness, error, edited}. `status` is done or skipped (a hole),
                 `freshness` fresh or stale, `error` {code, message}; what does not apply is null. Of an `edited` file,
                 which somebody changed, nothing is known but its name
    finished     false while a re-export is putting files in place

It never holds a URL's query, a header or a token.
"""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from cachestore.errors import DestinationError
from cachestore.links import LinkMode
from exporter_plugin.naming import MAX_NAME_BYTES, size

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

FORMAT = 1
MANIFEST = "bundle.json"
MEDIA = "media"
_REMEDY = "name another folder"
_NOT_IN_NAMES = frozenset("/\\:\0")  # what leads elsewhere, on Windows too
_TEXT = (str, type(None))
_TYPES: Mapping[str, tuple[type, ...]] = {
    "file": (str,),
    "size": (int,),
    "mtime_ns": (int,),
    "digest": (str,),
    "identity": _TEXT,
    "content": _TEXT,
    "ctime_ns": (int, type(None)),
}


@dataclass(frozen=True, slots=True)
class OwnedFile:
    """A file of a bundle that we wrote, and how it was then: `size` in bytes, times as the filesystem says.

    `ctime_ns` is told of what was a hard link once: no look at a blob shows any more who edits it and puts mtime back.
    """

    file: str
    size: int
    mtime_ns: int
    digest: str
    identity: str | None = None
    content: str | None = None
    link_mode: LinkMode | None = None
    ctime_ns: int | None = None

    @property
    def is_local(self) -> bool:
        """Return whether this is a copy of a local track."""
        return self.identity is not None and self.identity.startswith("file:")

    @property
    def is_edited(self) -> bool:
        """Return whether somebody was found to have changed this file of a track."""
        return self.identity is not None and self.content is None

    def describes(self, info: os.stat_result) -> bool:
        """Return whether a file looks as we left it; programs that write tags may restore all that is looked at."""
        is_same = (info.st_size, info.st_mtime_ns) == (self.size, self.mtime_ns)
        return stat.S_ISREG(info.st_mode) and is_same and self.ctime_ns in {None, info.st_ctime_ns}

    def timed(self, info: os.stat_result) -> OwnedFile:
        """Return the record with the times that the file has now."""
        ctime_ns = None if self.ctime_ns is None else info.st_ctime_ns
        return replace(self, mtime_ns=info.st_mtime_ns, ctime_ns=ctime_ns)

    def unlinked(self, info: os.stat_result) -> OwnedFile:
        """Return the record of a file that is no link to a blob any more, and so as good as a copy."""
        return replace(self, link_mode=LinkMode.COPY, ctime_ns=info.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """A row of the mix as bundle.json has it."""

    index: int
    track: str
    label: str
    status: Literal["done", "skipped"]
    file: str | None = None
    size: int | None = None
    link_mode: LinkMode | None = None
    key: str | None = None
    validator: str | None = None
    validator_kind: str | None = None
    place: str | None = None
    digest: str | None = None
    freshness: Literal["fresh", "stale"] | None = None
    error: Mapping[str, str] | None = None
    edited: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of bundle.json; `exported_at` in Unix seconds."""

    name: str
    exported_at: float
    files: tuple[OwnedFile, ...]
    tracks: tuple[TrackRecord, ...]
    finished: bool = True


_JSON = json.JSONEncoder().encode
_FILE_FIELDS = tuple(field.name for field in fields(OwnedFile))
_TRACK_FIELDS = tuple(field.name for field in fields(TrackRecord))


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write `manifest` to a new file, a record a line."""
    with path.open("w", encoding="ascii") as file:
        file.writelines(_text(manifest))


def _text(manifest: Manifest) -> Iterator[str]:
    exported_at = datetime.fromtimestamp(manifest.exported_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    head = {"bundle": FORMAT, "name": manifest.name, "exported_at": exported_at, "finished": manifest.finished}
    yield "{\n" + "".join(f" {_JSON(name)}: {_JSON(value)},\n" for name, value in head.items())
    yield ' "files": ['
    yield from _lines(manifest.files, _FILE_FIELDS)
    yield '\n ],\n "tracks": ['
    yield from _lines(manifest.tracks, _TRACK_FIELDS)
    yield "\n ]\n}\n"


def _lines(records: Iterable[OwnedFile | TrackRecord], names: Sequence[str]) -> Iterator[str]:
    values, mark = attrgetter(*names), ""
    for record in records:
        yield f"{mark}\n  {_JSON(dict(zip(names, values(record), strict=True)))}"
        mark = ","


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest of a bundle, None if there is none of ours. Raise DestinationError, OSError."""
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or type(document.get("bundle")) is not int:
        return None
    if document["bundle"] > FORMAT:
        raise DestinationError(path.parent, f"has a {path.name} of a newer version of this program", _REMEDY)
    try:
        return _manifest(document)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DestinationError(path.parent, f"has a {path.name} that is damaged", _REMEDY) from error


def _manifest(document: dict[str, Any]) -> Manifest:
    return Manifest(
        str(document["name"]),
        datetime.fromisoformat(document["exported_at"]).timestamp(),
        tuple(_owned(file) for file in document["files"]),
        tuple(TrackRecord(**track) for track in document["tracks"]),
        finished=bool(document["finished"]),
    )


def _owned(record: dict[str, Any]) -> OwnedFile:
    record = {"ctime_ns": None} | record
    for name, expected in _TYPES.items():
        if not isinstance(record[name], expected):
            raise TypeError(name)
    name = record["file"].removeprefix(f"{MEDIA}/")
    # These files may be removed one day: nothing outside the bundle may ever be named here.
    if name in {"", ".", "..", MANIFEST} or not _NOT_IN_NAMES.isdisjoint(name):
        raise ValueError(record["file"])
    if size(name) > MAX_NAME_BYTES:  # and half a surrogate pair has none
        raise ValueError(record["file"])
    mode = record["link_mode"]
    return OwnedFile(**(record | {"link_mode": LinkMode(mode) if mode else None}))
