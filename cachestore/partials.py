"""Unfinished downloads on disk, each with one owner.

    <track>.<unique>.part   kept for whoever claims it next; its bytes are on the disk, not only in memory
    <track>.<unique>.work   claimed: only the one who renamed it may write it
    <track>.<unique>.json   what the bytes are a part of: validator and total, no URL, nothing secret

<track> is a hash of the track's address. A claim is the rename of .part to .work, of which only one can succeed, also
where file locks lie. The sidecar has the unique name of its bytes, so that it is never read with others.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from cachestore.blobs import BlobDigest
from cachestore.errors import Cancelled, NoSpace, is_full
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

_RESUMABLE = frozenset({VersionKind.STRONG, VersionKind.PROVIDER})
_NAME = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{32}\.(part|work|json)")
_REHASH_CHUNK = 1024 * 1024


class Partial:
    """One claimed partial: `received` bytes of `total` (None: unknown) of one `version`, digested as they arrive.

    A context manager: left unfinished, it is kept for the next claim if it can be resumed, else removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.version: Version | None = None
        self.total: int | None = None
        self.received = 0
        self._digest = BlobDigest()
        self._file: BinaryIO | None = None
        self._finished = False

    @property
    def resumable(self) -> bool:
        """Return whether a server can be asked for the rest: other validators cannot tell two bodies apart."""
        return (
            self.received > 0
            and self.total is not None
            and self.version is not None
            and self.version.kind in _RESUMABLE
        )

    @property
    def hexdigest(self) -> str:
        """Return the digest of the bytes received."""
        return self._digest.hexdigest()

    def begin(self, version: Version | None, total: int | None) -> None:
        """Start from nothing with the body of `version`. Raise NoSpace."""
        self._reset()
        self.version, self.total = version, total
        with self._or_nothing():
            self._file = self.path.open("wb")
            if version is not None and total is not None and version.kind in _RESUMABLE:
                _write_sidecar(self._sidecar, version, total)
            else:
                self._sidecar.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Add `chunk`. Raise NoSpace."""
        with self._or_nothing():
            if self._file is None:
                self._file = self.path.open("r+b")
                self._file.seek(self.received)
            self._file.write(chunk)
        self._digest.update(chunk)
        self.received += len(chunk)

    def finish(self) -> None:
        """Close the complete body; its file stays at `path`, and is the caller's from here on. Raise NoSpace."""
        with self._or_nothing():
            self._close()
        self._sidecar.unlink(missing_ok=True)
        self._finished = True

    def clear(self) -> None:
        """Forget and remove what was received."""
        self._reset()
        self.path.unlink(missing_ok=True)
        self._sidecar.unlink(missing_ok=True)

    def adopt(self, cancel: threading.Event) -> None:
        """Take over the bytes that an earlier run kept, if any, hashing them again from the first. Raise Cancelled."""
        kept = _read_sidecar(self._sidecar)
        if kept is None:
            return
        self.version, self.total = kept
        buffer = memoryview(bytearray(_REHASH_CHUNK))
        with self.path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                self._digest.update(buffer[:count])
                self.received += count
                if cancel.is_set():
                    raise Cancelled

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._finished:
            return
        try:
            self._keep() if self.resumable else self.clear()
        except OSError:
            self.clear()

    @property
    def _sidecar(self) -> Path:
        return self.path.with_suffix(".json")

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """Remove everything when the disk fails: a full one needs the room."""
        try:
            yield
        except OSError as error:
            self.clear()
            if is_full(error):
                raise NoSpace(self.path.parent) from None
            raise

    def _reset(self) -> None:
        with suppress(OSError):
            self._close()
        self.version, self.total, self.received = None, None, 0
        self._digest = BlobDigest()

    def _keep(self) -> None:
        """Give the partial back, its bytes on the disk first: after a crash nothing tells that some are missing."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._close()
        self.path.rename(self.path.with_suffix(".part"))

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()


def claim(folder: Path, address: str) -> Partial:
    """Return a partial of the track that nobody else has: one that was kept, to be adopted, else a new one."""
    track = blake2b(address.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    for kept in folder.glob(f"{track}.*.part"):
        claimed = kept.with_suffix(".work")
        with suppress(FileNotFoundError):  # somebody else was first
            kept.rename(claimed)
            return Partial(claimed)
    return Partial(folder / f"{track}.{uuid4().hex}.work")


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A partial that may be removed: kept and old, or claimed by a run that may be dead."""

    path: Path
    is_old: bool

    def remove(self) -> None:
        """Remove the bytes and what is known of them."""
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".json").unlink(missing_ok=True)


def abandoned(folder: Path, *, before: float) -> Iterator[Abandoned]:
    """Yield the partials that nobody has touched since `before` (Unix seconds), and all that are claimed."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            is_old = path.lstat().st_mtime < before
            is_ours = _NAME.fullmatch(path.name) is not None
            if is_ours and (is_old or path.suffix == ".work"):
                yield Abandoned(path, is_old)


def _write_sidecar(path: Path, version: Version, total: int) -> None:
    path.write_text(json.dumps({"kind": version.kind, "value": version.value, "total": total}))


def _read_sidecar(path: Path) -> tuple[Version, int] | None:
    """Return validator and total, or None when there is nothing to rely on."""
    try:
        row = json.loads(path.read_bytes())
        kind, value, total = VersionKind(row["kind"]), row["value"], row["total"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return (Version(kind, value), total) if isinstance(value, str) and type(total) is int else None
