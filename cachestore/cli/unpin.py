"""``cachestore unpin``: what may go again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, pass_settings
from cachestore.cli.helptext import epilog
from cachestore.cli.pin import EXITS, set_pins
from cachestore.track import parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.track import Track


@click.command(epilog=epilog(["cachestore unpin studio:t42"], EXITS))
@click.argument("tracks", metavar="ADDRESS...", nargs=-1, required=True, type=parse_address)
@pass_settings
def unpin(settings: Settings, tracks: Sequence[Track]) -> None:
    """Let tracks be pruned again: source:id with all its versions, source:id@hex that version only."""
    set_pins(settings, tracks, pinned=False)
