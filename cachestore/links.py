"""One file, one more name: hard link, reflink or copy, and what it means when the system refuses."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from cachestore.blobs import check_now
from cachestore.errors import DestinationError, LinkError, NoSpace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from io import FileIO

_CHUNK = 1024 * 1024


class LinkMode(StrEnum):
    """How a file gets its other name.

    AUTO is a hard link where possible, EDITABLE, for programs that write into files, a reflink; else they are copies.
    """

    AUTO = "auto"
    HARDLINK = "hardlink"
    REFLINK = "reflink"
    COPY = "copy"
    EDITABLE = "editable"


# What can be chosen as such; editable is an option of its own.
LINK_MODES = tuple(mode.value for mode in LinkMode if mode is not LinkMode.EDITABLE)


class Refusal(Enum):
    """What a refusal of the system means to us."""

    NO_HARD_LINK = auto()  # none from here to there, though there may be a copy
    NO_MORE_NAMES = auto()  # this file has all that it can have; another one with its bytes has not
    NO_FILE = auto()  # nothing can be made there, by whatever means
    NO_SPACE = auto()
    FAILING = auto()  # nothing is known of the bytes but that the disk does not give or take them


REFUSALS: Mapping[int, Refusal] = {
    errno.EXDEV: Refusal.NO_HARD_LINK,  # another volume
    errno.EPERM: Refusal.NO_HARD_LINK,  # a foreign owner under fs.protected_hardlinks, or FAT
    errno.EACCES: Refusal.NO_HARD_LINK,  # if the folder is closed, the copy will say so
    errno.ENOTSUP: Refusal.NO_HARD_LINK,
    errno.EOPNOTSUPP: Refusal.NO_HARD_LINK,
    errno.ENOSYS: Refusal.NO_HARD_LINK,
    errno.EINVAL: Refusal.NO_HARD_LINK,
    errno.EISDIR: Refusal.NO_HARD_LINK,
    errno.EMLINK: Refusal.NO_MORE_NAMES,
    errno.EROFS: Refusal.NO_FILE,
    errno.ENAMETOOLONG: Refusal.NO_FILE,
    errno.ELOOP: Refusal.NO_FILE,
    errno.EFBIG: Refusal.NO_FILE,  # 4 GB on FAT
    errno.ENOSPC: Refusal.NO_SPACE,
    errno.EDQUOT: Refusal.NO_SPACE,
    errno.EIO: Refusal.FAILING,
}


class NoMoreNames(LinkError):
    """A file has all the hard links that it can have."""


class _ReadError(OSError):
    """The file that is copied cannot be read, which says nothing of the destination."""


def link(source: Path | str, dest: Path | str, mode: LinkMode) -> LinkMode:
    """Give `source` the name `dest` and return the mode used, never AUTO or EDITABLE.

    An existing `dest` is never overwritten (FileExistsError). All other modes are strict: LinkError when the
    filesystem refuses; NoMoreNames also in AUTO, since a copy of `source` could be linked. Raise DestinationError when
    nothing can be made at `dest`, NoSpace, or OSError when a disk fails; a copy that was begun is removed.
    """
    if mode is LinkMode.HARDLINK:  # text is enough for thousands of these: pathlib takes its time
        return _hard_link(source, dest)
    source, dest = Path(source), Path(dest)
    match mode:
        case LinkMode.AUTO:
            return _hard_link_or_copy(source, dest)
        case LinkMode.REFLINK:
            return _reflink(source, dest)
        case LinkMode.COPY:
            return _copy(source, dest)
        case LinkMode.EDITABLE:
            return copy_private(source, dest)


def copy_private(source: Path, dest: Path) -> LinkMode:
    """Give `dest` the bytes of `source`, as a file of its own: reflink, else copy. Errors as `link`."""
    try:
        return _reflink(source, dest)
    except LinkError:
        return _copy(source, dest)


def can_reflink(source: Path, folder: Path) -> bool:
    """Return whether a reflink of `source` can be made in `folder`, where it is tried; nothing is left."""
    probe = folder / f".{uuid4().hex}"
    try:
        _reflink(source, probe)
    except (LinkError, OSError):
        return False
    else:
        return True
    finally:
        probe.unlink(missing_ok=True)


def _hard_link_or_copy(source: Path, dest: Path) -> LinkMode:
    try:
        return _hard_link(source, dest)
    except NoMoreNames:
        raise
    except LinkError:
        return _copy(source, dest)


def _hard_link(source: Path | str, dest: Path | str) -> LinkMode:
    try:
        os.link(source, dest)
    except OSError as error:
        raise _ours(error, Path(dest), LinkMode.HARDLINK) from error
    return LinkMode.HARDLINK


def _reflink(source: Path, dest: Path) -> LinkMode:
    from reflink_copy import reflink

    try:
        reflink(source, dest)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        refusal = _ours(error, dest, LinkMode.REFLINK)
        raise LinkError(dest, LinkMode.REFLINK, str(error)) if refusal is error else refusal from error
    dest.chmod(0o666 & ~_umask())
    return LinkMode.REFLINK


def _copy(source: Path, dest: Path) -> LinkMode:
    with source.open("rb", buffering=0) as reader:
        return _write(dest, _chunks(reader))


def _write(dest: Path, chunks: Iterable[bytes]) -> LinkMode:
    try:
        writer = dest.open("xb")
        with _removed_unless_done(dest), writer:
            writer.writelines(chunks)
    except _ReadError:
        raise
    except OSError as error:
        raise _ours(error, dest, LinkMode.COPY) from error
    return LinkMode.COPY


@contextmanager
def _removed_unless_done(dest: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        dest.unlink(missing_ok=True)
        raise


def _chunks(reader: FileIO) -> Iterator[bytes]:
    """Yield the bytes of a file. Raise _ReadError, or whatever `blobs.checked` has asked for."""
    try:
        while chunk := reader.read(_CHUNK):
            check_now()
            yield chunk
    except OSError as error:
        raise _ReadError(error.errno, error.strerror, str(reader.name)) from error


def _ours(error: OSError, dest: Path, mode: LinkMode) -> Exception:
    """Return what an error means that came of making `dest`, which is itself where it means nothing more."""
    reason = error.strerror or str(error)
    match REFUSALS.get(error.errno or 0):
        case Refusal.NO_HARD_LINK if mode is not LinkMode.COPY:
            return LinkError(dest, mode, reason)
        case Refusal.NO_MORE_NAMES:
            return NoMoreNames(dest, mode, reason)
        case Refusal.NO_FILE | Refusal.NO_HARD_LINK:
            return DestinationError(dest, f"cannot be written ({reason})", "mend that or name another folder")
        case Refusal.NO_SPACE:
            return NoSpace.of(error, dest.parent)
        case Refusal.FAILING:
            return OSError(error.errno, reason, str(dest))
    return error


def _umask() -> int:
    """Return the umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
