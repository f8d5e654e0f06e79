"""``cachestore show``: all that is known of one track."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.entries import entry_facts
from cachestore.cli.helptext import NO_STORE, epilog
from cachestore.cli.output import ago, print_facts, print_json, rfc3339
from cachestore.cli.whereabouts import Whereabouts, whereabouts
from cachestore.quantities import format_size
from cachestore.track import parse_address

if TYPE_CHECKING:
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
        digests = {entry.digest for entry in entries}
        held, found = store.holders_of(digests), whereabouts(store, digests)
    bundles = [found.get(entry.digest, Whereabouts()) for entry in entries]
    if as_json:
        print_json([_facts(e, known, held=bool(held.get(e.digest))) for e, known in zip(entries, bundles, strict=True)])
        return
    for number, (entry, known) in enumerate(zip(entries, bundles, strict=True)):
        click.echo("", nl=number > 0)
        _print_person(entry, known, held=bool(held.get(entry.digest)))


def _facts(entry: Entry, bundles: Whereabouts, *, held: bool) -> dict[str, object]:
    return entry_facts(entry, held=held, bundles=bundles.living) | {
        "digest": entry.digest,
        "media_type": entry.media_type,
        "version": {"kind": entry.version.kind, "value": entry.version.value},
        "lost_bundles": [str(dest) for dest in bundles.lost],
    }


def _print_person(entry: Entry, bundles: Whereabouts, *, held: bool) -> None:
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
            *(("bundle", str(dest)) for dest in bundles.living),
            *(("lost", f"{dest}, which was moved or deleted") for dest in bundles.lost),
        ]
    )


def _times(entry: Entry) -> tuple[tuple[str, float], ...]:
    return ("stored", entry.stored_at), ("validated", entry.validated_at), ("last use", entry.used_at)


def _when(seconds: float) -> str:
    return f"{rfc3339(seconds)}, {ago(seconds)}"
