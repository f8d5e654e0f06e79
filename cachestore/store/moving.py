"""Moving in: a store that was copied or moved forgets what its rows tell of the place where it was before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.rows import LEASES, RUNS

if TYPE_CHECKING:
    from cachestore.store.ledger import Transact
    from cachestore.store.rows_reader import RowsReader


def move_in(store: RowsReader, transact: Transact) -> None:
    """Forget the runs of the store that this one was copied from, which may live and own what they stage.

    Only where that is remains known: if they have died, too, nobody else comes for it. Then all is to be counted and
    looked at again. Nothing is done for a store that is where it was.
    """
    if not store.is_moved():
        return
    with transact() as ledger:
        meta = ledger.meta()
        if meta is not None and store.is_moved():  # no other process was faster
            staging = {run_id: run for run_id, run in store.scan(RUNS) if run.dest is not None}
            for key in (*map(RUNS.key, store.names(RUNS)), *map(LEASES.key, store.names(LEASES))):
                ledger.drop(key)
            for run_id, run in staging.items():
                ledger.put_run(run_id, replace(run, reserved=0, announced=0, is_foreign=True))
            ledger.put_meta(replace(meta, counts=0, looks=meta.looks + 1, home=store.home()))
