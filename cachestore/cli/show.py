"""``cachestore show``: all that is known of one track."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.entries import bundles_by_digest, entry_facts
from cachestore.cli.helptext import NO_STORE, epilog
from cachestore.cli.output import ago, print_facts, print_json, rfc3339
from cachestore.quantities import format_size
from cachestore.track import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.track import Track

_EXITS = {1: "the track is not in the cache", **NO_STORE}


@click.command(epilog=epilog(["cachestore show studio:t42"], _EXITS))
@click.argument("track", metavar="ADDRESS", type=parse_address)
@json_option
@pass_settings
def show(settings: Settings, track: Track, *, as_json: bool) -> None:
    """Show all versions kept of one track, the newest first, and the bundles they are in."""
    with settings.reader() as store:
        entries = store.named(track)
        held = store.holders()
        bundles = bundles_by_digest(store)
    if as_json:
        print_json(
            [_facts(e, entry_facts(e, held=e.digest in held, bundles=bundles.get(e.digest, {}))) for e in entries]
        )
        return
    for number, entry in enumerate(entries):
        click.echo("", nl=number > 0)
        _print_person(entry, held=entry.digest in held, bundles=bundles.get(entry.digest, {}))


def _facts(entry: Entry, facts: dict[str, object]) -> dict[str, object]:
    version = {"kind": entry.version.kind, "value": entry.version.value}
    return facts | {"digest": entry.digest, "media_type": entry.media_type, "version": version}


def _print_person(entry: Entry, *, held: bool, bundles: Iterable[Path]) -> None:
    print_facts(
        [
            ("track", entry.label),
            ("address", entry.key),
            ("version", f"{entry.version.kind} {entry.version.value}"),
            ("digest", entry.digest),
            ("file", f"{entry.ext}, {entry.media_type}, {format_size(entry.size)}"),
            *((name, _when(when)) for name, when in _times(entry)),
            ("pinned", "yes" if entry.pinned else "no"),
            ("held", "yes" if held else "no"),
            *(("bundle", str(dest)) for dest in sorted(bundles)),
        ]
    )


def _times(entry: Entry) -> tuple[tuple[str, float], ...]:
    return ("stored", entry.stored_at), ("validated", entry.validated_at), ("last use", entry.used_at)


def _when(seconds: float) -> str:
    return f"{rfc3339(seconds)}, {ago(seconds)}"
