"""The use case: a mix becomes a bundle, whole or not at all."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cachestore.blobs import checked
from cachestore.errors import Cancelled
from cachestore.events import State, WarningEvent
from cachestore.links import LinkMode
from cachestore.quantities import format_size
from cachestore.rows import Bundle, BundleFile
from cachestore.sweep import dead_runs
from exporter_plugin.foresight import copies_of, kept_of
from exporter_plugin.formats import chosen
from exporter_plugin.formats.view import BundleView
from exporter_plugin.gather import gather, raise_if_set
from exporter_plugin.inspection import inspect
from exporter_plugin.layout import Layout
from exporter_plugin.manifest import Manifest
from exporter_plugin.mix import read_mix
from exporter_plugin.options import CONFIGURED
from exporter_plugin.outcome import ExportFailed, Hole, report_of
from exporter_plugin.publish import publish
from exporter_plugin.row import Mix
from exporter_plugin.row_events import RowEvents
from exporter_plugin.staging import Staging, staged

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from cachestore.cache import Cache
    from cachestore.events import OnEvent
    from cachestore.store.writer import Store
    from exporter_plugin.destination import Destination
    from exporter_plugin.manifest import OwnedFile
    from exporter_plugin.options import Options, Wishes
    from exporter_plugin.outcome import Outcome, Report
    from exporter_plugin.row import Row


def export_mix(
    mix: Mix | str | Path,
    dest: Path | str,
    options: Options = CONFIGURED,
    *,
    cache: Cache,
    on_event: OnEvent | None = None,
    cancel: threading.Event | None = None,
) -> Report:
    """Export `mix`, or the one that `read_mix` finds there, as a bundle at `dest`, and return what was done.

    Either the bundle is published or `dest` is as it was. Raise TemplateError, FormatUnknown, MixError,
    DestinationError, ExportFailed when tracks failed, LinkError in a strict link mode, NoSpace or Cancelled.
    """
    began, tell = time.monotonic(), on_event or (lambda _: None)
    wishes = options.over(cache.config)
    mix = mix if isinstance(mix, Mix) else read_mix(mix, config=cache.config, offline=options.offline, cancel=cancel)
    chosen(options.formats)
    on_failure = State.SKIPPED if wishes.skips_failures else State.FAILED
    fetch = partial(cache.fetch, jobs=options.jobs, offline=options.offline, refresh=options.refresh, cancel=cancel)
    check = partial(raise_if_set, cancel)
    with closing(RowEvents(mix.rows, on_failure, tell)) as events:
        destination = inspect(dest, cache.config.root, options.name or mix.name)
        filling = partial(gather, mix.rows, events=events, fetch=fetch, link=cache.link, cancel=cancel)
        with checked(check):  # new names are chosen by what nobody changed: all is hashed
            layout = Layout(destination, mix.rows, wishes, cache.store.is_blob)
        try:
            outcomes = _export(mix.rows, destination, layout, cache, wishes, filling, check, tell, options.formats)
        except ExportFailed as failed:
            cache.enforce_bound(tell)
            failed.kept = kept_of(mix.rows, cache.store, failed.failures)
            raise
    with suppress(Cancelled):  # the bundle is there
        cache.enforce_bound(tell)
    errors = [outcome.error for outcome in outcomes if isinstance(outcome, Hole)]
    kept = kept_of(mix.rows, cache.store, errors) if errors else None
    return report_of(destination.path, destination.name, outcomes, kept, time.monotonic() - began)


def _export(
    rows: Sequence[Row],
    destination: Destination,
    layout: Layout,
    cache: Cache,
    wishes: Wishes,
    filling: Callable[[Staging], list[Outcome]],
    check: Callable[[], None],
    tell: OnEvent,
    formats: Collection[str],
) -> list[Outcome]:
    """Publish the bundle that comes of `filling` a staging folder, and return what became of the rows.

    What is hashed before anything is published is interrupted by what `check` raises. What is published is not
    cancelled any more: the next export registers it.
    """
    store, is_published = cache.store, False
    for dead in dead_runs(store, store.meta().known_at(time.time())):
        dead.take(store)
    try:
        with (
            store.run("export", dest=destination.path) as run_id,
            staged(destination, run_id) as folder,
            cache.staging(run_id),
        ):
            copies = partial(copies_of, rows, store, layout)
            staging = Staging(folder, destination, layout, copies, wishes.link_mode, tell)
            with checked(check):
                outcomes = filling(staging)
                _refuse_failures(outcomes, skip=wishes.skips_failures)
                outcomes = staging.settle(outcomes)
                playlists = staging.write_playlists(BundleView(destination.name, outcomes, staging.locate), formats)
                manifest = _manifest(destination.name, outcomes, (*staging.files(), *playlists))
                is_new = publish(folder, destination, manifest, tell, overwrite_edited=wishes.overwrite_edited)
            is_published = True
            _register(_registration(destination.path, manifest), store, is_new=is_new)
    except Cancelled:
        if not is_published:
            raise
    if wishes.link_mode is LinkMode.AUTO:
        _tell_copies(destination, manifest, tell)
    return outcomes


def _refuse_failures(outcomes: Sequence[Outcome], *, skip: bool) -> None:
    errors = [outcome.error for outcome in outcomes if isinstance(outcome, Hole)]
    if errors and (not skip or len(errors) == len(outcomes)):
        raise ExportFailed(errors, len(outcomes), cloud=sum(outcome.row.path is None for outcome in outcomes))


def _manifest(name: str, outcomes: Sequence[Outcome], files: tuple[OwnedFile, ...]) -> Manifest:
    tracks = tuple(outcome.record(index) for index, outcome in enumerate(outcomes))
    return Manifest(name, time.time(), files, tracks)


def _register(bundle: Bundle, store: Store, *, is_new: bool) -> None:
    """Let the store know the bundle; one that is as it was is known, unless the index was lost."""
    known = store.bundle(bundle.id)
    if is_new or known is None or replace(known, exported_at=bundle.exported_at) != bundle:
        store.register(bundle)


def _registration(dest: Path, manifest: Manifest) -> Bundle:
    """Return the bundle as the store has to know it: which blobs it may hold."""
    files = tuple(
        BundleFile(own.file, own.digest, own.link_mode) for own in manifest.files if own.link_mode and not own.is_local
    )
    return Bundle(dest, manifest.name, manifest.exported_at, files)


def _tell_copies(destination: Destination, manifest: Manifest, tell: OnEvent) -> None:
    """Warn that the mode "auto" had to copy."""
    before = {(own.file, own.digest) for own in destination.owned}
    made = [own for own in manifest.files if (own.file, own.digest) not in before]
    copies = [own.size for own in made if own.link_mode is LinkMode.COPY and not own.is_local]
    if copies:
        files = "1 file was" if len(copies) == 1 else f"{len(copies)} files were"
        where = f"{destination.path} cannot have hard links to the cache"
        tell(WarningEvent("link_fallback_copy", f"{files} copied ({format_size(sum(copies))}), since {where}"))
