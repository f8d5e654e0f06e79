"""What is wrong with the bytes of one blob; asked from several threads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.blobs import checked, hash_file, is_file, witness_of
from cachestore.boot import boot_id
from cachestore.errors import Cancelled, RootUnusable
from cachestore.verify.problems import ProblemKind

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from cachestore.blobs import Blobs, Witness
    from cachestore.rows import BlobRow


def raise_if_set(cancel: threading.Event | None) -> None:
    """Raise Cancelled when `cancel` is set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled


def whole_witness(path: Path, digest: str) -> Witness | None:
    """Return the witness of a file that has the bytes of `digest`, None if it has others or is not there."""
    try:
        info = path.lstat()
        return witness_of(info) if is_file(info) and hash_file(path) == digest else None
    except (FileNotFoundError, NotADirectoryError):
        return None


class Judge:
    """Judge blobs. A `quick` one believes a witness that was recorded under this boot.

    Everything that reads bytes raises Cancelled soon after `cancel` is set.
    """

    def __init__(self, blobs: Blobs, cancel: threading.Event | None, *, quick: bool) -> None:
        self._blobs = blobs
        self._cancel = cancel
        self._is_quick = quick

    def check_cancel(self) -> None:
        """Raise Cancelled once that is asked for."""
        raise_if_set(self._cancel)

    def believes(self, digest: str, row: BlobRow) -> bool:
        """Return whether a blob need not be judged."""
        if not self._is_quick or row.boot != boot_id():
            return False
        try:
            info = self._blobs.stat(digest)
        except (OSError, RootUnusable):
            return False
        return info is not None and witness_of(info) == row.witness

    def judge(self, digest: str, row: BlobRow) -> ProblemKind | None:
        """Return what is wrong with a blob, None if it has the bytes of its digest."""
        try:
            info = self._blobs.stat(digest)
            if info is None:
                return ProblemKind.MISSING
            if info.st_size < row.size and is_file(info):
                return ProblemKind.TRUNCATED
            return None if is_file(info) and self._has_its_bytes(digest) else ProblemKind.CORRUPT
        except (FileNotFoundError, NotADirectoryError, RootUnusable):  # what is in the way is told of its own
            return ProblemKind.MISSING
        except OSError:  # a disk that fails says nothing of the bytes
            return ProblemKind.UNREADABLE

    def judge_stranger(self, digest: str | None) -> ProblemKind | None:
        """Return what a file is that no row knows of, in the place of `digest` or of none; None if it is gone by now.

        One that has the bytes of its digest was left by a lost index.
        """
        if digest is None:
            return ProblemKind.FOREIGN
        try:
            info = self._blobs.stat(digest)
            if info is None:
                return None
            is_whole = is_file(info) and self._has_its_bytes(digest)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return ProblemKind.UNREADABLE
        return ProblemKind.UNINDEXED if is_whole else ProblemKind.CORRUPT

    def _has_its_bytes(self, digest: str) -> bool:
        with checked(self.check_cancel):
            return hash_file(self._blobs.path(digest)) == digest
