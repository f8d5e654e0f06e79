"""Whether a blob still has the bytes of its digest, without reading it more often than needed."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from cachestore.blobs import hash_file, witness_of

if TYPE_CHECKING:
    from cachestore.blobs import Blobs, Witness
    from cachestore.rows import BlobRow
    from cachestore.store.notes import Notes


class Witnesses:
    """What this process has seen of each blob. A witness that is new to the index is noted, to be written later."""

    def __init__(self, blobs: Blobs, boot: str, notes: Notes) -> None:
        self._blobs = blobs
        self._boot = boot
        self._notes = notes
        self._seen: dict[str, Witness] = {}

    def has(self, digest: str) -> bool:
        """Return whether the blob was found whole by this process, so that its row is not needed to ask again."""
        return digest in self._seen

    def is_whole(self, digest: str, row: BlobRow | None) -> bool:
        """Return whether the blob is there with its bytes.

        Its witness, as last seen or as recorded in `row` under this boot, says so; any other makes it hashed again.
        """
        info = self._blobs.stat(digest)
        if info is None:
            return False
        witness = witness_of(info)
        if witness == self._seen.get(digest):
            return True
        if row is None or (witness, self._boot) != (row.witness, row.boot):
            if not stat.S_ISREG(info.st_mode) or hash_file(self._blobs.path(digest)) != digest:
                return False
            self._notes.saw(digest, witness)
        self._seen[digest] = witness
        return True

    def renew(self, digest: str) -> None:
        """Take the witness as it is now: we gave the blob another name, which changed its ctime."""
        info = self._blobs.stat(digest)
        if info is not None:
            self._seen[digest] = witness_of(info)
            self._notes.saw(digest, self._seen[digest])
