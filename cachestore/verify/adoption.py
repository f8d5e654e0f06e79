"""Tracks of a bundle, indexed again: after an index was lost, bundle.json is the copy of it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cachestore.blobs import checked, is_file
from cachestore.entry import Entry
from cachestore.errors import LinkError, is_full
from cachestore.media import recognize
from cachestore.verify.bundle_json import read_bundle_json
from cachestore.verify.judge import raise_if_set, whole_witness

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from cachestore.blobs import Witness
    from cachestore.media import Media
    from cachestore.store.writer import Store
    from cachestore.verify.bundle_json import BundledTrack

_MODE = 0o444


@dataclass(frozen=True, slots=True)
class Adoption:
    """A cloud track of a bundle and what was done; `adopted` when its bytes are in the cache now, under its key."""

    key: str
    label: str
    digest: str
    file: str
    action: str
    adopted: bool


def adopt(store: Store, dest: Path, cancel: threading.Event | None = None) -> Iterator[Adoption]:
    """Index the cloud tracks of the bundle at `dest` again, one by one, register it, and yield what was done.

    A blob that is there has to have the bytes of its digest. One that is not is linked back from the bundle, if that
    has a link that this user's cache made. Nothing of the bundle is changed. Raise DestinationError or Cancelled.
    """
    found = read_bundle_json(dest)
    for track in found.tracks:
        with checked(partial(raise_if_set, cancel)):
            action, adopted = _adopt(store, found.bundle.dest, track)
        yield Adoption(track.key, track.label, track.digest, track.file, action, adopted)
        raise_if_set(cancel)
    for key in found.senseless:
        yield Adoption(key, "", "", "", "left alone: what bundle.json says of it does not fit together", adopted=False)
    store.register(found.bundle)


def _adopt(store: Store, dest: Path, track: BundledTrack) -> tuple[str, bool]:
    known = store.entries_of([track.key]).get(track.key)
    if known is not None and known.digest != track.digest:
        return "left alone: the cache has other bytes under its key", False
    if known is not None and store.is_whole(known):
        return "left alone: it is in the cache", True
    try:
        return _index_blob(store, track) or _link_back(store, dest, track)
    except LinkError as error:
        return f"left alone: the bundle's file is not in the cache and cannot be linked ({error.reason})", False
    except OSError as error:
        if is_full(error):
            raise
        return f"left alone: the bundle's file cannot be read ({error.strerror or error})", False


def _index_blob(store: Store, track: BundledTrack) -> tuple[str, bool] | None:
    """Index the blob that is in the cache, None if it is not, or not any more once it was found damaged."""
    seen = whole_witness(store.blobs.path(track.digest), track.digest)
    if seen is None:
        if store.blobs.stat(track.digest) is not None:
            store.retire(track.digest)
        return None
    return _settle(store, track, store.blobs.path(track.digest), seen, "indexed again")


def _link_back(store: Store, dest: Path, track: BundledTrack) -> tuple[str, bool]:
    path = dest / track.file
    if path.resolve() != path:  # the bundle's own folder is a real one already
        return "left alone: a symbolic link leads out of the bundle", False
    try:
        info = path.lstat()
    except FileNotFoundError:
        return "left alone: its file is neither in the cache nor in the bundle", False
    if not is_file(info) or info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) != _MODE:
        return "left alone: the bundle's file is a copy, not a link of this cache; the next export downloads it", False
    seen = whole_witness(path, track.digest)
    if seen is None:
        return "left alone: the bundle's file was changed since it was exported", False
    return _settle(store, track, path, seen, "linked back from the bundle")


def _settle(store: Store, track: BundledTrack, path: Path, seen: Witness, action: str) -> tuple[str, bool]:
    media = recognize(path)
    if media is None:
        return "left alone: it is no audio", False
    if not store.adopt(_entry(track, media, seen.size), path, seen):
        return "left alone: its file was changed meanwhile", False
    return action, True


def _entry(track: BundledTrack, media: Media, size: int) -> Entry:
    """Return the entry as it was when the bundle was exported."""
    return Entry(
        source=track.track.source,
        id=track.track.id,
        version=track.version,
        digest=track.digest,
        size=size,
        media_type=media.media_type,
        ext=media.ext,
        label=track.label,
        stored_at=track.exported_at,
        validated_at=track.validated_at,
        used_at=track.exported_at,
        place=track.place,
    )
