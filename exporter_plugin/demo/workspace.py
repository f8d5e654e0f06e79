"""Where the demo works: a temporary folder that vanishes, or DEST, which stays when the demo succeeds."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cachestore.errors import DestinationError
from exporter_plugin.demo.mix import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder, and what the demo puts into it."""

    folder: Path

    @property
    def mix(self) -> Path:
        """Return the file of the mix."""
        return self.folder / "mix.json"

    @property
    def local(self) -> Path:
        """Return the folder of the local tracks."""
        return self.folder / "Local"

    @property
    def store(self) -> Path:
        """Return the root of the demo's own store."""
        return self.folder / "store"

    @property
    def bundles(self) -> tuple[Path, Path]:
        """Return the folders of the first and of the second export."""
        return self.folder / NAME, self.folder / f"{NAME} (again)"

    def clear(self) -> None:
        """Remove what the demo made, and nothing else."""
        self.mix.unlink(missing_ok=True)
        for folder in (self.local, self.store, *self.bundles):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def workspace(dest: Path | None) -> Iterator[Workspace]:
    """Give an empty folder: `dest`, which must be new or empty, or a temporary one. Raise DestinationError."""
    if dest is None:
        with TemporaryDirectory(prefix="cachestore-demo-") as folder:
            yield Workspace(Path(folder))
        return
    is_new = _claim(dest)
    place = Workspace(dest.resolve())
    try:
        yield place
    except BaseException:
        place.clear()
        if is_new:
            with suppress(OSError):
                dest.rmdir()
        raise


def _claim(dest: Path) -> bool:
    """Return whether `dest` was not there and has been made."""
    try:
        is_new = not dest.exists()
        dest.mkdir(parents=True, exist_ok=True)
        if any(dest.iterdir()):
            raise DestinationError(dest, "is not empty", "name a new or an empty folder")
    except OSError as error:
        problem = f"cannot be used ({error.strerror})"
        raise DestinationError(dest, problem, "name a new folder where you may write") from None
    return is_new


@contextmanager
def direct_loopback() -> Iterator[None]:
    """Keep requests to this machine away from a proxy that the environment names."""
    before = os.environ.get("no_proxy")
    named = before or os.environ.get("NO_PROXY")
    # Lower case wins where both are set.
    os.environ["no_proxy"] = f"{named},127.0.0.1" if named else "127.0.0.1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = before
