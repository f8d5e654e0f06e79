"""Stores for tests: bodies put in without any network."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from cachestore.blobs import BlobDigest
from cachestore.media import Media
from cachestore.store.publish import Incoming
from cachestore.track import Track
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from cachestore.entry import Entry
    from cachestore.store.writer import Store


def etag(text: str) -> Version:
    return Version(VersionKind.STRONG, f'"{text}"')


FIRST = etag("1")


def incoming(
    store: Store, track_id: str, data: bytes, *, source: str = "s", version: Version | None = FIRST, digest: str = ""
) -> Incoming:
    path = store.root.partials / uuid.uuid4().hex
    path.write_bytes(data)
    running = BlobDigest()
    running.update(data)
    track = Track(source, track_id, title=f"Title {track_id}", artist="Artist")
    return Incoming(track, version, path, digest or running.hexdigest(), len(data), Media("wav", "audio/wav"))


def put(store: Store, track_id: str, data: bytes, *, source: str = "s", version: Version | None = FIRST) -> Entry:
    [entry] = store.put([incoming(store, track_id, data, source=source, version=version)])
    return entry
