"""ROOT: its layout on disk, whether it can be trusted, its format version, and what files cost its disk."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cachestore.errors import IndexDamaged, NoSpace, RootMissing, RootTooNew, RootUnusable, is_full

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

T = TypeVar("T")

BALLAST = 4_000_000

_SETTLING = 60.0  # seconds
_FORMATS = {"index": 1, "blobs": 1, "partials": 1, "quarantine": 1, "runs": 1}
_FORMAT_FOLDER = re.compile(r"(index|blobs|partials|quarantine|runs)-v(\d+)")
_CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of downloaded audio, see https://bford.info/cachedir/\n"
)


@dataclass(frozen=True, slots=True)
class Root:
    """The folders of one store. All lie on one filesystem, so links and renames between them are atomic."""

    path: Path

    @property
    def index(self) -> Path:
        """Return the folder that diskcache owns alone."""
        return self._folder("index")

    @property
    def blobs(self) -> Path:
        """Return the folder of blobs."""
        return self._folder("blobs")

    @property
    def partials(self) -> Path:
        """Return the folder of unfinished downloads."""
        return self._folder("partials")

    @property
    def quarantine(self) -> Path:
        """Return the folder of files that were found broken."""
        return self._folder("quarantine")

    @property
    def runs(self) -> Path:
        """Return the folder of the lock files of runs."""
        return self._folder("runs")

    @property
    def tag(self) -> Path:
        """Return the file that tells backup tools to leave ROOT out; it is made with ROOT and never changed."""
        return self.path / "CACHEDIR.TAG"

    @property
    def ballast(self) -> Path:
        """Return the file that keeps a little of the disk back, for `prune` to begin with when the disk is full."""
        return self.path / "ballast"

    @property
    def device(self) -> int:
        """Return the filesystem that all of it is on, as stat calls it."""
        return self.path.stat().st_dev

    def _folder(self, name: str) -> Path:
        return self.path / f"{name}-v{_FORMATS[name]}"


def create_root(path: Path) -> Root:
    """Return the ROOT at `path`, made if it is not there. Raise RootUnusable or RootTooNew."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        root = _trusted(path)
        refuse_foreign_content(path)
        for folder in (root.blobs, root.partials, root.quarantine, root.runs, root.index):
            folder.mkdir(mode=0o700, exist_ok=True)
        if not os.path.lexists(root.tag):
            with suppress(PermissionError):  # a filesystem without modes
                path.chmod(0o700)
            root.tag.write_text(_CACHEDIR_TAG)
            load_ballast(root)
    except FileExistsError:
        raise RootUnusable(path, "it is a file", "name a folder with --root") from None
    except OSError as error:
        if is_full(error):
            raise NoSpace.of(error, path) from None
        problem = f"it cannot be written ({error.strerror})"
        raise RootUnusable(path, problem, "mend its permissions or name another with --root") from None
    return root


def existing_root(path: Path) -> Root:
    """Return the ROOT at `path` and write nothing. Raise RootMissing, RootUnusable or RootTooNew."""
    try:
        root = _trusted(path)
        if not (root.index.is_dir() or root.blobs.is_dir()):
            raise RootMissing(path)
    except (FileNotFoundError, NotADirectoryError):
        raise RootMissing(path) from None
    except OSError as error:
        problem = f"it cannot be read ({error.strerror})"
        raise RootUnusable(path, problem, "run as its owner or name another with --root") from None
    return root


def load_ballast(root: Root) -> None:
    """Keep `BALLAST` bytes of the disk back, unless it has no room for that."""
    # Neither a symlink is followed, nor a pipe waited for, that somebody put in its place.
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        file = os.open(root.ballast, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | careful, 0o600)
        with open(file, "wb") as ballast:  # noqa: PTH123 - a descriptor
            _allocate(ballast)
    except OSError:
        drop_ballast(root)


