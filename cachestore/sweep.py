"""What crashes leave behind, and nobody will come back for: dead runs, orphans, old partials, lost bundles."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.blobs import moved_at
from cachestore.errors import AddressError
from cachestore.partials import abandoned
from cachestore.runs import is_alive, remove_if_dead, run_ids, staging_suffix
from cachestore.track import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cachestore.partials.sidecar import Sidecar
    from cachestore.store.writer import Store

_OLD_PARTIAL = 7 * 86400.0
_OLD_QUARANTINE = 30 * 86400.0


def sweep(store: Store, now: float) -> None:
    """Remove what is left of dead runs, then what nothing refers to."""
    _sweep_partials(store, now)
    _sweep_runs(store)
    _sweep_orphans(store)
    _sweep_quarantine(store, now)
    _sweep_bundles(store)


def _sweep_partials(store: Store, now: float) -> None:
    """Remove what is old, and what is claimed and of no use; nothing claimed while a run lives that may own it."""
    left = list(abandoned(store.root.partials, before=now - _OLD_PARTIAL))
    others = {run_id for run_id, run in store.runs() if run.command != "fetch"}
    a_fetch_lives = any(is_alive(store.root.runs, run_id) for run_id in {*run_ids(store.root.runs)} - others)
    for partial in left:
        if partial.is_claimed and a_fetch_lives:
            continue
        if partial.is_old or not _is_of_use(store, partial.rest):
            partial.remove()


def _is_of_use(store: Store, rest: Sidecar | None) -> bool:
    """Return whether a partial is one of something that is not in the store yet."""
    if rest is None or rest.version is None:
        return False
    try:
        track = parse_address(rest.address)
    except AddressError:  # no program of ours wrote that
        return False
    return all(entry.version != rest.version for entry in store.kept([track]).get(track.address, []))


def _sweep_runs(store: Store) -> None:
    folder = store.root.runs
    known = dict(store.runs())
    for run_id in {*known, *run_ids(folder)}:
        if not remove_if_dead(folder, run_id):
            continue
        if run_id in known and _sweep_staging(run_id, known[run_id].dest):
            store.forget_runs([run_id])


def _sweep_staging(run_id: str, dest: str | None) -> bool:
    """Remove what a dead run staged, in its destination or beside it, and return whether nothing can be left."""
    if dest is None:
        return True
    folder = Path(dest)
    for place in (folder, folder.parent):
        for staging in _children(place):
            # The name ends in the run's id: nothing else can be meant.
            if staging.name.endswith(staging_suffix(run_id)) and not staging.is_symlink():
                shutil.rmtree(staging, ignore_errors=True)
    return folder.parent.is_dir()


def _children(folder: Path) -> Iterable[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _sweep_orphans(store: Store) -> None:
    for batch in store.orphans():
        if batch:
            store.remove_orphans(batch)


def _sweep_quarantine(store: Store, now: float) -> None:
    """Remove what was put into quarantine long ago, by its name: its own times mean something else."""
    for path in _children(store.root.quarantine):
        when = moved_at(path.name)
        if when is not None and when < now - _OLD_QUARANTINE:
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _sweep_bundles(store: Store) -> None:
    """Forget bundles whose folder is gone while the folder around it is there: deleted or moved, not unplugged."""
    store.forget([bundle.row_key for bundle in store.bundles() if _is_deleted(bundle.dest)])


def _is_deleted(dest: Path) -> bool:
    try:
        return dest.parent.is_dir() and not dest.exists()
    except OSError:
        return False
