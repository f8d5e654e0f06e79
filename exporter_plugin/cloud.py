"""The cloud tracks of a mix, for `cachestore fetch --mix`, which copies no files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_plugin.mix import opened

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from cachestore.config import Config
    from cachestore.track import Track


def cloud_tracks(mix: str) -> Callable[[Config, threading.Event], tuple[Sequence[Track], int]]:
    """Return what gives the cloud tracks of the mix that `read_mix` finds, and the number of its local ones.

    A file is read at once: what is wrong with it is told before what is wrong with the configuration. Raise what
    `read_mix` does.
    """
    read = opened(mix)

    def tracks(config: Config, cancel: threading.Event) -> tuple[Sequence[Track], int]:
        rows = read(config=config, cancel=cancel).rows
        cloud = [row.track for row in rows if row.path is None]
        return cloud, len(rows) - len(cloud)

    return tracks
