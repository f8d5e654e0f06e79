"""Commands that are killed at a chosen point of their work, and scenes that are put back to try the next one.

A point is a moment right before something may change on the disk: a file opened for writing, written to, renamed,
linked, removed, ..., or a statement to SQLite that is no question. The moment after a change is that before the next.
`run_to(point, arguments, home, env)` kills the command there; with `NEVER` it runs to its end and `points` are counted.

`Scene(home)` keeps a home folder as it is when it is made; `scene.restore()` puts it back under the same path.

Every process that is killed imports this file: nothing heavy may be imported here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tests import forks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

NEVER = 0
IN_FULL = bool(os.environ.get("CACHESTORE_TESTS_IN_FULL"))  # read before conftest.py clears what begins so
_PATIENCE = 60.0
_VERBS = ("rename", "remove", "link", "symlink", "mkdir", "rmdir", "chmod", "truncate", "utime")
_CHANGES = {f"os.{verb}" for verb in _VERBS}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a command: `code` is -9 when it was killed, at what `place`; else `points` is how many it has."""

    code: int
    told: str
    place: str
    points: int


def run_to(point: int, arguments: Sequence[str], home: Path, env: Mapping[str, str]) -> Attempt:
    """Run a command until it reaches its `point`-th point, counted from 1, and kill it there."""
    with TemporaryDirectory() as scratch:
        streams = [Path(scratch, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].touch()
        log = Path(scratch, "log")
        process = forks._server().Process(target=_live_until, args=(point, log, [*arguments], home, dict(env), streams))
        process.start()
        process.join(_PATIENCE)
        assert process.exitcode is not None, f"{arguments} hangs at point {point}"
        code = process.exitcode
        process.close()
        count, _, place = log.read_text().partition(" ")
        return Attempt(code, streams[1].read_text() + streams[2].read_text(), place, int(count))


def _live_until(
    point: int, log: Path, arguments: list[str], home: Path, env: dict[str, str], streams: list[Path]
) -> None:
    clock = _Points(home, point, os.open(log, os.O_WRONLY | os.O_CREAT))
    sqlite3.connect = clock.connecting(sqlite3.connect)  # type: ignore[assignment]
    sys.addaudithook(clock.audit)
    threading.setprofile(clock.profile)
    sys.setprofile(clock.profile)
    try:
        forks._become(arguments, home, env, streams)
    finally:
        os.write(clock.log, str(clock.count).encode())


class _Points:
    """Count points that concern `home`, and end the process at the last of them."""

    def __init__(self, home: Path, last: int, log: int) -> None:
        self.count = 0
        self.log = log
        self._home = str(home)
        self._last = last
        self._lock = threading.Lock()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and arguments[2] & _WRITING):
            concerned = [str(path) for path in arguments if self._concerns(path)]
            if concerned:
                self._reach(f"{event} {' '.join(concerned)}")

    def profile(self, frame: FrameType, event: str, called: Any) -> None:  # noqa: ANN401 - whatever is called
        if event == "c_call" and called.__name__ == "write" and self._concerns(getattr(called.__self__, "name", None)):
            self._reach(f"write {called.__self__.name}")

    def connecting(self, connect: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
        """Return `connect` with connections that come by here before they change anything."""
        reach = self._reach

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401 - as its parent
                if not sql.lstrip().startswith(("SELECT", "EXPLAIN", "PRAGMA")):
                    reach(" ".join(sql.split())[:60])
                return super().execute(sql, *parameters)

            def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:  # noqa: ANN401 - as its parent
                return super().executemany(sql, (reach(" ".join(sql.split())[:60]) or row for row in rows))

        return lambda *arguments, **options: connect(*arguments, **({"factory": Connection} | options))

    def _concerns(self, path: object) -> bool:
        """Return whether a path is in the home folder; what is relative is so to a folder that is being removed."""
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        text = os.fsdecode(path)
        return text.startswith(self._home) or not Path(text).is_absolute()

    def _reach(self, place: str) -> None:
        with self._lock:
            self.count += 1
            if self.count == self._last:
                os.write(self.log, f"{self.count} {place}".encode())
                os.kill(os.getpid(), signal.SIGKILL)


class Scene:
    """A home folder as it was when this was made."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._kept = home.with_name("kept")
        home.rename(self._kept)

    def restore(self) -> None:
        """Put everything back: the same paths, modes, times and hard links, and rows that fit the new inodes."""
        shutil.rmtree(self._home, ignore_errors=True)
        twins: dict[int, str] = {}

        def copy(source: str, dest: str) -> str:
            first = twins.setdefault(Path(source).stat().st_ino, dest)
            if first == dest:
                return shutil.copy2(source, dest)
            os.link(first, dest)
            return dest

        shutil.copytree(self._kept, self._home, copy_function=copy, symlinks=True)
        if (self._home / "store" / "index-v1").exists():
            _settle(self._kept / "store", self._home / "store")


def _settle(kept: Path, root: Path) -> None:
    """Give each blob that has the witness of its row in `kept` a row with its witness in `root`, which is no copy."""
    with closing(sqlite3.connect(root / "index-v1" / "cache.db", isolation_level=None)) as database:
        for key, value in database.execute("SELECT key, value FROM Cache WHERE key LIKE 'b:%'").fetchall():
            name, row = key.removeprefix("b:xxh3-128:"), json.loads(value)
            place = Path("blobs-v1", "xxh3-128", name[:2], name[2:])
            if (root / place).exists() and row["witness"] == _witness(kept / place):
                settled = json.dumps(row | {"witness": _witness(root / place)}, separators=(",", ":"))
                database.execute("UPDATE Cache SET value = ? WHERE key = ?", [settled, key])
        for (value,) in database.execute("SELECT value FROM Cache WHERE key = 'meta'").fetchall():
            home = [*json.loads(value)["home"][:2], root.stat().st_ino]
            database.execute(
                "UPDATE Cache SET value = ? WHERE key = 'meta'", [json.dumps(json.loads(value) | {"home": home})]
            )


def _witness(path: Path) -> list[int]:
    info = path.stat()
    return [info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]
