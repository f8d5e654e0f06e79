"""Stores for tests: bodies put in without any network."""

from __future__ import annotations

import errno
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cachestore.blobs import BlobDigest, hash_file
from cachestore.links import LinkMode
from cachestore.media import Media
from cachestore.runs import staging_suffix
from cachestore.store.publish import Incoming
from cachestore.store.staged import Staged
from cachestore.track import Track
from cachestore.verify import Verification
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from cachestore.entry import Entry
    from cachestore.index.reader import Row
    from cachestore.index.writer import Transaction
    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store
    from cachestore.verify import Problem


@dataclass(frozen=True)
class Report:
    """How many blobs were looked at, and what is wrong."""

    checked: int
    problems: tuple[Problem, ...]


def verify(store: StoreReader, *, quick: bool = False, cancel: threading.Event | None = None) -> Report:
    """Make one whole pass and return all that is wrong."""
    verification = Verification(store, quick=quick, cancel=cancel)
    problems = tuple(verification)
    return Report(verification.checked, problems)


def etag(text: str) -> Version:
    return Version(VersionKind.STRONG, f'"{text}"')


FIRST = etag("1")


def incoming(
    store: Store, track_id: str, data: bytes, *, source: str = "s", version: Version | None = FIRST, digest: str = ""
) -> Incoming:
    path = store.root.partials / uuid.uuid4().hex
    path.write_bytes(data)
    running = BlobDigest()
    running.update(data)
    track = Track(source, track_id, title=f"Title {track_id}", artist="Artist")
    return Incoming(track, version, path, digest or running.hexdigest(), len(data), Media("wav", "audio/wav"), "place")


def put(store: Store, track_id: str, data: bytes, *, source: str = "s", version: Version | None = FIRST) -> Entry:
    [entry] = store.put([incoming(store, track_id, data, source=source, version=version)])
    return entry


def plant_row(rows: Transaction, key: str, row: Row) -> None:
    """Write a row of the index as it is, past whatever keeps it true."""
    rows.set_many([(key, row, None)])


def count_hashes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files that a store hashes from now on to see whether they are whole, as it does."""
    hashed: list[Path] = []

    def counting(path: Path) -> str:
        hashed.append(path)
        return hash_file(path)

    monkeypatch.setattr("cachestore.store.witnesses.hash_file", counting)
    return hashed


def lock(monkeypatch: pytest.MonkeyPatch, *locked: Path) -> None:
    """Let the system refuse to remove files, as it does when they were locked in Finder, or by chattr +i."""
    unlink, places = os.unlink, {str(path) for path in locked}

    def unlink_unless_locked(path: str | Path, **options: int) -> None:
        if os.fspath(path) in places:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", unlink_unless_locked)


def count_blocks_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no file have more than one block, as on ZFS for some seconds after it was written."""

    def counted_late(call: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def counted(*arguments: Any, **options: Any) -> os.stat_result:  # noqa: ANN401 - those of any stat
            info = call(*arguments, **options)
            further = {*dir(info)}.difference(info.__match_args__)  # what is not in the tuple
            names = [name for name in further if name.startswith("st_")]
            return os.stat_result(tuple(info), {name: getattr(info, name) for name in names} | {"st_blocks": 1})

        return counted

    for name in ("stat", "lstat"):
        monkeypatch.setattr(os, name, counted_late(getattr(os, name)))


def drop_rows(store: Store, *keys: str) -> None:
    """Drop rows, as somebody does who knows nothing of the others."""
    with store._transaction() as ledger:
        for key in keys:
            ledger.drop(key)


def held_staging(store: Store, run_id: str, dest: Path, entry: Entry) -> Path:
    """Return the folder in which a run stages a bundle for `dest`, with one hard link that it holds."""
    staging = dest.with_name(f".{dest.name}{staging_suffix(run_id)}")
    staging.mkdir()
    store.link(entry, staging / "01.wav", LinkMode.HARDLINK)
    staged = Staged(store, run_id)
    staged.add(staging / "01.wav", entry.digest)
    staged.hold()
    return staging
