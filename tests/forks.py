"""Commands in processes of their own that need no start of Python: forks of a server that has imported everything.

`run(arguments, ...)` is what ``subprocess.run([sys.executable, "-m", "cachestore", *arguments])`` would be, several
times as fast. A process that must be started for good (by a signal's test, or with a PYTHONPATH) is not for here.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import sys
import threading
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.context import ForkServerContext

PRELOADED = [
    "cachestore.__main__",
    "cachestore.cli.main",
    "cachestore.cache",
    "cachestore.verify",
    "cachestore.prune",
    "cachestore.download",
    "cachestore.sources.subsonic.source",
    "exporter_plugin.export",
    "httpx",
    "diskcache",
    "rich.progress",
]
_PATIENCE = 60.0
_STARTING = threading.Lock()


def run(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str = "") -> tuple[int, str, str]:
    """Run a command to its end and return its exit code, stdout and stderr."""
    with TemporaryDirectory() as scratch:
        streams = [Path(scratch, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].write_text(stdin)
        process = _server().Process(target=_become, args=([*arguments], cwd, dict(env), streams))
        with _STARTING:
            process.start()
            # Whoever starts the next one would look after this one, too, and take its exit code from whom it is for.
            multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]
        process.join(_PATIENCE)
        process.kill()
        process.join()
        code = process.exitcode
        process.close()
        return code if code is not None else -1, streams[1].read_text(), streams[2].read_text()


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _become(arguments: list[str], cwd: Path, env: dict[str, str], streams: list[Path]) -> None:
    """Be the command from here on."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["cachestore", *arguments]
    modes = [os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT]
    for number, (stream, mode) in enumerate(zip(streams, modes, strict=True)):
        os.dup2(os.open(stream, mode), number)
    sys.stdin = open(0)  # noqa: SIM115 - the three of them end with the process
    sys.stdout = open(1, "w")  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1)  # noqa: SIM115
    from cachestore.__main__ import main

    sys.exit(main())
