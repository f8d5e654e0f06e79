"""The rows of the index: their keys, and their values as frozen types.

``meta`` the store itself · ``t:source:id`` which versions of a track are kept · ``e:key`` an entry · ``b:digest`` a
blob · ``x:id`` a registered bundle · ``s:id`` what the last look at it saw · ``r:run`` a run that may write ·
``l:run:number`` what it leases.

tables    each kind of row: its prefix, its value, its tag
content   tracks, entries, blobs
registry  bundles and runs
meta      the store itself, with its totals
checks    values out of JSON that anybody may have written
"""

from __future__ import annotations

from cachestore.rows.content import NO_FILE, BlobRow, TrackRow
from cachestore.rows.meta import Home, MetaRow, Totals
from cachestore.rows.registry import Bundle, BundleFile, LeaseRow, RunRow, StampsRow
from cachestore.rows.tables import (
    BLOBS,
    BUNDLES,
    ENTRIES,
    LEASES,
    META,
    RUNS,
    STAMPS,
    TABLES,
    TRACKS,
    Known,
    SeenRow,
    SupportsGetMany,
    Table,
    batches,
    get_as,
    seen_row,
    table_of,
)

__all__ = [
    "BLOBS",
    "BUNDLES",
    "ENTRIES",
    "LEASES",
    "META",
    "NO_FILE",
    "RUNS",
    "STAMPS",
    "TABLES",
    "TRACKS",
    "BlobRow",
    "Bundle",
    "BundleFile",
    "Home",
    "Known",
    "LeaseRow",
    "MetaRow",
    "RunRow",
    "SeenRow",
    "StampsRow",
    "SupportsGetMany",
    "Table",
    "Totals",
    "TrackRow",
    "batches",
    "get_as",
    "seen_row",
    "table_of",
]
