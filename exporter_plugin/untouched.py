"""Which files of a bundle nobody has changed: found out by their bytes, and known from then on by a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.blobs import witness_of

if TYPE_CHECKING:
    from pathlib import Path

    from cachestore.blobs import Witness
    from exporter_plugin.destination import Destination
    from exporter_plugin.manifest import OwnedFile


class Untouched:
    """The files at `destination` that have the bytes of their records, each as it was right before it was hashed.

    To be kept for as long as files are put in place only: a filesystem that forgets the ctime hides a later edit.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._digests: dict[Witness, str] = {}  # so links to one blob are hashed once

    def has(self, own: OwnedFile) -> bool:
        """Return whether a file has our bytes; what looks otherwise than when it was hashed is hashed again."""
        info = self._destination.stat(own.file)
        if info is None:
            return False
        seen = witness_of(info)
        if self._digests.get(seen) != own.digest and self._destination.has_bytes(own):
            self._digests[seen] = own.digest
        return self._digests.get(seen) == own.digest

    def take(self, staged: Path, file: str) -> None:
        """Move what is staged of a file to its place: its other names have another ctime then, which is no edit."""
        before = witness_of(staged.lstat())
        after = witness_of(staged.replace(self._destination.path / file).lstat())
        if before in self._digests and after == before._replace(ctime_ns=after.ctime_ns):
            self._digests[after] = self._digests[before]
