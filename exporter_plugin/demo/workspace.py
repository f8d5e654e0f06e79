"""Where the demo works: a temporary folder that vanishes, or DEST, which stays when the demo succeeds."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cachestore.errors import DestinationError
from exporter_plugin.demo.mix import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator


class Workspace:
    """A folder and what the demo puts into it: a mix with its local tracks, a store, and a bundle of each export."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mix = folder / "mix.json"
        self.local = folder / "Local"
        self.store = folder / "store"
        self.bundles = folder / NAME, folder / f"{NAME} (again)"

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
