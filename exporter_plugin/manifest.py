"""bundle.json: what a bundle holds, which of its files are ours, and how they were when we wrote them.

    bundle       1, the format of this file
    name         of the bundle
    exported_at  RFC 3339, UTC
    finished     false while a re-export is putting files in place
    files        what we own: {file, size, mtime_ns, identity, content, link_mode}. `identity` is the track (address,
                 address@pin or file:PATH), `content` its digest, or size and mtime of a local original; playlists
                 have neither
    tracks       one object a row of the mix: {index, track, label, status, file, key, validator, validator_kind,
                 digest, size, link_mode, freshness, error}. `status` is done or skipped (a hole), `freshness` fresh
                 or stale, `error` {code, message}; what does not apply is null

It never holds a URL's query, a header or a token.
"""

from __future__ import annotations

import json
import stat
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from cachestore.links import LinkMode

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.errors import TrackError
    from exporter_plugin.row import Row

FORMAT = 1
MANIFEST = "bundle.json"
MEDIA = "media"


class ManifestError(Exception):
    """A bundle.json is ours and cannot be used; the text completes "has a bundle.json ..."."""


@dataclass(frozen=True, slots=True)
class OwnedFile:
    """A file of a bundle that we wrote, and how it was then: `size` in bytes, `mtime_ns` as the filesystem says."""

    file: str
    size: int
    mtime_ns: int
    identity: str | None = None
    content: str | None = None
    link_mode: LinkMode | None = None

    @property
    def is_local(self) -> bool:
        """Return whether this is a copy of a local track."""
        return self.identity is not None and self.identity.startswith("file:")

    def describes(self, info: os.stat_result) -> bool:
        """Return whether a file is as we left it."""
        return stat.S_ISREG(info.st_mode) and (info.st_size, info.st_mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of bundle.json; `exported_at` in Unix seconds, `tracks` as JSON objects."""

    name: str
    exported_at: float
    files: tuple[OwnedFile, ...]
    tracks: tuple[Mapping[str, Any], ...]
    finished: bool = True


def done_row(index: int, row: Row, owned: OwnedFile, entry: Entry | None, *, stale: bool) -> dict[str, Any]:
    """Return the object of a row whose file is in the bundle; `entry` is None for a local track."""
    facts: dict[str, Any] = {"file": owned.file, "size": owned.size, "link_mode": owned.link_mode}
    if entry is not None:
        facts |= {
            "key": entry.key,
            "validator": entry.version.value,
            "validator_kind": entry.version.kind,
            "digest": entry.digest,
            "freshness": "stale" if stale else "fresh",
        }
    return _row(index, row, "done") | facts


def hole_row(index: int, row: Row, error: TrackError) -> dict[str, Any]:
    """Return the object of a row that failed."""
    return _row(index, row, "skipped") | {"error": {"code": error.code, "message": error.reason}}


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write `manifest` to a new file."""
    exported_at = datetime.fromtimestamp(manifest.exported_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "bundle": FORMAT,
        "name": manifest.name,
        "exported_at": exported_at,
        "finished": manifest.finished,
        "files": [asdict(file) for file in manifest.files],
        "tracks": manifest.tracks,
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest of a bundle, None if there is none of ours. Raise ManifestError, OSError."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or type(document.get("bundle")) is not int:
        return None
    if document["bundle"] > FORMAT:
        raise ManifestError("of a newer version of this program")
    try:
        return _manifest(document)
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError("that is damaged") from error


def _manifest(document: dict[str, Any]) -> Manifest:
    return Manifest(
        str(document["name"]),
        datetime.fromisoformat(document["exported_at"]).timestamp(),
        tuple(_owned(file) for file in document["files"]),
        tuple(dict(track) for track in document["tracks"]),
        finished=bool(document["finished"]),
    )


def _owned(fields: dict[str, Any]) -> OwnedFile:
    parts = PurePosixPath(fields["file"]).parts
    # These files may be removed one day: nothing outside the bundle may ever be named here.
    if not parts or parts[:-1] not in {(), (MEDIA,)} or parts[-1] in {"..", MANIFEST} or "\0" in fields["file"]:
        raise ValueError(fields["file"])
    mode = fields["link_mode"]
    return OwnedFile(**(fields | {"link_mode": LinkMode(mode) if mode else None}))


def _row(index: int, row: Row, status: str) -> dict[str, Any]:
    blank = dict.fromkeys(
        ("file", "key", "validator", "validator_kind", "digest", "size", "link_mode", "freshness", "error")
    )
    return {"index": index, "track": row.address, "label": row.label, "status": status, **blank}
