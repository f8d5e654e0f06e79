"""One claimed partial."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Self

from cachestore.blobs import BlobDigest
from cachestore.boot import boot_id
from cachestore.errors import Cancelled, NoSpace, is_full
from cachestore.partials.sidecar import Sidecar, read_sidecar, sidecar_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO, Literal

    from cachestore.partials.locks import DownloadLock
    from cachestore.partials.promise import Promise
    from cachestore.version import Version

_REHASH_CHUNK = 1024 * 1024
BUFFER = 4096  # bytes that a partial may have received and not yet given to its file


class Partial:
    """One claimed partial of a track: `received` bytes of a body, digested as they arrive.

    A context manager: left unfinished, it is kept for the next claim if it can be resumed, else removed, and `lock` is
    released. When it is finished, the file at `path` is the caller's, who then has to `release` or `leave` the partial.
    """

    def __init__(self, path: Path, address: str, lock: DownloadLock) -> None:
        self.path = path
        self.lock = lock
        self.received = 0
        self._nothing = Sidecar(address, None, None, None, boot_id(), locked=lock.is_real)
        self._is = self._nothing
        self._digest = BlobDigest()
        self._file: BinaryIO | None = None
        self._body: bytes | memoryview | None = None
        self._is_noted = False
        self._finished = False

    @property
    def version(self) -> Version | None:
        """Return the version of the body, None if the server has no word for it."""
        return self._is.version

    @property
    def validator(self) -> Version | None:
        """Return the strong validator that the server gave with the body, None if it gave none."""
        return self._is.validator

    @property
    def hint(self) -> Version | None:
        """Return the weak validator that the server gave with the body, None if it gave none."""
        return self._is.hint

    @property
    def resource(self) -> str:
        """Return a hash of what the validators are unique for, empty if unknown."""
        return self._is.resource

    @property
    def promised(self) -> tuple[Promise, ...]:
        """Return the digests that the server gave for the bytes."""
        return self._is.promised

    @property
    def total(self) -> int | None:
        """Return the length of the whole body, None if unknown."""
        return self._is.total

    @property
    def resumable(self) -> bool:
        """Return whether a server can be asked for the rest."""
        return self.received > 0 and self._is.resumable

    @property
    def complete(self) -> bool:
        """Return whether there is no rest, so that it only has to be asked whether the version is still the same."""
        return self.resumable and self.received == self.total

    @property
    def hexdigest(self) -> str:
        """Return the digest of the bytes received."""
        return self._digest.hexdigest()

    def begin(
        self,
        version: Version | None,
        validator: Version | None,
        total: int | None,
        *,
        hint: Version | None = None,
        promised: Sequence[Promise] = (),
        resource: str = "",
    ) -> None:
        """Start from nothing with the body of `version`; the rest is as in `Sidecar`. Raise NoSpace."""
        self._reset()
        self._is = replace(
            self._nothing,
            version=version,
            validator=validator,
            total=total,
            resource=resource,
            hint=hint,
            promised=tuple(promised),
        )

    def promise(self, promised: Sequence[Promise]) -> None:
        """Take what the server promises besides. Raise NoSpace."""
        if promised:
            self._is = replace(self._is, promised=(*self._is.promised, *promised))
            if self._is_noted:
                with self._or_nothing():
                    self._note()

    def write(self, chunk: bytes | memoryview) -> None:
        """Add `chunk`. Raise NoSpace."""
        with self._or_nothing():
            self._body = None
            file = self._file or self._open(chunk)
            file.write(chunk)
        self._digest.update(chunk)
        self.received += len(chunk)

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Open the bytes received, as `Path.open` would, but from memory if they came at once. Raise NoSpace."""
        self.flush()
        return self.path.open(mode) if self._body is None else BytesIO(self._body)

    def flush(self) -> None:
        """Let all bytes be read at `path`. Raise NoSpace."""
        with self._or_nothing():
            self._close()

    def finish(self) -> None:
        """Close the whole body; its file stays at `path`. Raise NoSpace."""
        self.flush()
        self._body = None
        self._finished = True

    def release(self) -> None:
        """Let go of a finished body that is published, or dropped; until then a crash would leave it to be resumed."""
        if self._is_noted:
            with suppress(OSError):
                sidecar_of(self.path).unlink()
        self.lock.release()

    def leave(self) -> None:
        """Give the partial back if it can be resumed, also a finished body that is not published; else remove it."""
        try:
            self._keep() if self.resumable else self.clear()
        except OSError:
            self.clear()
        finally:
            self.lock.release()

    def clear(self) -> None:
        """Forget and remove what was received."""
        self._reset()
        self.path.unlink(missing_ok=True)
        sidecar_of(self.path).unlink(missing_ok=True)

    def adopt(self, cancel: threading.Event) -> None:
        """Take over the bytes at `path`, if any, hashing them again from the first. Raise Cancelled or NoSpace."""
        kept = read_sidecar(sidecar_of(self.path))
        self._is_noted = True  # be it of no use
        if kept is None or not (kept.resumable and kept.is_on_disk):
            return
        nothing = self._nothing
        self._is = replace(kept, address=nothing.address, boot=nothing.boot, locked=nothing.locked)
        buffer = memoryview(bytearray(_REHASH_CHUNK))
        try:
            left = self.path.open("rb", buffering=0)
        except FileNotFoundError:  # somebody removed it, and it is begun anew
            self.clear()
            return
        with left as file:
            while count := file.readinto(buffer):
                self._digest.update(buffer[:count])
                self.received += count
                if cancel.is_set():
                    self._put_back()
                    raise Cancelled
        self._is = replace(self._is, digest="")
        if self.received > (self.total or 0) or kept.digest not in {"", self.hexdigest}:
            self.clear()
        elif self._is != kept:  # what was kept in an earlier boot is on the disk, and the digest is not of what follows
            with self._or_nothing():
                self._note()

    def _put_back(self) -> None:
        """Give the bytes back as they were found: what is known of them is beside them."""
        self._finished = True
        self.path.rename(self.path.with_suffix(".part"))
        self.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._finished:
            self.leave()

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """Remove everything when the disk fails: a full one needs the room."""
        try:
            yield
        except OSError as error:
            self.clear()
            if is_full(error):
                raise NoSpace.of(error, self.path.parent) from None
            error.filename = str(self.path)  # what cannot be written to an open file has no name
            raise

    def _reset(self) -> None:
        with suppress(OSError):
            self._close()
        self._is, self.received, self._body = self._nothing, 0, None
        self._digest = BlobDigest()

    def _open(self, chunk: bytes | memoryview) -> BinaryIO:
        """Open the file for the bytes that come next, and note what they are of.

        Not when they are all: what is killed right then is not worth to be resumed, and its sidecar not to be written.
        """
        if self.received:
            self._file = self.path.open("r+b", buffering=BUFFER)
            self._file.seek(self.received)
            return self._file
        self._file = self.path.open("wb", buffering=BUFFER)
        if self._is_noted or len(chunk) != self.total:
            self._note()
        else:
            self._body = chunk
        return self._file

    def _note(self) -> None:
        self._is_noted = True
        self._is.write(sidecar_of(self.path))

    def _keep(self) -> None:
        """Give the partial back, its bytes on the disk first: after a crash nothing tells that some are missing."""
        self._close()
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        replace(self._is, digest=self._is.digest or self.hexdigest).write(sidecar_of(self.path))
        self.path.rename(self.path.with_suffix(".part"))

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
