"""Whether a blob still has the bytes of its digest, without reading it more often than needed."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

from cachestore.blobs import hash_file, witness_of

if TYPE_CHECKING:
    import os

    from cachestore.blobs import Blobs, Witness
    from cachestore.rows import BlobRow
    from cachestore.store.pending import PendingWrites
    from cachestore.store.ticks import Ticks


class Witnesses:
    """What this process has seen of each blob. A witness that is new to the index is noted, to be written later."""

    def __init__(self, blobs: Blobs, boot: str, pending: PendingWrites, ticks: Ticks) -> None:
        self._blobs = blobs
        self._boot = boot
        self._pending = pending
        self._ticks = ticks
        self._seen: dict[str, Witness] = {}

    def has(self, digest: str) -> bool:
        """Return whether the blob was found whole by this process, so that its row is not needed to ask again."""
        return digest in self._seen

    def is_as_seen(self, digest: str, info: os.stat_result | None) -> bool:
        """Return whether the blob's stat, taken now, says that it is as it was when this process found it whole."""
        return (
            info is not None and witness_of(info) == self._seen.get(digest) and not self._ticks.may_hide_in_mode(info)
        )

    def is_whole(self, digest: str, row: BlobRow | None) -> bool:
        """Return whether the blob is there with its bytes.

        Its witness, as last seen or as recorded in `row` under this boot, says so; any other makes it hashed again,
        also at the next use as long as an edit right after could be hidden. A blob without a row is not in the store,
        whatever lies there.
        """
        seen_at = time.time()
        info = self._blobs.stat(digest)
        if info is None:
            return False
        witness = witness_of(info)
        if self._is_known(digest, witness, row) and not self._ticks.may_hide_in_mode(info):
            self._seen[digest] = witness
            return True
        if (row is None and digest not in self._seen) or not self._has_its_bytes(digest, info, row):
            return False
        if not self._ticks.may_hide(info, seen_at):
            self._saw(digest, witness)
        return True

    def _is_known(self, digest: str, witness: Witness, row: BlobRow | None) -> bool:
        if witness == self._seen.get(digest):
            return True
        return row is not None and (witness, self._boot) == (row.witness, row.boot)

    def _saw(self, digest: str, witness: Witness) -> None:
        self._seen[digest] = witness
        self._pending.saw(digest, witness)

    def _has_its_bytes(self, digest: str, info: os.stat_result, row: BlobRow | None) -> bool:
        if not stat.S_ISREG(info.st_mode) or (row is not None and info.st_size != row.size):
            return False
        try:
            return hash_file(self._blobs.path(digest)) == digest
        except FileNotFoundError:  # removed meanwhile
            return False

    def renew(self, digest: str, before: os.stat_result | None) -> None:
        """Take the witness as it is now: we gave the blob another name, which changed its ctime and nothing else.

        `before` is its stat right before that. If anything else has changed since it was seen whole, or may have, its
        row is asked the next time, which has another ctime.
        """
        after, seen = self._blobs.stat(digest), self._seen.pop(digest, None)
        if after is None or before is None or witness_of(before) != seen:
            return
        if differ_by_a_name(before, after) and not self._ticks.may_hide_after_link(after):
            self._saw(digest, witness_of(after))


def differ_by_a_name(before: os.stat_result, after: os.stat_result) -> bool:
    """Return whether a file got one more name between two looks, and nothing else that shows."""
    return _but_for_a_name(before, before.st_nlink + 1) == _but_for_a_name(after, after.st_nlink)


def _but_for_a_name(info: os.stat_result, names: int) -> tuple[int, ...]:
    return names, info.st_mode, info.st_ino, info.st_size, info.st_mtime_ns
