"""The use case: a mix becomes a bundle, whole or not at all."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cachestore.errors import CacheStoreError, TrackError
from cachestore.events import Provenance, State, WarningEvent
from cachestore.links import LinkMode
from cachestore.quantities import format_size
from cachestore.rows import Bundle, BundleFile
from exporter_plugin.bundle import inspect, publish, staged, staging_path
from exporter_plugin.formats import BundleRow, BundleView
from exporter_plugin.gather import Gatherer, Options, Placed
from exporter_plugin.manifest import Manifest, done_row, hole_row
from exporter_plugin.mix import read_mix
from exporter_plugin.row import Mix
from exporter_plugin.staging import Staging
from exporter_plugin.telling import Teller

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from cachestore.cache import Cache
    from cachestore.events import OnEvent
    from exporter_plugin.gather import Outcome
    from exporter_plugin.row import Row


@dataclass(frozen=True, slots=True)
class Report:
    """What an export did.

    `total`, `downloaded`, `cached`, `local`, `failed` and `stale` count rows of the mix; `linked` (hard links),
    `copied` (reflinks too) and `bytes` count the audio files of the bundle.
    """

    dest: Path
    name: str
    total: int
    downloaded: int
    cached: int
    local: int
    failed: int
    stale: int
    bytes: int
    linked: int
    copied: int
    errors: tuple[TrackError, ...]

    @property
    def result(self) -> Literal["ok", "partial"]:
        """Return "partial" for a bundle with holes."""
        return "partial" if self.errors else "ok"

    @property
    def exit_code(self) -> int:
        """Return what the command line answers: 0, or 3 for a bundle with holes."""
        return 3 if self.errors else 0


@dataclass(eq=False)
class ExportFailed(CacheStoreError):
    """Tracks failed, so nothing was published. `cached` of all `total` rows are on this machine."""

    errors: Sequence[TrackError]
    cached: int
    total: int

    def __post_init__(self) -> None:
        codes = {error.exit_code for error in self.errors}
        self.exit_code = codes.pop() if len(codes) == 1 else 1

    def __str__(self) -> str:
        failures = "; ".join(str(error) for error in self.errors)
        return f"nothing was published, {len(self.errors)} of {self.total} tracks failed: {failures}"


def export_mix(
    mix: Mix | str | Path,
    dest: Path | str,
    *,
    cache: Cache,
    name: str | None = None,
    link_mode: LinkMode | str | None = None,
    on_error: Literal["fail", "skip"] | None = None,
    jobs: int | None = None,
    offline: bool = False,
    refresh: bool = False,
    on_event: OnEvent | None = None,
    cancel: threading.Event | None = None,
) -> Report:
    """Export `mix`, or the mix in that file, as a bundle at `dest`, and return what was done.

    What is None comes from the configuration of `cache`. Either the bundle is published or `dest` is as it was. Raise
    MixError, DestinationError, ExportFailed when tracks failed, LinkError in a strict link mode, NoSpace or Cancelled.
    """
    mix = mix if isinstance(mix, Mix) else read_mix(mix)
    name = name or mix.name or Path(dest).absolute().name
    skip = (on_error or cache.config.on_error) == "skip"
    options = Options(LinkMode(link_mode or cache.config.link_mode), jobs, offline, refresh)
    tell = on_event or (lambda _: None)
    with closing(Teller(mix.rows, State.SKIPPED if skip else State.FAILED, tell)) as teller:
        destination = inspect(Path(dest), cache.config.root, name)
        stage = partial(staging_path, destination)
        with (
            cache.store.run("export", dest=destination.path, staging=stage) as run_id,
            staged(stage(run_id)) as folder,
        ):
            staging = Staging(folder, destination, mix.rows, tell)
            outcomes = Gatherer(mix.rows, cache, staging, teller, options, cancel).gather()
            _refuse_failures(outcomes, skip=skip)
            manifest = _manifest(name, mix.rows, outcomes, staging)
            publish(folder, destination, manifest, tell)
            cache.store.register(_registration(destination.path, manifest))
    if options.link_mode is LinkMode.AUTO:
        _tell_copies(staging, destination.path, tell)
    cache.enforce_bound()
    return _report(destination.path, name, outcomes)


def _refuse_failures(outcomes: Sequence[Outcome], *, skip: bool) -> None:
    errors = [outcome for outcome in outcomes if isinstance(outcome, TrackError)]
    usable = len(outcomes) - len(errors)
    if errors and (not skip or not usable):
        raise ExportFailed(tuple(errors), cached=usable, total=len(outcomes))


def _manifest(name: str, rows: Sequence[Row], outcomes: Sequence[Outcome], staging: Staging) -> Manifest:
    """Return what bundle.json will say, having written the playlists."""
    settled = list(zip(rows, outcomes, strict=True))
    playlists = staging.write_playlists(BundleView(name, tuple(_seen(*pair) for pair in settled)))
    left = staging.left_of({row.identity for row, outcome in settled if isinstance(outcome, TrackError)})
    tracks = tuple(_recorded(index, *pair) for index, pair in enumerate(settled))
    return Manifest(name, time.time(), (*staging.placed.values(), *left, *playlists), tracks)


def _seen(row: Row, outcome: Outcome) -> BundleRow:
    """Return a row as the formats see it."""
    if isinstance(outcome, TrackError):
        return BundleRow(row, None, outcome.reason)
    return BundleRow(row, outcome.owned.file)


def _recorded(index: int, row: Row, outcome: Outcome) -> dict[str, Any]:
    """Return a row as bundle.json has it. A file that somebody edited has none of the facts of a newer entry."""
    if isinstance(outcome, TrackError):
        return hole_row(index, row, outcome)
    entry = outcome.entry if outcome.entry and outcome.entry.digest == outcome.owned.content else None
    return done_row(index, row, outcome.owned, entry, stale=outcome.stale)


def _registration(dest: Path, manifest: Manifest) -> Bundle:
    """Return the bundle as the store has to know it: which blobs it may hold."""
    files = tuple(
        BundleFile(own.file, own.content, own.link_mode)
        for own in manifest.files
        if own.content and own.link_mode and not own.is_local
    )
    return Bundle(dest, manifest.name, manifest.exported_at, files)


def _tell_copies(staging: Staging, dest: Path, tell: OnEvent) -> None:
    """Warn that the mode "auto" had to copy."""
    copies = [own.size for own in staging.made if own.link_mode is LinkMode.COPY and not own.is_local]
    if copies:
        files = "1 file was" if len(copies) == 1 else f"{len(copies)} files were"
        message = f"{files} copied ({format_size(sum(copies))}), since {dest} cannot have hard links to the cache"
        tell(WarningEvent("link_fallback_copy", message))


def _report(dest: Path, name: str, outcomes: Sequence[Outcome]) -> Report:
    errors = tuple(outcome for outcome in outcomes if isinstance(outcome, TrackError))
    placed = [outcome for outcome in outcomes if isinstance(outcome, Placed)]
    origins = Counter(outcome.origin for outcome in placed)
    files = {outcome.owned.file: outcome.owned for outcome in placed}.values()
    linked = sum(own.link_mode is LinkMode.HARDLINK for own in files)
    return Report(
        dest=dest,
        name=name,
        total=len(outcomes),
        downloaded=origins[Provenance.NETWORK],
        cached=origins[Provenance.CACHE],
        local=origins[Provenance.LOCAL],
        failed=len(errors),
        stale=sum(outcome.stale for outcome in placed),
        bytes=sum(own.size for own in files),
        linked=linked,
        copied=len(files) - linked,
        errors=errors,
    )
