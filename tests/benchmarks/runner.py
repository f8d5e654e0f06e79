"""Measure rows: all contenders of a row take turns, so that what else the machine does falls on each."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.benchmarks import cold, growth, startup, store, warm
from tests.benchmarks.figures import Figures, RowFigures
from tests.benchmarks.measure import NotDoneError, run
from tests.benchmarks.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.benchmarks.case import Contender, Row
    from tests.benchmarks.scale import Scale

ROWS: Mapping[str, Callable[[Workplace], Row]] = {
    **cold.ROWS,
    **warm.ROWS,
    **store.ROWS,
    **startup.ROWS,
    **growth.ROWS,
}


def measured(name: str, scale: Scale, rounds: int, *, cache: Path | None, folder: Path | None = None) -> RowFigures:
    """Measure one row in a folder that is removed afterwards; without `cache` no peer is installed."""
    with TemporaryDirectory(prefix="benchmarks-", dir=folder, ignore_cleanup_errors=True) as scratch:
        (Path(scratch) / "work").mkdir()
        with Workplace(Path(scratch) / "work", scale, cache) as work:
            row = ROWS[name](work)
            _tell(f"\n{name}: {row.title}")
            return _measured(row, scale, rounds, Path(scratch))


def _measured(row: Row, scale: Scale, rounds: int, scratch: Path) -> RowFigures:
    figures = {contender.name: _prepared(contender) for contender in row.contenders}
    load = []
    for number in range(rounds):
        load.append(round(os.getloadavg()[0], 1))
        for contender in _turned(row.contenders, number):
            if not figures[contender.name].failed:
                _run_once(contender, figures[contender.name], scratch)
    return RowFigures(
        title=row.title,
        goal=row.goal,
        base=row.base,
        by=row.by,
        limit=row.limit,
        files=row.files,
        size=row.size,
        scale=scale.name,
        date=time.strftime("%Y-%m-%d"),
        rounds=rounds,
        load=load,
        contenders=list(figures.values()),
    )


def _turned(contenders: Sequence[Contender], number: int) -> Sequence[Contender]:
    """Let another one begin each round."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def _prepared(contender: Contender) -> Figures:
    missing = contender.peer.missing()
    version = "" if missing else contender.peer.version()
    peer, failed = contender.peer.name, missing and f"missing: {missing}"
    return Figures(contender.name, peer, contender.leaves_out, contender.kind, version, failed)


def _run_once(contender: Contender, figures: Figures, scratch: Path) -> None:
    place = scratch / "place"
    place.mkdir()
    try:
        spent = run(contender.start(place), scratch)
    except (NotDoneError, OSError, ValueError, CalledProcessError) as error:
        figures.failed = f"failed: {error}"[:160]
        _tell(f"  {contender.name:22} {figures.failed}")
        return
    finally:
        _put_aside(place)
    for by in ("wall", "cpu", "rss"):
        getattr(figures, by).append(round(getattr(spent, by), 4))
    if spent.inner is not None:
        figures.inner.append(round(spent.inner, 4))
    _tell(f"  {contender.name:22} {spent.wall:8.3f} s {spent.cpu:8.3f} CPU s {spent.rss:6.0f} MB")


def _put_aside(place: Path) -> None:
    """Empty the files of a run, but keep them until the row is done.

    For a minute, ext4 gives nobody the inode of a file that was removed, and goes past all of them for each new file:
    who comes after a run that was cleared away would pay for that, several times what its own files cost.
    """
    for parent, _, names in os.walk(place):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink() and path.stat().st_nlink == 1:  # no link to what others need
                path.chmod(0o600)
                os.truncate(path, 0)
    place.rename(place.with_name(f"done-{time.monotonic_ns()}"))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def machine(folder: Path | None) -> dict[str, str]:
    """Return what of the machine matters to figures."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{os.cpu_count()} x {cpu[0].partition(':')[2].strip() if cpu else platform.machine()}",
        "memory": f"{memory:.0f} GiB",
        "filesystem": _filesystem(folder),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _filesystem(folder: Path | None) -> str:
    """Return the kind of filesystem where rows are measured."""
    with TemporaryDirectory(dir=folder) as scratch:
        place = os.path.realpath(scratch)
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(where, kind) for where, kind in mounts if f"{place}/".startswith(where.rstrip("/") + "/")]
    return max(above, key=lambda mount: len(mount[0]))[1]
