"""The bytes: files named by their digest, written once, never modified."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from contextlib import contextmanager
from contextvars import ContextVar
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xxhash import xxh3_128

from cachestore.errors import RootUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALGORITHM = "xxh3-128"
_DIGEST = re.compile(rf"{ALGORITHM}:[0-9a-f]{{32}}")
_NAME = slice(len(f"{ALGORITHM}:"), None)
_CHUNK = 256 * 1024
_ROT = ".rot"
_DIGITS = 19  # of a time in nanoseconds, until the year 2286
_LONGEST_NAME = 255 - len("-") - _DIGITS  # bytes
# Whoever hashes or compares sits many calls below whoever can be cancelled, and is none of its business.
_CHECK: ContextVar[Callable[[], None]] = ContextVar("check", default=lambda: None)


class Witness(NamedTuple):
    """What the filesystem says of a file whose bytes are known; any difference means that they must be hashed again."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def witness_of(info: os.stat_result) -> Witness:
    """Return the witness in a stat result."""
    return Witness(info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


class BlobDigest:
    """A running digest of a body, fed while it is written."""

    def __init__(self) -> None:
        self._hash = xxh3_128()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add `data`."""
        self._hash.update(data)

    def hexdigest(self) -> str:
        """Return the digest so far, as it names blobs: ``xxh3-128:<32 hex>``."""
        return f"{ALGORITHM}:{self._hash.hexdigest()}"


def digest_of(content: bytes) -> str:
    """Return the digest of bytes in memory."""
    digest = BlobDigest()
    digest.update(content)
    return digest.hexdigest()


@contextmanager
def checked(check: Callable[[], None]) -> Iterator[None]:
    """Let `check` be called for every chunk that this thread hashes or compares in the block; it may raise to end that.

    No generator may yield within the block: its consumer would be checked, too.
    """
    token = _CHECK.set(check)
    try:
        yield
    finally:
        _CHECK.reset(token)


def check_now() -> None:
    """Call what `checked` was given, for who copies."""
    _CHECK.get()()


def hash_file(path: Path) -> str:
    """Return the digest of the bytes of the file at `path`."""
    digest = BlobDigest()
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    check = _CHECK.get()
    with _opened(path) as file, _named(path):
        while count := file.readinto(buffer):
            check()
            digest.update(view[:count])
    return digest.hexdigest()


def equal_bytes(one: Path, other: Path) -> bool:
    """Return whether two files hold the same bytes."""
    check = _CHECK.get()
    with _opened(one) as a, _opened(other) as b:
        while chunk := _read(a, one, _CHUNK):
            check()
            if chunk != _read(b, other, len(chunk)):
                return False
        return not _read(b, other, 1)


def is_file(info: os.stat_result | None) -> bool:
    """Return whether a stat result is that of a regular file."""
    return info is not None and stat.S_ISREG(info.st_mode)


def move_away(path: Path, name: str, folder: Path) -> Path:
    """Move a file into `folder` as ``<name>-<time in ns>`` and return its new path: its own times mean something else.

    The time is now. A name that is too long for that loses its end.
    """
    while len(os.fsencode(name)) > _LONGEST_NAME:
        name = name[:-1]
    return path.rename(folder / f"{name}-{time.time_ns():0{_DIGITS}}")


def moved_at(name: str) -> float | None:
    """Return when `move_away` gave a file this name, in Unix seconds, None when it did not."""
    number = name.rpartition("-")[2]
    return int(number) / 1e9 if number.isascii() and number.isdigit() and len(number) == _DIGITS else None


def is_rot(name: str) -> bool:
    """Return whether `Blobs.move` gave a file this name, and knew that nobody has written to it."""
    return name.rpartition("-")[0].endswith(_ROT)


def is_digest(value: object) -> bool:
    """Return whether `value` is written as digests are."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _opened(path: Path) -> FileIO:
    """Open a file to be read, but follow no symlink and wait for no pipe that somebody put in its place."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags))


def _read(file: FileIO, path: Path, size: int) -> bytes:
    with _named(path):
        return file.read(size)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an error of a file that is open say which file it is."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


class Blobs:
    """The folder of blobs: ``<algorithm>/ab/<rest>``. What a symlink would lead to is not among them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._prefix = f"{folder / ALGORITHM}{os.sep}"
        self._inner = slice(len(self._prefix), len(self._prefix) + len("ab"))
        self._seen: set[str] = set()

    def path(self, digest: str) -> Path:
        """Return where the blob of `digest` lies. Raise ValueError when it is no digest."""
        return Path(self.place(digest))

    def digest_of(self, place: str) -> str | None:
        """Return the digest that a path stands for, None when no blob can lie there."""
        digest = f"{ALGORITHM}:{place.removeprefix(self._prefix).replace(os.sep, '')}"
        return digest if is_digest(digest) and self._place(digest) == place else None

    def place(self, digest: str) -> str:
        """Return `path` as text: a million of them are looked at, and pathlib takes its time. Raise as `path`."""
        if not is_digest(digest):
            raise ValueError(f"{digest!r} is no digest")
        return self._place(digest)

    def _place(self, digest: str) -> str:
        name = digest[_NAME]
        return f"{self._prefix}{name[:2]}{os.sep}{name[2:]}"

    def publish(self, finished: Path, digest: str) -> os.stat_result:
        """Rename the finished file to the place of `digest`, read-only, and return its stat.

        The caller holds the store's lock and has seen that no blob is there. Raise RootUnusable as `make_room`.
        """
        place = self._made(digest)
        os.chmod(finished, 0o444)  # noqa: PTH101 - thousands of them
        os.rename(finished, place)  # noqa: PTH104
        return os.lstat(place)

    def make_room(self, digest: str) -> Path:
        """Return the place of `digest`, with the folders that lead to it. Raise RootUnusable when one of them is none.

        They are private, whatever the umask.
        """
        return Path(self._made(digest))

    def _made(self, digest: str) -> str:
        place = self.place(digest)
        try:
            self._make(place)
        except FileNotFoundError:  # somebody has removed what was there
            self._seen.clear()
            self._make(place)
        return place

    def _make(self, place: str) -> None:
        """Make the folders that lead to a place; of those that did, only the last is looked at again."""
        for folder in self._unseen(place):
            try:
                os.mkdir(folder, 0o700)  # noqa: PTH102 - once for each blob
            except FileExistsError:
                try:
                    self._check(folder)
                except NotADirectoryError:
                    raise self._unusable(folder) from None
        self._seen.add(place[self._inner])

    def stat(self, digest: str) -> os.stat_result | None:
        """Return the stat of the blob, None when it is missing.

        Raise RootUnusable when a symlink leads to its place: it is not followed, and what is behind it is not missing.
        """
        place = self.place(digest)
        try:
            self._reach(place)
            return os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remove(self, digest: str) -> None:
        """Unlink the blob; it may be gone already. Raise RootUnusable as `stat`, PermissionError if it is locked."""
        place = self.place(digest)
        try:
            self._reach(place)
            os.unlink(place)  # noqa: PTH108 - a million of them
        except (FileNotFoundError, NotADirectoryError):
            pass

    def _reach(self, place: str) -> None:
        """See that folders lead to a place, and no symlink; those that did are not looked at again.

        Raise FileNotFoundError, NotADirectoryError or RootUnusable.
        """
        if place[self._inner] not in self._seen:
            for folder in self._unseen(place):
                self._check(folder)
            self._seen.add(place[self._inner])

    def _check(self, folder: str) -> None:
        """Raise RootUnusable for a symlink, else NotADirectoryError for what is no folder."""
        mode = os.lstat(folder).st_mode
        if stat.S_ISLNK(mode):
            raise self._unusable(folder)
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)

    def _unusable(self, folder: str) -> RootUnusable:
        name = os.path.relpath(folder, self._folder.parent)
        return RootUnusable(self._folder.parent, f"{name} is no folder", "run: cachestore repair")

    def _unseen(self, place: str) -> tuple[str, ...]:
        """Return the folders that lead to a place, without the outer one if that did before."""
        inner = place[: self._inner.stop]
        return (inner,) if self._seen else (self._prefix[:-1], inner)

    def move(self, digest: str, folder: Path, *, is_rot: bool = False) -> Path:
        """Move whatever lies in the place of `digest` into `folder`, and return its path there, which says when.

        It also says whether `is_rot`: then nobody has written to the file.
        """
        return move_away(self.path(digest), digest[_NAME] + (_ROT if is_rot else ""), folder)

    def iterate(self) -> Iterator[str]:
        """Yield the path of every file below the folder, also of those that are no blobs."""
        for parent, _, names in os.walk(self._folder):
            for name in names:
                yield f"{parent}{os.sep}{name}"
