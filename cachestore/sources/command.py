"""Running a program that a person configured: without a shell, bounded in time and output, ended by a cancel."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import IO, TYPE_CHECKING, TypeVar

from cachestore.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_T = TypeVar("_T")
_TICK = 0.1  # seconds
LARGEST_OUTPUT = 64_000


class CommandFailed(Exception):
    """A program brought nothing of use; `reason` goes on after its name in a sentence, with nothing of its output."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def output_of(
    command: Sequence[str], environ: Mapping[str, str], *, timeout: float, raise_if_over: Callable[[], None]
) -> bytes:
    """Return what `command` prints within `timeout` seconds; it reads nothing, and what it says as errors is dropped.

    Raise CommandFailed, what `raise_if_over` raises (it is called every tenth of a second), and OSError or
    ValueError when the program does not start.
    """

    def patiently(wait: Callable[[float], _T]) -> _T:
        while True:
            raise_if_over()
            try:
                return wait(_TICK)
            except (TimeoutError, subprocess.TimeoutExpired):
                if time.monotonic() >= deadline:
                    raise CommandFailed(f"did not end within {timeout:g} seconds") from None

    raise_if_over()
    deadline = time.monotonic() + timeout
    process = _start(command, environ)
    try:
        output = patiently(_reading(process.stdout).result)
        code = patiently(process.wait)
    except BaseException:
        _kill(process)
        raise
    if code != 0:
        raise CommandFailed(f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}")
    return output


def _start(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - running what the person's own configuration says is the purpose
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # A group of its own can be killed with all that it starts, and a prompt on the terminal fails at once.
        start_new_session=True,
    )


def _reading(stream: IO[bytes] | None) -> Future[bytes]:
    """Read on a daemon thread: nothing interrupts a read, and what a program leaves running may keep its pipe open."""
    output: Future[bytes] = Future()

    def read(stream: IO[bytes]) -> None:
        with stream:
            content = stream.read(LARGEST_OUTPUT + 1)
        if len(content) > LARGEST_OUTPUT:
            output.set_exception(CommandFailed(f"printed more than {format_size(LARGEST_OUTPUT)}"))
        else:
            output.set_result(content)

    Thread(target=read, args=(stream,), name="credential command", daemon=True).start()
    return output


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it started; one of another user, such as sudo, is left alone."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
