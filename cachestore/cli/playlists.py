"""``cachestore playlists``: what a source can export by name."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import epilog
from cachestore.cli.options import stdin_eof_option
from cachestore.cli.output import count, print_json, print_table
from cachestore.cli.signals import cancel_on_signals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cachestore.playlists import PlaylistAddress
    from cachestore.sources.base import Playlist

_EXITS = {1: "the source has no playlists, or failed", 75: "a temporary failure: try again", 77: "not authorized"}


@click.command(epilog=epilog(["cachestore playlists home", "cachestore playlists home --json"], _EXITS))
@click.argument("source")
@stdin_eof_option
@json_option
@pass_settings
def playlists(settings: Settings, source: str, *, cancel_on_stdin_eof: bool, as_json: bool) -> None:
    """List the playlists of SOURCE, each with the address by which export takes it."""
    from cachestore.playlists import addresses, list_playlists

    with cancel_on_signals(stdin_eof=cancel_on_stdin_eof) as cancel:
        found = list_playlists(settings.config(), source, cancel=cancel)
    by_id = addresses(source, found)
    if as_json:
        print_json([_facts(playlist, by_id[playlist.id]) for playlist in found])
    else:
        _print_person(found, by_id, settings)


def _facts(playlist: Playlist, address: PlaylistAddress) -> dict[str, object]:
    return {"id": playlist.id, "name": playlist.name, "tracks": playlist.tracks, "address": str(address)}


def _print_person(found: Sequence[Playlist], by_id: Mapping[str, PlaylistAddress], settings: Settings) -> None:
    rows = [
        (
            playlist.name or "-",
            "-" if playlist.tracks is None else str(playlist.tracks),
            shlex.quote(str(by_id[playlist.id])),
        )
        for playlist in found
    ]
    if rows:
        print_table(("PLAYLIST", "TRACKS", "ADDRESS"), rows, right=frozenset({1}))
    if not settings.quiet:
        click.echo(count(len(rows), "playlist"), err=True)
