"""The end of the process, which nothing that a plugin left running may put off."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time

from cachestore.cli.signals import ignore_signals

_GRACE = 0.5  # seconds


def leave_soon(exit_code: int) -> None:
    """Give the interpreter half a second to end by itself; then end the process with `exit_code`.

    All that a run holds has been closed before. The interpreter waits for every thread that is no daemon, as those of a
    ThreadPoolExecutor, and multiprocessing for its children: a plugin may have started any. Signals come too late from
    here on: the exit code has been told.
    """
    gc.freeze()  # to look for cycles among all that is left takes longer than to give it back
    ignore_signals()
    threading.Thread(target=_leave, args=(exit_code,), name="leaving", daemon=True).start()


def _leave(exit_code: int) -> None:
    time.sleep(_GRACE)
    if "multiprocessing" in sys.modules:  # whose children would live on, and keep our stdout open
        from multiprocessing import active_children

        for child in active_children():
            child.terminate()
    os._exit(exit_code)
