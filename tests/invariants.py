"""What DESIGN allows a store and its bundles to look like, judged from the disk alone and by none of our code.

`faults(root, served)` says what is wrong with a store at any moment, a kill included: `served` are the bodies that a
track may have, by address, and `damaged` the digests whose blobs the test itself has spoiled. `leftovers` says what
nobody needs any more and a prune should have taken; `bundle_faults` judges one bundle, and `holes` are entries whose
bytes are gone: allowed after a kill, since they are misses.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_128_hexdigest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    Row = dict[str, Any]
    Served = Mapping[str, Collection[bytes]]

_PLACE = re.compile(r"xxh3-128/([0-9a-f]{2})/([0-9a-f]{30})")
_STAGING = ".cachestore-"


def digest_of(data: bytes) -> str:
    """Return the name that the bytes have to have."""
    return f"xxh3-128:{xxh3_128_hexdigest(data)}"


def rows_of(root: Path) -> dict[str, Row]:
    """Return all rows of the index, read from a copy: looking at a database that was killed would mend it."""
    with TemporaryDirectory() as aside:
        for file in (root / "index-v1").glob("cache.db*"):
            if not file.name.endswith("-shm"):
                shutil.copyfile(file, Path(aside, file.name))
        with closing(sqlite3.connect(Path(aside, "cache.db"))) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'Cache'").fetchone():
                return {}
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = database.execute("SELECT key, raw, mode, filename, value FROM Cache").fetchall()
    assert {tuple(fields) for _, *fields, _ in found} <= {(1, 1, None)}
    return {key: json.loads(value) for key, *_, value in found}


def blobs_of(root: Path) -> dict[str, Path]:
    """Return the files that lie where blobs lie, by digest."""
    folder = root / "blobs-v1"
    paths = [path for path in folder.rglob("*") if not path.is_dir()]
    places = {path: _PLACE.fullmatch(path.relative_to(folder).as_posix()) for path in paths}
    return {f"xxh3-128:{''.join(place.groups())}": path for path, place in places.items() if place}


def faults(root: Path, served: Served, *, damaged: Collection[str] = ()) -> list[str]:
    """Return what must never be, in sentences."""
    rows, blobs = rows_of(root), blobs_of(root)
    return [
        *_faults_of_blobs(blobs, damaged),
        *_faults_of_entries(rows, blobs, served, damaged),
        *_faults_of_tracks(rows),
        *_faults_of_totals(rows),
    ]


def _faults_of_blobs(blobs: Mapping[str, Path], damaged: Collection[str]) -> Iterator[str]:
    for digest, path in blobs.items():
        if digest in damaged:
            continue
        if digest_of(path.read_bytes()) != digest:
            yield f"{path} has other bytes than its name says"
        if stat.S_IMODE(path.stat().st_mode) != 0o444:
            yield f"{path} can be written"


def _faults_of_entries(
    rows: Mapping[str, Row], blobs: Mapping[str, Path], served: Served, damaged: Collection[str]
) -> Iterator[str]:
    keys: dict[str, set[str]] = {}
    for key, entry in _below(rows, "e:"):
        address, digest = f"{entry['source']}:{entry['id']}", entry["digest"]
        keys.setdefault(digest, set()).add(key)
        whole = digest in blobs and digest not in damaged
        if whole and blobs[digest].read_bytes() not in served[address]:
            yield f"{key} has bytes that were never those of its track"
        if whole and blobs[digest].stat().st_size != entry["size"]:
            yield f"{key} tells a wrong size"
    known = {digest: set(row["keys"]) for digest, row in _below(rows, "b:")}
    if {digest: held for digest, held in known.items() if held} != keys:
        yield f"entries and blob rows contradict each other: {keys} and {known}"


def _faults_of_tracks(rows: Mapping[str, Row]) -> Iterator[str]:
    kept = {f"{address}@{version}" for address, track in _below(rows, "t:") for version in track["kept"]}
    entries = {key for key, _ in _below(rows, "e:")}
    if kept != entries:
        yield f"tracks and entries contradict each other: {sorted(kept)} and {sorted(entries)}"


def _faults_of_totals(rows: Mapping[str, Row]) -> Iterator[str]:
    meta = rows.get("meta")
    if meta and meta["counts"] and meta["totals"] != totals(rows):
        yield f"the totals are {meta['totals']}; counted again they are {totals(rows)}"
    entries = dict(_below(rows, "e:"))
    for digest, blob in _below(rows, "b:"):
        uses = [entries[key]["used_at"] for key in blob["keys"] if key in entries]
        if uses and blob["used_at"] != max(uses):
            yield f"{digest} was used at {blob['used_at']}, and its entries at {uses}"


def totals(rows: Mapping[str, Row]) -> dict[str, int]:
    """Return what the totals of these rows are when they are counted."""
    blobs = [row for _, row in _below(rows, "b:")]
    return {
        "entries": len(list(_below(rows, "e:"))),
        "blobs": len(blobs),
        "logical": sum(row["size"] for row in blobs),
        "exclusive": sum(row["cost"] for row in blobs if not row["holders"]),
        "held": sum(row["cost"] for row in blobs if row["holders"]),
    }


def holes(root: Path) -> set[str]:
    """Return the keys of entries whose blob is not there."""
    blobs = blobs_of(root)
    return {key for key, entry in _below(rows_of(root), "e:") if entry["digest"] not in blobs}


def leftovers(root: Path, home: Path) -> list[str]:
    """Return what is there without use: claimed partials, dead runs, orphans, staging folders.

    The file of a run that was killed before it began is no such thing: it is swept when it is a minute old.
    """
    rows, blobs = rows_of(root), blobs_of(root)
    claimed = [path for path in (root / "partials-v1").iterdir() if path.suffix != ".part"]
    runs = [path for path in (root / "runs-v1").iterdir() if re.fullmatch("[0-9a-f]{32}", path.name)]
    staging = [Path(parent, name) for parent, names, _ in os.walk(home) for name in names if _STAGING in name]
    orphans = [path for digest, path in blobs.items() if f"b:{digest}" not in rows]
    return [*map(str, (*claimed, *runs, *staging, *orphans)), *(key for key in rows if key.startswith(("r:", "l:")))]


def bundle_faults(dest: Path) -> list[str]:
    """Return what is wrong with a bundle that nobody has edited: it is whole, not there, or in the middle of a change.

    In the middle of a change each of its files is either how it was or how it is to be, and none has vanished.
    """
    if not dest.exists():
        return []
    if not (dest / "bundle.json").exists():
        files = [path for path in dest.iterdir() if _STAGING not in path.name]  # what is staged is swept
        return [f"{dest} is there without its bundle.json"] if files else []
    bundle = json.loads((dest / "bundle.json").read_text())
    records: dict[str, set[str]] = {}
    for own in bundle["files"]:
        records.setdefault(own["file"], set()).add(own["digest"])
    wrong = [
        f"{dest / file} is not what bundle.json says"
        for file, digests in records.items()
        if (dest / file).exists() and digest_of((dest / file).read_bytes()) not in digests
    ]
    absent = [f"{dest / file} is missing" for file in records if not (dest / file).exists()]
    there = {path.relative_to(dest).as_posix() for path in dest.rglob("*") if path.is_file()}
    strange = [f"{dest / file} is in no record" for file in there - records.keys() if file != "bundle.json"]
    return wrong + (absent + strange if bundle["finished"] else [])


def _below(rows: Mapping[str, Row], prefix: str) -> Iterator[tuple[str, Row]]:
    for key, row in rows.items():
        if key.startswith(prefix):
            yield key.removeprefix(prefix), row
