"""Entries as the inspecting commands show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.cli.output import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.rows import Bundle
    from cachestore.store.reader import StoreReader


def bundles_by_digest(store: StoreReader) -> dict[str, dict[Path, Bundle]]:
    """Return the registered bundles that still are there, by digest and then by folder."""
    bundles: dict[str, dict[Path, Bundle]] = {}
    for bundle in store.bundles():
        if bundle.dest.is_dir():
            for file in bundle.files:
                bundles.setdefault(file.digest, {})[bundle.dest] = bundle
    return bundles


def entry_facts(entry: Entry, *, held: bool, bundles: Mapping[Path, Bundle]) -> dict[str, object]:
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
