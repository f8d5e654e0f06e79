"""What crashes leave behind, and nobody will come back for: dead runs, orphans, old partials, lost bundles."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.runs import forget, is_alive, run_ids

if TYPE_CHECKING:
    from cachestore.store.writer import Store

_OLD_PARTIAL = 7 * 86400.0
_OLD_QUARANTINE = 30 * 86400.0


def sweep(store: Store, now: float) -> None:
    """Remove what is left of dead runs, then what nothing refers to."""
    _sweep_runs(store)
    _sweep_orphans(store)
    _sweep_old_files(store.root.partials, now - _OLD_PARTIAL)
    _sweep_old_files(store.root.quarantine, now - _OLD_QUARANTINE)
    _sweep_bundles(store)


def _sweep_runs(store: Store) -> None:
    folder = store.root.runs
    dead = {run_id: run for run_id, run in store.runs() if not is_alive(folder, run_id)}
    for run_id, run in dead.items():
        # The name holds the run's id: nothing else can be meant, whatever the row says.
        if run.staging is not None and run_id in Path(run.staging).name:
            shutil.rmtree(run.staging, ignore_errors=True)
    store.forget_runs(dead)
    for run_id in list(run_ids(folder)):
        if not is_alive(folder, run_id):
            forget(folder, run_id)


def _sweep_orphans(store: Store) -> None:
    """Remove blobs that no row knows and that are younger than the index: their publishing crashed half-way.

    Older ones are not ours to judge: the index was lost, and they can be indexed again.
    """
    created_at = store.meta()["created_at"]
    for path in store.blobs.iterate():
        digest = store.blobs.digest_of(path)
        with suppress(FileNotFoundError):
            if digest is not None and path.stat().st_ctime > created_at:
                store.remove_orphan(digest)


def _sweep_old_files(folder: Path, before: float) -> None:
    with os.scandir(folder) as files:
        for file in files:
            with suppress(FileNotFoundError):
                if file.is_file(follow_symlinks=False) and file.stat(follow_symlinks=False).st_mtime < before:
                    Path(file.path).unlink()


def _sweep_bundles(store: Store) -> None:
    """Forget bundles whose folder is gone while the folder around it is there: deleted or moved, not unplugged."""
    lost = [bundle for bundle in store.bundles() if not bundle.dest.exists() and bundle.dest.parent.is_dir()]
    store.forget([bundle.row_key for bundle in lost])
