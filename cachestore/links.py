"""One file, one more name: hard link, reflink or copy."""

from __future__ import annotations

import errno
import os
import shutil
from enum import StrEnum
from typing import TYPE_CHECKING

from cachestore.errors import LinkError, NoSpace, is_full

if TYPE_CHECKING:
    from pathlib import Path

# A hard link is not possible, though a copy may be: another volume, a filesystem without links, a foreign owner under
# fs.protected_hardlinks, or a file that already has all the names it can have.
_NO_HARD_LINK = frozenset(
    {
        errno.EXDEV,
        errno.EPERM,
        errno.EACCES,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.ENOSYS,
        errno.EINVAL,
        errno.EMLINK,
    }
)


class LinkMode(StrEnum):
    """How a file gets its other name; AUTO is a hard link where possible, else a copy."""

    AUTO = "auto"
    HARDLINK = "hardlink"
    REFLINK = "reflink"
    COPY = "copy"


def link(source: Path, dest: Path, mode: LinkMode) -> LinkMode:
    """Give `source` the name `dest` and return the mode used, never AUTO.

    An existing `dest` is never overwritten (FileExistsError). Modes other than AUTO are strict: LinkError when the
    filesystem refuses. NoSpace when the disk is full; a copy that was begun is removed.
    """
    match mode:
        case LinkMode.AUTO:
            return _hard_link_or_copy(source, dest)
        case LinkMode.HARDLINK:
            return _hard_link(source, dest)
        case LinkMode.REFLINK:
            return _reflink(source, dest)
        case LinkMode.COPY:
            return _copy(source, dest)


def copy_private(source: Path, dest: Path) -> LinkMode:
    """Give `dest` the bytes of a user's file, as a file of its own: reflink, else copy. Errors as `link`."""
    try:
        return _reflink(source, dest)
    except LinkError:
        return _copy(source, dest)


def _hard_link_or_copy(source: Path, dest: Path) -> LinkMode:
    try:
        return _hard_link(source, dest)
    except LinkError:
        return _copy(source, dest)


def _hard_link(source: Path, dest: Path) -> LinkMode:
    try:
        os.link(source, dest)
    except OSError as error:
        if error.errno in _NO_HARD_LINK:
            raise LinkError(dest, LinkMode.HARDLINK, os.strerror(error.errno)) from error
        raise _no_space(error, dest) from error
    return LinkMode.HARDLINK


def _reflink(source: Path, dest: Path) -> LinkMode:
    from reflink_copy import reflink

    try:
        reflink(source, dest)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        raise LinkError(dest, LinkMode.REFLINK, str(error)) from error
    dest.chmod(0o666 & ~_umask())
    return LinkMode.REFLINK


def _copy(source: Path, dest: Path) -> LinkMode:
    with source.open("rb") as reader:
        writer = dest.open("xb")
        try:
            with writer:
                shutil.copyfileobj(reader, writer, 1024 * 1024)
        except BaseException as error:
            dest.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise _no_space(error, dest) from error
            raise
    return LinkMode.COPY


def _no_space(error: OSError, dest: Path) -> Exception:
    return NoSpace(dest.parent) if is_full(error) else error


def _umask() -> int:
    """Return the umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
