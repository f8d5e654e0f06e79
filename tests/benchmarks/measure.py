"""What one run of a command takes: wall and CPU seconds, peak memory, and what it says of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LAUNCHER = Path(__file__).with_name("launch.py")
_PATIENCE = 900.0
# Programs of tests/benchmarks/programs print this and the seconds of their work without start-up, as their last line.
_INNER = "inner "


class NotDoneError(Exception):
    """A contender did not do its work; the reason is for the page."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is timed. `proof` raises NotDoneError unless the work was done; it is not timed."""

    argv: tuple[str, ...]
    proof: Callable[[], None] = lambda: None
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run took: seconds, CPU seconds, megabytes; `inner` are the seconds in process, without start-up."""

    wall: float
    cpu: float
    rss: float
    inner: float | None = None

    def as_json(self) -> dict[str, float | None]:
        """Return the figures as they are kept."""
        return asdict(self)


def run(command: Command, scratch: Path) -> Spent:
    """Run a command once and return what it took. Raise NotDoneError if it failed."""
    out, err = scratch / "stdout", scratch / "stderr"
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(out), str(err), *command.argv]
    wall, cpu, kilobytes, code = _output(launcher, command).split()
    if code != "0":
        last = err.read_text(errors="replace").strip().splitlines()[-1:]
        raise NotDoneError(f"exit code {code}: {''.join(last)[:100]}")
    command.proof()
    return Spent(float(wall), float(cpu), int(kilobytes) / 1024, _inner(out))


def _output(launcher: list[str], command: Command) -> str:
    process = subprocess.Popen(
        launcher,
        cwd=command.cwd,
        env=os.environ | command.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=_PATIENCE)[0] or "0 0 0 nothing"
    except subprocess.TimeoutExpired:
        raise NotDoneError(f"not done after {_PATIENCE:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _inner(stdout: Path) -> float | None:
    last = stdout.read_text(errors="replace").splitlines()[-1:]
    return float(last[0].removeprefix(_INNER)) if last and last[0].startswith(_INNER) else None
