"""``cachestore ls``: what is in the cache."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.entries import bundles_by_digest, entry_facts
from cachestore.cli.helptext import NO_STORE, epilog
from cachestore.cli.output import ago, count, print_json, print_table
from cachestore.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cachestore.entry import Entry


@click.command(epilog=epilog(["cachestore ls", "cachestore ls studio:", "cachestore ls --json opus"], NO_STORE))
@click.argument("pattern", required=False, default="")
@json_option
@pass_settings
def ls(settings: Settings, pattern: str, *, as_json: bool) -> None:
    """List what is in the cache: all, or what has PATTERN in its name or address."""
    with settings.reader() as store:
        entries = sorted(
            (e for e in store.entries() if _matches(e, pattern)), key=lambda e: (e.label.casefold(), e.key)
        )
        held = store.holders()
        bundles = bundles_by_digest(store) if as_json else {}
    if as_json:
        print_json([entry_facts(e, held=e.digest in held, bundles=bundles.get(e.digest, {})) for e in entries])
    else:
        _print_people(entries, held, settings)


def _matches(entry: Entry, pattern: str) -> bool:
    return pattern.casefold() in f"{entry.label}\n{entry.key}".casefold()


def _print_people(entries: Sequence[Entry], held: Collection[str], settings: Settings) -> None:
    versions = Counter(entry.address for entry in entries)
    rows = [
        (
            "-" if entry.label == entry.address else entry.label,
            entry.key if settings.verbose or versions[entry.address] > 1 else entry.address,
            format_size(entry.size),
            ago(entry.used_at),
            " ".join(word for word, true in (("pinned", entry.pinned), ("held", entry.digest in held)) if true),
            *([entry.digest] if settings.verbose else []),
        )
        for entry in entries
    ]
    if rows:
        header = ("TRACK", "ADDRESS", "SIZE", "LAST USE", "KEPT", *(["DIGEST"] if settings.verbose else []))
        print_table(header, rows, right=frozenset({2}))
    if not settings.quiet:
        total = sum({entry.digest: entry.size for entry in entries}.values())
        click.echo(f"{count(len(entries), 'track')}, {format_size(total)}", err=True)
