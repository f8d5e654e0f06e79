"""How a failure ends a command: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cachestore.cli.output import plain
from cachestore.errors import CacheStoreError, NoSpace, is_full

if TYPE_CHECKING:
    from collections.abc import Iterator


_SOME_DISK = "a disk is full, the store's, the destination's or the output's"


def report(error: Exception) -> int:
    """Say on stderr what went wrong and return the exit code."""
    sentence, code = explain(error)
    with suppress(OSError):
        click.echo(plain(f"cachestore: {sentence}"), err=True)
    return code


def explain(error: Exception) -> tuple[str, int]:
    """Return the sentence and the exit code of `error`."""
    if isinstance(error, CacheStoreError):
        return str(error), error.exit_code
    full = next((cause for cause in _chain(error) if _is_full_disk(cause)), None)
    if full is not None:
        known = getattr(full, "filename", None)
        # A failed write does not say where: any of the three can be meant.
        if known and isinstance(full, OSError):
            return str(NoSpace.of(full, Path(known))), NoSpace.exit_code
        return f"{_SOME_DISK}; free space there or run: cachestore prune", NoSpace.exit_code
    if isinstance(error, OSError) and error.strerror:
        return (f"{error.filename}: {error.strerror}" if error.filename else error.strerror), 1
    return f"internal error ({type(error).__name__} at {_place(error)}); please report it", 1


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_full_disk(error: BaseException) -> bool:
    if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return True
    return is_full(error)


def _place(error: Exception) -> str:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
