"""Unfinished downloads for tests, as cancelled and killed processes leave them."""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cachestore.blobs import BlobDigest
from cachestore.partials import DownloadLock, claim
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cachestore.partials import Partial

STRONG = Version(VersionKind.STRONG, '"a"')
PROVIDED = Version(VersionKind.PROVIDER, "rev-7")
GO_ON = threading.Event()
TRACK = "studio:t42"


def digest_of(data: bytes) -> str:
    running = BlobDigest()
    running.update(data)
    return running.hexdigest()


@contextmanager
def claimed(folder: Path, address: str = TRACK) -> Iterator[Partial]:
    with claim(folder, address, DownloadLock.without(folder), GO_ON) as partial:
        yield partial


def kept(
    folder: Path, data: bytes, *, total: int | None = 100, version: Version = STRONG, address: str = TRACK
) -> Path:
    """Leave what a cancelled download leaves; return its file."""
    before = set(folder.iterdir())
    with claimed(folder, address) as partial:
        partial.begin(version, version, total)
        partial.write(data)
    return next(path for path in set(folder.iterdir()) - before if path.suffix == ".part")


def killed(folder: Path, data: bytes, **sidecar: object) -> Path:
    """Leave what a killed download leaves, with other words in its sidecar; return its file."""
    path = kept(folder, data)
    path = path.rename(path.with_suffix(".work"))
    row = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(row | {"digest": ""} | sidecar))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def age(path: Path, seconds: float) -> None:
    os.utime(path, (seconds, seconds))
