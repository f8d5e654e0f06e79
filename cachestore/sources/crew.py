"""Threads that ask sources, and all that they ask with."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from cachestore.sources.registry import Sources
from cachestore.web import open_web

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachestore.config import Config


class Crew:
    """Up to `jobs` daemon threads: a server or a plugin that hangs cannot keep the process from ending.

    Raise ConfigError when the environment's proxy or CA bundle is unusable.
    """

    def __init__(self, config: Config, jobs: int) -> None:
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._deadline = 0.0
        self.web = open_web(config, jobs=jobs, cancel=self._stopping)
        self.sources = Sources(config, self.web)

    def start(self, work: Callable[[], None]) -> None:
        """Do `work`, which catches what it raises, on a thread of its own."""
        thread = threading.Thread(target=work, name="crew", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self, *, patience: float) -> None:
        """Abort what is in flight and wait up to `patience` seconds until it is put down, the first time."""
        if not self._stopping.is_set():
            self._deadline = time.monotonic() + patience
        self._stopping.set()
        self.web.abort()
        for thread in self._threads:
            thread.join(max(0.0, self._deadline - time.monotonic()))
        self.web.close()
