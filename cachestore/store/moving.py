"""Moving in: a store that was copied or moved forgets what its rows tell of the place where it was before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.boot import boot_id
from cachestore.rows import LEASES, RUNS, Home

if TYPE_CHECKING:
    from cachestore.root import Root
    from cachestore.store.ledger import Transact
    from cachestore.store.rows_reader import RowsReader


def home_of(root: Root) -> Home:
    """Return where a store is now."""
    info = root.path.stat()
    return Home(boot_id(), info.st_dev, info.st_ino)


def move_in(store: RowsReader, transact: Transact) -> None:
    """Forget the runs of the store that this one was copied from, which may live and own what they stage.

    Then all is to be counted and looked at again. Nothing is done for a store that is where it was.
    """
    if not store.is_moved():
        return
    with transact() as ledger:
        meta = ledger.meta()
        if meta is not None and store.is_moved():  # no other process was faster
            for key in (*map(RUNS.key, store.names(RUNS)), *map(LEASES.key, store.names(LEASES))):
                ledger.drop(key)
            ledger.put_meta(replace(meta, counts=0, looks=meta.looks + 1, home=home_of(store.root)))
