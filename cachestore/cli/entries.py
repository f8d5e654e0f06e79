"""Entries as the inspecting commands show them."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from cachestore.cli.output import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.store.reader import StoreReader


class BundlesOf:
    """Which bundles list a blob and are still there, in one sorted list of bytes: there may be a million."""

    def __init__(self, store: StoreReader) -> None:
        self._dests: list[Path] = []
        self._listed: list[bytes] = []
        for bundle in store.bundles():
            if bundle.dest.is_dir():
                number = len(self._dests).to_bytes(4)
                self._dests.append(bundle.dest)
                self._listed += [_packed(digest) + number for digest in {file.digest for file in bundle.files}]
        self._listed.sort()

    def of(self, digest: str) -> list[Path]:
        """Return the folders of the bundles that list the blob of `digest`."""
        packed = _packed(digest)
        first, end = (bisect_left(self._listed, packed + bound) for bound in (b"", b"\xff" * 5))
        return [self._dests[int.from_bytes(listed[len(packed) :])] for listed in self._listed[first:end]]


def _packed(digest: str) -> bytes:
    return bytes.fromhex(digest.partition(":")[2])


def entry_facts(entry: Entry, *, held: bool, bundles: Iterable[Path]) -> dict[str, object]:
    """Return the JSON object of an entry."""
    return {
        "key": entry.key,
        "source": entry.source,
        "id": entry.id,
        "label": entry.label,
        "size": entry.size,
        "ext": entry.ext,
        "stored_at": rfc3339(entry.stored_at),
        "validated_at": rfc3339(entry.validated_at),
        "used_at": rfc3339(entry.used_at),
        "pinned": entry.pinned,
        "held": held,
        "bundles": sorted(map(str, bundles)),
    }
