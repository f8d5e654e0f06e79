"""Whether a blob still has the bytes of its digest, without reading it more often than needed."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from cachestore.blobs import hash_file, witness_of

if TYPE_CHECKING:
    import os

    from cachestore.blobs import Blobs, Witness
    from cachestore.rows import BlobRow
    from cachestore.store.pending import PendingWrites


class Witnesses:
    """What this process has seen of each blob. A witness that is new to the index is noted, to be written later."""

    def __init__(self, blobs: Blobs, boot: str, pending: PendingWrites) -> None:
        self._blobs = blobs
        self._boot = boot
        self._pending = pending
        self._seen: dict[str, Witness] = {}

    def has(self, digest: str) -> bool:
        """Return whether the blob was found whole by this process, so that its row is not needed to ask again."""
        return digest in self._seen

    def is_whole(self, digest: str, row: BlobRow | None) -> bool:
        """Return whether the blob is there with its bytes.

        Its witness, as last seen or as recorded in `row` under this boot, says so; any other makes it hashed again. A
        blob without a row is not in the store, whatever lies there.
        """
        info = self._blobs.stat(digest)
        if info is None:
            return False
        witness = witness_of(info)
        if witness == self._seen.get(digest):
            return True
        if row is not None and (witness, self._boot) == (row.witness, row.boot):
            self._seen[digest] = witness
        elif (row is not None or digest in self._seen) and self._has_its_bytes(digest, info, row):
            self._seen[digest] = witness
            self._pending.saw(digest, witness)
        return self._seen.get(digest) == witness

    def _has_its_bytes(self, digest: str, info: os.stat_result, row: BlobRow | None) -> bool:
        if not stat.S_ISREG(info.st_mode) or (row is not None and info.st_size != row.size):
            return False
        try:
            return hash_file(self._blobs.path(digest)) == digest
        except FileNotFoundError:  # removed meanwhile
            return False

    def renew(self, digest: str) -> None:
        """Take the witness as it is now: we gave the blob another name, which changed its ctime and nothing else.

        If it is not as it was besides, its row is asked the next time.
        """
        info, before = self._blobs.stat(digest), self._seen.get(digest)
        if info is not None and before is not None and witness_of(info)._replace(ctime_ns=before.ctime_ns) == before:
            self._seen[digest] = witness_of(info)
            self._pending.saw(digest, self._seen[digest])
        else:
            self._seen.pop(digest, None)
