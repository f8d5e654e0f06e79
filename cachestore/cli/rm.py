"""``cachestore rm``: out, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, pass_settings
from cachestore.cli.helptext import CHANGING, epilog
from cachestore.cli.output import plain
from cachestore.quantities import format_size
from cachestore.track import parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.track import Track

_EXITS = {1: "a track is not in the cache (nothing was removed), or is in use; a file stays in quarantine", **CHANGING}


@click.command(epilog=epilog(["cachestore rm studio:t42", "cachestore rm studio:t42@0f3c2a9be1d45870"], _EXITS))
@click.argument("tracks", metavar="ADDRESS...", nargs=-1, type=parse_address)
@click.option("--quarantined", is_flag=True, help="Remove all files that were found broken, instead.")
@pass_settings
def rm(settings: Settings, tracks: Sequence[Track], *, quarantined: bool) -> int:
    """Remove tracks with all their versions, or one version, pinned or not; bundles keep their files."""
    if quarantined is bool(tracks):
        raise click.UsageError("Give either addresses of tracks or --quarantined.")
    return _empty_quarantine(settings) if quarantined else _remove(settings, tracks)


def _remove(settings: Settings, tracks: Sequence[Track]) -> int:
    with settings.store() as store, store.run("rm"):
        removals = store.remove(tracks)
    for entry, eviction in removals:
        name = f"{entry.label}  {entry.key}"
        if eviction.kept_because:
            click.echo(plain(f"kept     {name}: {eviction.kept_because}"), err=True)
        elif not settings.quiet:
            click.echo(plain(f"removed  {name}  {format_size(eviction.freed)} freed"))
    return 1 if any(eviction.kept_because for _, eviction in removals) else 0


def _empty_quarantine(settings: Settings) -> int:
    from cachestore.sweep import empty_quarantine

    code = 0
    with settings.store() as store, store.run("rm"):
        for path, outcome in empty_quarantine(store):
            if isinstance(outcome, str):
                code = 1
                click.echo(plain(f"kept     {path}: {outcome}"), err=True)
            elif not settings.quiet:
                click.echo(plain(f"removed  {path}  {format_size(outcome)} freed"))
    return code
