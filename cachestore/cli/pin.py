"""``cachestore pin``: what must stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, pass_settings
from cachestore.cli.helptext import CHANGING, epilog
from cachestore.cli.output import plain
from cachestore.track import parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.track import Track

EXITS = {1: "a track is not in the cache; nothing was changed", **CHANGING}


@click.command(epilog=epilog(["cachestore pin studio:t42", "cachestore pin studio:t42@0f3c2a9be1d45870"], EXITS))
@click.argument("tracks", metavar="ADDRESS...", nargs=-1, required=True, type=parse_address)
@pass_settings
def pin(settings: Settings, tracks: Sequence[Track]) -> None:
    """Keep tracks until they are unpinned: source:id with its newest version, source:id@hex that version only."""
    set_pins(settings, tracks, pinned=True)


def set_pins(settings: Settings, tracks: Sequence[Track], *, pinned: bool) -> None:
    """Pin or unpin `tracks`, all or none, and say so. Raise NotInCache."""
    with settings.store() as store:
        for track in tracks:
            store.named(track)
        changed = [(track, store.pin(track, pinned=pinned)) for track in tracks]
    for track, entries in changed:
        if not settings.quiet:
            address = entries[0].key if track.version else track.address
            click.echo(plain(f"{'pinned' if pinned else 'unpinned'}  {entries[0].label}  {address}"))
