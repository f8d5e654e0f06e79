"""The tracks of a mix. What a mix is a package above knows, which exports them; it is found by its entry point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cachestore.errors import PluginBroken

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from cachestore.config import Config
    from cachestore.track import Track

    # Gives the cloud tracks of a mix, and how many local ones it has, once what is needed to ask a server is known.
    TracksOf = Callable[[Config, threading.Event], tuple[Sequence[Track], int]]

ENTRY_POINTS = "cachestore.mixes"


def open_mix(mix: str) -> TracksOf:
    """Read the mix that MIX names, as far as that needs no server, and return what gives its tracks.

    Raise MixError, UsageError when no package reads mixes, or PluginBroken when the one that does cannot be loaded.
    """
    from importlib.metadata import entry_points  # slow to import

    points = entry_points(group=ENTRY_POINTS)
    if not points:
        raise click.UsageError("--mix needs a package that reads mixes, and none is installed")
    point = min(points)
    try:
        reader: Callable[[str], TracksOf] = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may fail in any way
        raise PluginBroken(point.name, point.value, f"{type(error).__name__}: {error}") from None
    return reader(mix)
