"""More names for blobs, and a fresh file for a blob that has all the names it can have.

How many hard links there can be is a property of the file, not of its filesystem (ext4: 65,000), so a copy of it has
room again; whoever has one of the links of before keeps the file of before. What the filesystem says of its limit is
not asked: tmpfs has none and says 127.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from cachestore import links
from cachestore.blobs import hash_file, witness_of
from cachestore.errors import BlobDamaged, LinkError
from cachestore.links import LinkMode, NoMoreNames
from cachestore.partials.sidecar import track_name
from cachestore.store.witnesses import differ_by_a_name

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from cachestore.blobs import Blobs
    from cachestore.store.ledger import Transact
    from cachestore.store.ticks import Ticks

# Entered around a copy within the store of so many bytes; whether there is room for it.
HasRoom = Callable[[int], AbstractContextManager[bool]]


def unbounded(_: int) -> AbstractContextManager[bool]:
    """Say that there is room: whoever has no bounds has no others to think of."""
    return nullcontext(enter_result=True)


class _ChangedError(Exception):
    """The blob is not the file any more that was copied."""


class Linker:
    """Gives blobs more names; `scratch` is the folder of the partials, where a crash leaves what a sweep takes."""

    def __init__(self, blobs: Blobs, scratch: Path, transact: Transact, boot: str, ticks: Ticks) -> None:
        self._blobs = blobs
        self._scratch = scratch
        self._transact = transact
        self._boot = boot
        self._ticks = ticks

    def link(self, digest: str, dest: Path | str, mode: LinkMode, has_room: HasRoom = unbounded) -> LinkMode:
        """Give a blob that is whole the name `dest` and return the mode used; its row is right in any case.

        `has_room` is entered around a copy of so many bytes within the store.

        Raise BlobDamaged when it is gone, or its bytes turn out to be wrong, else as `links.link`.
        """
        place = self._blobs.place(digest)
        while True:
            try:
                return links.link(place, dest, mode)
            except NoMoreNames:
                with suppress(_ChangedError):  # it may have room now
                    return self._link_anew(digest, Path(dest), mode, has_room)
            except FileNotFoundError:
                if not Path(dest).parent.is_dir():
                    raise
                raise BlobDamaged(digest, digest) from None  # it was gone, be it there again or not

    def _link_anew(self, digest: str, dest: Path, mode: LinkMode, has_room: HasRoom) -> LinkMode:
        """Link a fresh file of the blob to `dest`, and make it the blob; without room for one, `dest` is a copy."""
        before = self._blobs.stat(digest)
        if before is None:
            raise _ChangedError
        if before.st_nlink == 1:  # not even two names: here are no hard links at all
            return links.link(self._blobs.path(digest), dest, LinkMode.COPY if mode is LinkMode.AUTO else mode)
        with has_room(before.st_size) as is_there:
            if is_there:
                return self._rotated(digest, dest, before.st_ino)
        if mode is LinkMode.AUTO:
            return links.link(self._blobs.path(digest), dest, LinkMode.COPY)
        raise LinkError(dest, mode, "its file has all the names it can have, and there is no room for a fresh one")

    def _rotated(self, digest: str, dest: Path, inode: int) -> LinkMode:
        """Link a fresh file to `dest`, then make it the blob: before it is, nobody else can use up its names."""
        with self._fresh(digest) as fresh:
            before = fresh.stat()
            links.link(fresh, dest, LinkMode.HARDLINK)
            linked = fresh.stat()
            try:
                self._replace(digest, fresh, inode, linked if differ_by_a_name(before, linked) else None)
            except BaseException:
                _take_back(dest, linked, is_as_linked=fresh.exists())
                raise
        return LinkMode.HARDLINK

    @contextmanager
    def _fresh(self, digest: str) -> Iterator[Path]:
        """Have a read-only file with the bytes of the blob for the block; it is removed if it did not become the blob.

        Raise _ChangedError when it, or the blob, is gone: evicted, or swept by a prune that saw no run it belongs to.
        """
        fresh = self._scratch / f"{track_name(digest)}.{uuid4().hex}.work"
        try:
            links.copy_private(self._blobs.path(digest), fresh)
            if hash_file(fresh) != digest:
                raise BlobDamaged(digest, digest)
            fresh.chmod(0o444)
            yield fresh
        except FileNotFoundError:
            if fresh.exists() and self._blobs.stat(digest) is not None:
                raise
            raise _ChangedError from None
        finally:
            fresh.unlink(missing_ok=True)

    def _replace(self, digest: str, fresh: Path, inode: int, linked: os.stat_result | None) -> None:
        """Make a fresh file the blob, in the place of the one with `inode`. Raise _ChangedError when that has gone.

        What became of the bytes of before does not matter: who has edited them has another name for them, and keeps
        them. Those of the fresh one are right if its stat is still as it was when it was `linked`.
        """
        place = self._blobs.path(digest)
        with self._transact() as ledger:
            row, before = ledger.blob(digest), self._blobs.stat(digest)
            if row is None or before is None or before.st_ino != inode or before.st_nlink == 1:
                raise _ChangedError
            is_whole = linked is not None and witness_of(fresh.stat()) == witness_of(linked)
            fresh.replace(place)
            info = place.stat()
            is_known = is_whole and not self._ticks.may_hide_after_link(info)
            ledger.put_blob(digest, row.seen(info, self._boot if is_known else ""))


def _take_back(dest: Path, linked: os.stat_result, *, is_as_linked: bool) -> None:
    """Remove a link, unless somebody has written to it, who may have waited for it.

    A file that lost or changed its other name since it was `linked` has another ctime for that alone.
    """
    names = ("st_ino", "st_mode", "st_size", "st_mtime_ns", *(("st_ctime_ns",) if is_as_linked else ()))
    with suppress(FileNotFoundError):
        info = dest.lstat()
        if all(getattr(info, name) == getattr(linked, name) for name in names):
            dest.unlink()
