"""Commands to which the system refuses something: a call fails with an errno where it concerns a certain path.

`Refusal("link", errno.EXDEV, "/media/")` lets os.link fail for every file below a folder ``media``; a ``read`` or
``write`` fails once the file is open. The "statement" of a refusal is SQL and its errno a result code of SQLite. What a
refusal says is what Python says of the errno, so nothing but the system is made up.
"""

from __future__ import annotations

import io
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tests import forks
from tests.stranger import Ran

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stranger import Stranger

_PATIENCE = 60.0
_MODES = {"read": "r", "write": "wxa+"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which call fails, how, and for which paths: those in which `where` occurs."""

    call: str
    number: int
    where: str = ""

    def begin(self) -> None:
        """Let the call fail from now on, in this process."""
        if self.call == "statement":
            sqlite3.connect = self._connecting(sqlite3.connect)  # type: ignore[assignment]
        elif self.call in _MODES:
            self._fail_when_open()
        else:
            setattr(os, self.call, self._failing(getattr(os, self.call)))

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - those of any call
            self._fail_if_concerned(*(argument for argument in arguments if isinstance(argument, (str, os.PathLike))))
            return call(*arguments, **options)

        return failing

    def _fail_if_concerned(self, *paths: object) -> None:
        if any(self.where in str(path) for path in paths):
            raise OSError(self.number, os.strerror(self.number), *map(str, paths[:1]))

    def _fail_when_open(self) -> None:
        """Let what is read from open files, or written to them, fail; as there, the error names no file."""
        refusal = self

        class Unreadable(io.FileIO):
            def readinto(self, *_: Any) -> int:  # noqa: ANN401
                raise OSError(refusal.number, os.strerror(refusal.number))

            read = readall = readinto  # type: ignore[assignment]

        class Unwritable(io.FileIO):
            def write(self, *_: Any) -> int:  # noqa: ANN401
                raise OSError(refusal.number, os.strerror(refusal.number))

        opened = Path.open

        def opening(path: Path, mode: str = "r", buffering: int = -1, **options: Any) -> Any:  # noqa: ANN401
            if refusal.where not in str(path) or not set(_MODES[refusal.call]) & set(mode):
                return opened(path, mode, buffering, **options)
            kind: type[io.FileIO] = Unreadable if refusal.call == "read" else Unwritable
            raw = kind(path, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            buffered = io.BufferedReader(raw) if refusal.call == "read" else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered)

        Path.open = opening  # type: ignore[assignment,method-assign]
        if self.call == "read":
            self._fail_where_blobs_are_read(Unreadable)

    def _fail_where_blobs_are_read(self, unreadable: type[io.FileIO]) -> None:
        from cachestore import blobs

        opened = blobs._opened
        blobs._opened = lambda path: unreadable(path) if self.where in str(path) else opened(path)

    def _connecting(self, connect: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
        refusal = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401
                if sql.lstrip().startswith(refusal.where):
                    error = sqlite3.OperationalError("it is refused")
                    error.sqlite_errorcode = refusal.number
                    raise error
                return super().execute(sql, *parameters)

        return lambda *arguments, **options: connect(*arguments, **({"factory": Connection} | options))


def run_refused(stranger: Stranger, refusal: Refusal, *arguments: str, code: int) -> Ran:
    """Run a command with a refusal; as ever, it shows no traceback, and says something when it fails."""
    with TemporaryDirectory() as scratch:
        streams = [Path(scratch, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].touch()
        environment = os.environ | stranger.environment
        target = (refusal, [*arguments], stranger.home, dict(environment), streams)
        process = forks._server().Process(target=_refused, args=target)
        process.start()
        process.join(_PATIENCE)
        ran = Ran(process.exitcode if process.exitcode is not None else -1, *(path.read_text() for path in streams[1:]))
    told = f"{ran.out}{ran.err}"
    assert ran.code == code, told
    assert "Traceback" not in told, told
    assert "internal error" not in told, told
    assert not code or ran.err or ran.out, told
    return ran


def _refused(refusal: Refusal, arguments: list[str], home: Path, env: dict[str, str], streams: list[Path]) -> None:
    refusal.begin()
    forks._become(arguments, home, env, streams)
