"""``cachestore ls``: what is in the cache, told while it is read: a store may hold a million tracks."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.entries import BundlesOf, entry_facts
from cachestore.cli.helptext import NO_STORE, epilog
from cachestore.cli.output import ago, count, print_json, print_table, rfc3339
from cachestore.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.store.reader import StoreReader


@click.command(epilog=epilog(["cachestore ls", "cachestore ls studio:", "cachestore ls --json opus"], NO_STORE))
@click.argument("pattern", required=False, default="")
@click.option("--quarantined", is_flag=True, help="List the files that were found broken, instead.")
@json_option
@pass_settings
def ls(settings: Settings, pattern: str, *, quarantined: bool, as_json: bool) -> None:
    """List what is in the cache: all, or what has PATTERN in its name or address."""
    with settings.reader() as store:
        if quarantined:
            _list_quarantine(store.root.quarantine, pattern, settings, as_json=as_json)
        elif as_json:
            bundles = BundlesOf(store)
            print_json(entry_facts(e, held=held, bundles=bundles.of(e.digest)) for e, held in _found(store, pattern))
        else:
            _list_people(store, pattern, settings)


def _found(store: StoreReader, pattern: str) -> Iterator[tuple[Entry, bool]]:
    """Yield the entries that match, in the order of their keys, and whether bundles hold them."""
    from cachestore.rows import batches

    change = store.held_change()
    for batch in batches(entry for entry in store.entries() if _matches(pattern, entry.label, entry.key)):
        rows = store.blob_rows_of(entry.digest for entry in batch)
        for entry in batch:
            row = rows.get(entry.digest)
            yield entry, row is not None and change.is_held(entry.digest, row)


def _matches(pattern: str, *texts: str) -> bool:
    return not pattern or pattern.casefold() in "\n".join(texts).casefold()


def _list_people(store: StoreReader, pattern: str, settings: Settings) -> None:
    listing = _Listing(verbose=settings.verbose > 0)
    header = ("TRACK", "ADDRESS", "SIZE", "LAST USE", "KEPT", *(["DIGEST"] if settings.verbose else []))
    print_table(header, listing.rows(_found(store, pattern)), right=frozenset({2}))
    if not settings.quiet:
        click.echo(f"{count(listing.tracks, 'track')}, {format_size(listing.size)}", err=True)


class _Listing:
    """The rows of a listing for a person, and what they add up to."""

    def __init__(self, *, verbose: bool) -> None:
        self.tracks = self.size = 0
        self._verbose = verbose

    def rows(self, found: Iterator[tuple[Entry, bool]]) -> Iterator[tuple[str, ...]]:
        """Yield a row for each entry; the versions of a track come together, and have their versions in the address."""
        for _, versions in groupby(found, key=lambda item: item[0].address):
            several = list(versions)
            for entry, held in several:
                self.tracks += 1
                self.size += entry.size
                yield self._row(entry, entry.key if self._verbose or len(several) > 1 else entry.address, held=held)

    def _row(self, entry: Entry, address: str, *, held: bool) -> tuple[str, ...]:
        return (
            entry.label,
            address,
            format_size(entry.size),
            ago(entry.used_at),
            " ".join(word for word, true in (("pinned", entry.pinned), ("held", held)) if true),
            *([entry.digest] if self._verbose else []),
        )


def _list_quarantine(folder: Path, pattern: str, settings: Settings, *, as_json: bool) -> None:
    from cachestore.blobs import moved_at
    from cachestore.store.costs import files_below

    paths = [path for path in sorted(folder.iterdir()) if _matches(pattern, path.name)] if folder.is_dir() else []
    found = [(path, sum(info.st_size for info in files_below(path)), moved_at(path.name)) for path in paths]
    if as_json:
        print_json({"path": str(path), "size": size, "quarantined_at": rfc3339(at)} for path, size, at in found)
        return
    rows = [(str(path), format_size(size), ago(at) if at is not None else "-") for path, size, at in found]
    print_table(("FILE", "SIZE", "SINCE"), rows, right=frozenset({1}))
    if not settings.quiet:
        click.echo(f"{count(len(found), 'file')}, {format_size(sum(size for _, size, _ in found))}", err=True)