def _allocate(ballast: BinaryIO) -> None:
    """Give a file its bytes on the disk; by writing where they cannot be asked for."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(ballast.fileno(), 0, BALLAST)
    elif os.fstat(ballast.fileno()).st_size < BALLAST:
        ballast.write(os.urandom(BALLAST))  # a filesystem that compresses would keep nothing back for zeros


def free_bytes(root: Root) -> int:
    """Return how many bytes the disk has left for blobs: not those that the ballast is to have."""
    import shutil  # it takes all that can pack files with it

    return shutil.disk_usage(root.path).free - (0 if root.ballast.exists() else BALLAST)


def cost_of_file(info: os.stat_result) -> int:
    """Return the bytes of disk that a file costs.

    One that was just written may have no blocks yet, and costs what it is long: ZFS counts some seconds later.
    """
    cost = info.st_blocks * 512
    return max(cost, info.st_size) if time.time() - info.st_mtime < _SETTLING else cost


def drop_ballast(root: Root) -> bool:
    """Give up what was kept back, and return whether there was anything."""
    try:
        root.ballast.unlink()
    except OSError:
        return False
    return True


def giving_up_ballast(root: Root, attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns; when the disk is full, give up the ballast and try once more.

    Of some writes that find no space SQLite says no more than that the disk failed: those are tried again, too.
    """
    try:
        return attempt()
    except (NoSpace, IndexDamaged):
        if not drop_ballast(root):
            raise
    except OSError as error:
        if not (is_full(error) or error.errno == errno.EIO) or not drop_ballast(root):
            raise
    return attempt()


def _trusted(path: Path) -> Root:
    """Return the ROOT at `path`, which nobody else can write into, and from which no symlink leads away."""
    info = path.stat()
    if not stat.S_ISDIR(info.st_mode):
        raise RootUnusable(path, "it is a file", "name a folder with --root")
    _refuse_shared(path, path, info)
    for name in os.listdir(path):
        match = _FORMAT_FOLDER.fullmatch(name)
        if match and int(match[2]) > _FORMATS[match[1]]:
            raise RootTooNew(path, name)
        if match:
            _refuse_elsewhere(path, path / name, info.st_dev)
    root = Root(path)
    if root.index.is_dir():
        _refuse_links(path, root.index)
    return root


def _refuse_shared(root: Path, folder: Path, info: os.stat_result) -> None:
    """Refuse a folder that others can change. Below one that they cannot, they can change nothing."""
    name = "it" if folder == root else folder.name
    if hasattr(os, "geteuid") and info.st_uid != os.geteuid():
        problem = f"{name} belongs to user {info.st_uid} and you are {os.geteuid()}"
        raise RootUnusable(root, problem, "run as its owner or name another with --root")
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RootUnusable(root, f"others may write into {name}", f"run: chmod 700 {folder}")


def _refuse_elsewhere(root: Path, folder: Path, device: int) -> None:
    """Refuse a folder that a symlink or mount leads away: links and renames must stay on one filesystem."""
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise RootUnusable(root, f"{folder.name} is no folder", "move it away and run: cachestore repair")
    if info.st_dev != device:
        remedy = "move the store as a whole and name it with --root"
        raise RootUnusable(root, f"{folder.name} is no folder of its own filesystem", remedy)
    _refuse_shared(root, folder, info)


def _refuse_links(root: Path, folder: Path) -> None:
    """Refuse a database that is elsewhere: SQLite would follow a symlink."""
    with os.scandir(folder) as files:
        for file in files:
            if file.is_symlink():
                remedy = "move it away and run: cachestore repair"
                raise RootUnusable(root, f"{folder.name}/{file.name} is a symbolic link", remedy)


def refuse_foreign_content(path: Path) -> None:
    """Raise RootUnusable for a folder of somebody else's files, in which no store is made."""
    names = set(os.listdir(path)) if path.is_dir() else set()
    if names and "CACHEDIR.TAG" not in names and not any(_FORMAT_FOLDER.fullmatch(name) for name in names):
        raise RootUnusable(path, "it is a folder with other files", "name an empty or new folder with --root")
