"""What a folder can do, found out by trying it."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cachestore.errors import LinkError
from cachestore.links import LinkMode, link

# SQLite's shared-memory index does not work on these.
_NETWORK = re.compile(
    r"9p|k?afs|afpfs|beegfs|ceph|cifs|davfs|glusterfs|lustre|nfs4?|smb2|smb3|smbfs|virtiofs|fuse\.(glusterfs|rclone|sshfs)"
)


@dataclass(frozen=True, slots=True)
class Links:
    """Which links work between two folders."""

    hard: bool
    reflink: bool


def nearest_folder(path: Path) -> Path:
    """Return `path`, or the nearest folder above it that is there and can be seen."""
    folders = (path, *path.parents)
    return next(folder for folder in folders if os.path.isdir(folder))  # noqa: PTH112 - Path.is_dir raises on EACCES


def free_bytes(path: Path) -> int:
    """Return how many bytes a person may still write at `path`."""
    return shutil.disk_usage(path).free


def probe_links(source: Path, dest: Path) -> Links:
    """Try real links from folder `source` into folder `dest`, and leave nothing. Raise OSError without a right to."""
    with ExitStack() as stack:
        ours, theirs = (Path(stack.enter_context(_scratch(folder))) for folder in (source, dest))
        file = ours / "probe"
        file.write_bytes(b"cachestore")
        return Links(_works(file, theirs / "hard", LinkMode.HARDLINK), _works(file, theirs / "ref", LinkMode.REFLINK))


def network_filesystem(path: Path) -> str | None:
    """Return the type of the network filesystem that `path` is on; None when it is local or cannot be told."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    kind = _filesystem(mounts, path.resolve())
    return kind if kind and _NETWORK.fullmatch(kind) else None


def _scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=".cachestore-probe-", dir=folder)


def _works(source: Path, dest: Path, mode: LinkMode) -> bool:
    try:
        link(source, dest, mode)
    except LinkError:
        return False
    return True


def _filesystem(mounts: str, path: Path) -> str | None:
    """Return the filesystem type of the deepest mount above `path`; later mounts cover earlier ones (proc(5))."""
    kinds: dict[Path, str] = {}
    for line in mounts.splitlines():
        head, _, tail = line.partition(" - ")
        mount_point = head.split(" ")[4].encode().decode("unicode_escape")
        kinds[Path(mount_point)] = tail.split(" ")[0]
    return next((kinds[folder] for folder in (path, *path.parents) if folder in kinds), None)
