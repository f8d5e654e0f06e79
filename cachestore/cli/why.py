"""``cachestore why``: which track a file of a bundle is."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import NO_STORE, epilog
from cachestore.cli.output import print_facts, print_json
from cachestore.cli.whereabouts import Whereabouts, whereabouts
from cachestore.errors import AddressError, NotInBundle
from cachestore.track import parse_address

if TYPE_CHECKING:
    from cachestore.entry import Entry
    from cachestore.links import LinkMode
    from cachestore.store.reader import StoreReader

_EXITS = {1: "the file is in no bundle, or does not come from the cache", **NO_STORE}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file is: in `bundle`, None when its folder is not registered; it came from the blob of `digest`.

    It is `edited` when it has other bytes by now.
    """

    digest: str
    bundle: Path | None = None
    mode: LinkMode | None = None
    edited: bool = False


@click.command(epilog=epilog(['cachestore why "Friday/media/01 - E.P. - Opus.flac"'], _EXITS))
@click.argument("file", metavar="PATH", type=click.Path(readable=False))
@json_option
@pass_settings
def why(settings: Settings, file: str, *, as_json: bool) -> None:
    """Say which track, version and digest the file PATH of a bundle is, and which other bundles have it."""
    path = Path(file)
    real = path.resolve()
    with settings.reader() as store:
        place = _registered(store, real) or _recognized(store, real)
        if place is None:
            raise NotInBundle(path, _address(file, path))
        entries = _entries(store, place.digest)
        bundles = whereabouts(store, [place.digest]).get(place.digest, Whereabouts())
        place = replace(place, edited=_has_other_bytes(real, place.digest))
    others = Whereabouts([dest for dest in bundles.living if dest != place.bundle], bundles.lost)
    if as_json:
        print_json(_facts(path, place, entries, others))
    else:
        _print_person(place, entries, others)


def _address(text: str, path: Path) -> str:
    """Return what was typed if it is no path, but the address of a track, else nothing."""
    try:
        parse_address(text)
    except AddressError:
        return ""
    return "" if os.path.lexists(path) else text


def _registered(store: StoreReader, real: Path) -> _Place | None:
    """Return the place that the registered bundles name, also when the file or its bundle is not there any more."""
    for bundle in store.bundles():
        dest = bundle.dest.resolve()
        if real.is_relative_to(dest):
            name = real.relative_to(dest).as_posix()
            for file in bundle.files:
                if file.file == name:
                    return _Place(file.digest, bundle.dest, file.mode)
    return None


def _recognized(store: StoreReader, real: Path) -> _Place | None:
    """Return what the bytes of a file say, as of one whose bundle was moved; else its inode, when it was edited."""
    from cachestore.blobs import hash_file, is_file
    from cachestore.links import LinkMode

    try:
        info = real.lstat()
        digest = hash_file(real) if is_file(info) else None
    except OSError:
        return None
    if digest is None:
        return None
    blob = store.blobs.stat(digest)
    if blob is not None and (blob.st_dev, blob.st_ino) == (info.st_dev, info.st_ino):
        return _Place(digest, mode=LinkMode.HARDLINK)
    if digest in store.known_blobs([digest]) or whereabouts(store, [digest]):
        return _Place(digest)
    is_shared = info.st_nlink > 1 and info.st_dev == store.root.blobs.stat().st_dev
    for edited, row in store.blob_rows() if is_shared else ():
        if row.witness.inode == info.st_ino:
            return _Place(edited, mode=LinkMode.HARDLINK)
    return None


def _has_other_bytes(path: Path, digest: str) -> bool:
    from cachestore.blobs import hash_file, is_file

    try:
        return is_file(path.lstat()) and hash_file(path) != digest
    except OSError:
        return False


def _entries(store: StoreReader, digest: str) -> list[Entry]:
    keys = [key for row in store.blob_rows_of([digest]).values() for key in row.keys]
    return [entry for entry in store.entries_of(keys).values() if entry.digest == digest]


def _facts(path: Path, place: _Place, entries: list[Entry], others: Whereabouts) -> dict[str, object]:
    return {
        "path": str(path),
        "bundle": place.bundle and str(place.bundle),
        "digest": place.digest,
        "link_mode": place.mode,
        "edited": place.edited,
        "tracks": [{"key": entry.key, "label": entry.label} for entry in entries],
        "other_bundles": [str(dest) for dest in others.living],
        "lost_bundles": [str(dest) for dest in others.lost],
    }


def _print_person(place: _Place, entries: list[Entry], others: Whereabouts) -> None:
    unregistered = "none that is registered; one that was moved is, after: cachestore repair --adopt FOLDER"
    print_facts(
        [
            *(("track", f"{entry.label} ({entry.key})") for entry in entries),
            *([] if entries else [("track", "no longer in the cache")]),
            ("digest", place.digest),
            *([("edited", "it has other bytes than were exported")] if place.edited else []),
            ("bundle", f"{place.bundle} ({place.mode})" if place.bundle else unregistered),
            *(("also in", str(dest)) for dest in others.living),
            *(("lost", f"{dest}, which was moved or deleted") for dest in others.lost),
        ]
    )
