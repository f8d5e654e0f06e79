"""bundle.json: what a bundle holds, which of its files are ours, and how they were when we wrote them.

    bundle       1, the format of this file
    name         of the bundle
    exported_at  RFC 3339, UTC
    files        what we own: {file, size, mtime_ns, digest, identity, content, link_mode}. `identity` is the track
                 (address, address@pin or file:PATH), `content` its digest, or size and mtime of a local original;
                 playlists have neither
    tracks       one object a row of the mix: {index, track, label, status, file, size, link_mode, key, validator,
                 validator_kind, place, digest, freshness, error}. `status` is done or skipped (a hole), `freshness`
                 fresh or stale, `error` {code, message}; what does not apply is null
    finished     false while a re-export is putting files in place

It never holds a URL's query, a header or a token.
"""

from __future__ import annotations

import json
import stat
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from cachestore.errors import DestinationError
from cachestore.links import LinkMode
from exporter_plugin.naming import MAX_NAME_BYTES, size

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
MANIFEST = "bundle.json"
MEDIA = "media"
_REMEDY = "name another folder"
_TYPES = {"size": int, "mtime_ns": int, "digest": str, "identity": str | None, "content": str | None}


@dataclass(frozen=True, slots=True)
class OwnedFile:
    """A file of a bundle that we wrote, and how it was then: `size` in bytes, `mtime_ns` as the filesystem says."""

    file: str
    size: int
    mtime_ns: int
    digest: str
    identity: str | None = None
    content: str | None = None
    link_mode: LinkMode | None = None

    @property
    def is_local(self) -> bool:
        """Return whether this is a copy of a local track."""
        return self.identity is not None and self.identity.startswith("file:")

    def describes(self, info: os.stat_result) -> bool:
        """Return whether a file looks as we left it; programs that write tags may restore all that is looked at."""
        return stat.S_ISREG(info.st_mode) and (info.st_size, info.st_mtime_ns) == (self.size, self.mtime_ns)


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


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of bundle.json; `exported_at` in Unix seconds."""

    name: str
    exported_at: float
    files: tuple[OwnedFile, ...]
    tracks: tuple[TrackRecord, ...]
    finished: bool = True


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write `manifest` to a new file."""
    exported_at = datetime.fromtimestamp(manifest.exported_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {"bundle": FORMAT, **asdict(manifest), "exported_at": exported_at}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")


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


def _owned(fields: dict[str, Any]) -> OwnedFile:
    parts = PurePosixPath(fields["file"]).parts
    # These files may be removed one day: nothing outside the bundle may ever be named here.
    if not parts or parts[:-1] not in {(), (MEDIA,)} or parts[-1] in {"..", MANIFEST} or "\0" in fields["file"]:
        raise ValueError(fields["file"])
    if size(parts[-1]) > MAX_NAME_BYTES:  # and half a surrogate pair has none
        raise ValueError(fields["file"])
    mode = fields["link_mode"]
    for name, expected in _TYPES.items():
        if not isinstance(fields[name], expected):
            raise TypeError(name)
    return OwnedFile(**(fields | {"link_mode": LinkMode(mode) if mode else None}))
