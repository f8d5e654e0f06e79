"""What a command takes that has next to nothing to do."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from tests.benchmarks.case import Contender, Row
from tests.benchmarks.filled import Filled, filled
from tests.benchmarks.measure import Command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.workplace import Workplace


class Starting:
    """Commands that only say something."""

    def __init__(self, work: Workplace) -> None:
        self._work = work

    @cached_property
    def store(self) -> Filled:
        """A store for `info`."""
        return filled(self._work, self._work.folder / "info", self._work.scale.entries)

    def version(self, _: Path) -> Command:
        """`cachestore --version`."""
        return Command(self._work.ours.command("--version"))

    def info(self, _: Path) -> Command:
        """`cachestore info`."""
        return Command(self._work.ours.command(*self.store.options, "info"))

    def nothing(self, _: Path) -> Command:
        """Python alone."""
        return Command((str(self._work.ours.python), "-c", "pass"))

    def click(self, _: Path) -> Command:
        """Python with the package that reads our command line."""
        return Command((str(self._work.ours.python), "-c", "import click"))

    def uv(self, _: Path) -> Command:
        """`uv cache dir`, which is Rust."""
        return Command((str(self._work.package("uv").bin / "uv"), "cache", "dir"))

    def ccache(self, place: Path) -> Command:
        """`ccache -s`, which is C++."""
        return Command(("ccache", "-s"), env={"CCACHE_DIR": str(place)})

    def dvc(self, place: Path) -> Command:
        """`dvc --version`."""
        return Command((str(self._work.package("dvc").bin / "dvc"), "--version"), cwd=place)

    def hub(self, place: Path) -> Command:
        """`hf cache ls` of an empty cache."""
        (place / "hub").mkdir()
        environment = {"HF_HOME": str(place), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
        return Command((str(self._work.package("huggingface_hub").bin / "hf"), "cache", "ls"), env=environment)


def _common(work: Workplace, do: Starting) -> tuple[Contender, ...]:
    return (
        Contender("import click", work.python, do.click, kind="bare"),
        Contender("python -c pass", work.python, do.nothing, kind="bare"),
    )


def version(work: Workplace) -> Row:
    """The least that any command takes."""
    do = Starting(work)
    return Row(
        title="Start-up: --version",
        limit=1.3,
        base="import click",
        contenders=(
            Contender("cachestore", work.ours, do.version, kind="ours"),
            *_common(work, do),
            Contender("dvc --version", work.package("dvc"), do.dvc),
        ),
        files=1,
    )


def info(work: Workplace) -> Row:
    """What a person waits for when asking how full a cache is."""
    do = Starting(work)
    return Row(
        title=f"Start-up: info on {work.scale.entries:,} entries",
        limit=2.5,
        base="import click",
        contenders=(
            Contender("cachestore", work.ours, do.info, kind="ours"),
            *_common(work, do),
            Contender("ccache -s", work.program("ccache"), do.ccache, "of an empty cache"),
            Contender("uv cache dir", work.package("uv"), do.uv, "prints a path only"),
            Contender("hf cache ls", work.package("huggingface_hub"), do.hub, "of an empty cache"),
        ),
        files=1,
    )


ROWS = {"version": version, "info": info}
