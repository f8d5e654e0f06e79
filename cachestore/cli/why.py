"""``cachestore why``: which track a file of a bundle is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.entries import bundles_by_digest
from cachestore.cli.helptext import NO_STORE, epilog
from cachestore.cli.output import print_facts, print_json
from cachestore.errors import NotInBundle

if TYPE_CHECKING:
    from cachestore.entry import Entry
    from cachestore.rows import Bundle, BundleFile
    from cachestore.store.reader import StoreReader

_EXITS = {1: "the file is in no bundle, or does not come from the cache", **NO_STORE}


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why a file is where it is: `entries` are those with its bytes, none once they were pruned."""

    bundle: Bundle
    file: BundleFile
    entries: tuple[Entry, ...]
    others: tuple[Path, ...]


@click.command(epilog=epilog(['cachestore why "Friday/media/01 - E.P. - Opus.flac"'], _EXITS))
@click.argument("path", type=click.Path(readable=False, path_type=Path))
@json_option
@pass_settings
def why(settings: Settings, path: Path, *, as_json: bool) -> None:
    """Say which track, version and digest the file PATH of a bundle is, and which other bundles have it."""
    with settings.reader() as store:
        reason = _find(store, path)
    if as_json:
        print_json(_facts(path, reason))
    else:
        _print_person(reason)


def _find(store: StoreReader, path: Path) -> _Reason:
    real = path.resolve()
    for bundle in store.bundles():
        dest = bundle.dest.resolve()
        if real.is_relative_to(dest):
            name = real.relative_to(dest).as_posix()
            for file in bundle.files:
                if file.file == name:
                    return _reason(store, bundle, file)
    raise NotInBundle(path)


def _reason(store: StoreReader, bundle: Bundle, file: BundleFile) -> _Reason:
    entries = tuple(entry for entry in store.entries() if entry.digest == file.digest)
    others = bundles_by_digest(store).get(file.digest, {}).keys() - {bundle.dest}
    return _Reason(bundle, file, entries, tuple(sorted(others)))


def _facts(path: Path, reason: _Reason) -> dict[str, object]:
    return {
        "path": str(path),
        "bundle": str(reason.bundle.dest),
        "digest": reason.file.digest,
        "link_mode": reason.file.mode,
        "tracks": [{"key": entry.key, "label": entry.label} for entry in reason.entries],
        "other_bundles": [str(dest) for dest in reason.others],
    }


def _print_person(reason: _Reason) -> None:
    print_facts(
        [
            *(("track", f"{entry.label} ({entry.key})") for entry in reason.entries),
            *([] if reason.entries else [("track", "no longer in the cache")]),
            ("digest", reason.file.digest),
            ("bundle", f"{reason.bundle.dest} ({reason.file.mode})"),
            *(("also in", str(dest)) for dest in reason.others),
        ]
    )
