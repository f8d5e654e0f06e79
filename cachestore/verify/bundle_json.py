"""What bundle.json says of the tracks of a bundle (docs/formats.md), read for recovery and believed in nothing.

Whoever edited it can name any file and any track: a file is one of the bundle or none, and bytes have to have the
digest before a row is made of it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cachestore.blobs import is_digest
from cachestore.errors import AddressError, DestinationError
from cachestore.links import LinkMode
from cachestore.rows import Bundle, BundleFile
from cachestore.text import is_url, shown
from cachestore.track import Track, parse_address
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "bundle.json"
_FORMAT = 1
_REMEDY = "name the folder of a bundle that an export has made"


@dataclass(frozen=True, slots=True)
class BundledTrack:
    """A cloud track of a bundle: `file` is relative to it, with ``/``; times in Unix seconds.

    `place` is as in `Entry`; `validated_at` is 0 when the server did not confirm it for that export.
    """

    track: Track
    version: Version
    digest: str
    place: str
    label: str
    file: str
    exported_at: float
    validated_at: float

    @property
    def key(self) -> str:
        """Return ``source:id@<16 hex>``."""
        return f"{self.track.address}@{self.version.hex}"


@dataclass(frozen=True, slots=True)
class BundleJson:
    """A bundle as its bundle.json has it; `senseless` are the keys of tracks whose parts do not fit together."""

    bundle: Bundle
    tracks: tuple[BundledTrack, ...]
    senseless: tuple[str, ...]


def read_bundle_json(dest: Path) -> BundleJson:
    """Return what the bundle at `dest` says of its tracks. Raise DestinationError when it says nothing."""
    if is_url(str(dest)):
        raise DestinationError(dest, "is a URL", _REMEDY)
    dest = Path(os.path.realpath(dest))
    document = _document(dest)
    exported_at = _time(document.get("exported_at"))
    keyed = {str(key): row for row in _objects(document, "tracks") if (key := row.get("key")) is not None}
    tracks = {key: _track(row, exported_at) for key, row in keyed.items()}
    files = tuple(file for fields in _objects(document, "files") if (file := _file(fields)))
    name = document.get("name")
    bundle = Bundle(dest, shown(name) if isinstance(name, str) else dest.name, exported_at, files)
    senseless = tuple(shown(key) for key, track in tracks.items() if track is None)
    return BundleJson(bundle, tuple(track for track in tracks.values() if track is not None), senseless)


def _document(dest: Path) -> dict[str, Any]:
    path = dest / _NAME
    if not path.is_file():
        raise DestinationError(dest, f"has no {_NAME}", _REMEDY)
    try:
        document = json.loads(path.read_bytes())
        version = document["bundle"]
    except (ValueError, LookupError, TypeError, RecursionError):
        version = None
    if type(version) is not int:
        raise DestinationError(dest, f"has a {_NAME} that is damaged or not ours", _REMEDY)
    if version > _FORMAT:
        raise DestinationError(dest, f"has a {_NAME} of a newer version of this program", "upgrade cachestore")
    return dict(document)


def _objects(document: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    items = document.get(name)
    yield from (item for item in (items if isinstance(items, list) else []) if isinstance(item, dict))


def _time(value: object) -> float:
    """Return an RFC 3339 time in Unix seconds, 0 when it is none."""
    try:
        return max(datetime.fromisoformat(value).timestamp(), 0.0) if isinstance(value, str) else 0.0
    except (ValueError, OverflowError, OSError):
        return 0.0


def _track(row: dict[str, Any], exported_at: float) -> BundledTrack | None:
    """Return the track of a row, None when its parts do not fit together."""
    key, digest, file = (row.get(name) for name in ("key", "digest", "file"))
    place, label = (text if isinstance(text := row.get(name), str) else "" for name in ("place", "label"))
    try:
        track = parse_address(key) if isinstance(key, str) else None
        version = _version(row.get("validator_kind"), row.get("validator"), digest, track)
    except (AddressError, ValueError):
        return None
    if track is None or version is None or not is_digest(digest) or not _is_inside(file):
        return None
    validated_at = 0.0 if row.get("freshness") == "stale" else exported_at
    label = shown(label) or track.address
    return BundledTrack(track, version, str(digest), place, label, str(file), exported_at, validated_at)


def _version(kind: object, value: object, digest: object, track: Track | None) -> Version | None:
    """Return the version that the hex of a key stands for; one validator may have stood for several bytes."""
    if not isinstance(kind, str) or not isinstance(value, str) or not isinstance(digest, str) or track is None:
        return None
    plain = Version(VersionKind(kind), value)
    if plain.kind is VersionKind.DIGEST and value != digest:
        return None
    versions = (plain, Version(plain.kind, value, digest))
    return next((version for version in versions if version.hex == track.version), None)


def _file(fields: dict[str, Any]) -> BundleFile | None:
    """Return a file that came from the cache, None for all else."""
    file, digest, mode, identity = (fields.get(name) for name in ("file", "content", "link_mode", "identity"))
    is_local = isinstance(identity, str) and identity.startswith("file:")
    if (
        is_local
        or not is_digest(digest)
        or not _is_inside(file)
        or not isinstance(mode, str)
        or mode not in {*LinkMode}
    ):
        return None
    return BundleFile(str(file), str(digest), LinkMode(mode))


def _is_inside(file: object) -> bool:
    """Return whether a path leads to a file below the bundle, as text; symlinks are looked for when it is opened."""
    if not isinstance(file, str) or re.search(r"[\0\\]", file):
        return False
    path = PurePosixPath(file)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and path.as_posix() == file
