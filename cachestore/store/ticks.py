"""What the clock of a filesystem can hide: of two changes within one of its ticks, the later leaves the stamps alone.

So a file that was edited, and got its mtime back, in the very tick of its ctime looks as it did. Most kernels tick
every 1 to 10 ms, some filesystems every second or two. Linux gives every change a stamp of its own since 6.13, once
the one before was looked at, and so does APFS.
"""

from __future__ import annotations

import os
import stat
import time
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Seconds: some ticks of a kernel, and of a filesystem that keeps whole seconds.
_MARGIN, _MARGIN_OF_SECONDS = 0.05, 2.0
_SHORTEST_TICK = 0.001
_CHANGES, _TRIES = 6, 3
_ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


class Ticks:
    """The ticks of a filesystem on which `folder` is ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def may_hide(self, info: os.stat_result, seen_at: float) -> bool:
        """Return whether an edit of a file after `seen_at` could leave its stat as it was then: `info`.

        Who has no other name for a blob does not edit it; but we may give it one within the tick.
        """
        margin = _MARGIN_OF_SECONDS if _is_of_whole_seconds(info) else _MARGIN
        is_recent = abs(seen_at - info.st_ctime) < margin
        return is_recent and (info.st_nlink > 1 or _can_be_edited_soon(info)) and not self._are_fine

    def may_hide_after_link(self, info: os.stat_result) -> bool:
        """Return whether an edit of a file to which we have given a name now could leave its stat as it is: `info`."""
        return _can_be_edited_soon(info) and not self._are_fine

    def may_hide_in_mode(self, info: os.stat_result) -> bool:
        """Return whether a file was made writable, maybe within the tick in which it was last seen whole."""
        return info.st_nlink > 1 and bool(info.st_mode & _ANY_WRITE) and not self._are_fine

    @cached_property
    def _are_fine(self) -> bool:
        """Return whether changes in close succession get stamps of their own, as far as can be seen."""
        for _ in range(_TRIES):
            began = time.perf_counter()
            stamps = {self._stamp() for _ in range(_CHANGES)}
            if time.perf_counter() - began < _SHORTEST_TICK:  # else they may be of as many ticks
                return len(stamps) == _CHANGES
        return False

    def _stamp(self) -> int:
        """Return the ctime of our folder after a change that changes nothing."""
        try:
            self._folder.chmod(stat.S_IMODE(self._folder.stat().st_mode))
            return self._folder.stat().st_ctime_ns
        except OSError:
            return 0


def _can_be_edited_soon(info: os.stat_result) -> bool:
    """Return whether a file can be edited within a tick and look as it did.

    Who edits a read-only file makes it writable first, and seldom puts that back, too. Root need not, and a second is
    long enough for anything.
    """
    return _is_of_whole_seconds(info) or os.geteuid() == 0 or bool(info.st_mode & _ANY_WRITE)


def _is_of_whole_seconds(info: os.stat_result) -> bool:
    return info.st_ctime_ns % 1_000_000_000 == 0
