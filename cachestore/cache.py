"""The read-through cache: the one room where network and disk meet."""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cachestore.config import load_config
from cachestore.errors import Busy, Cancelled, NoSpace
from cachestore.events import Provenance, WarningEvent
from cachestore.fetching.clearing import Means
from cachestore.fetching.decide import Policy
from cachestore.fetching.run import FetchRun
from cachestore.fetching.telling import Teller
from cachestore.fetching.wanted import Result
from cachestore.links import LinkMode
from cachestore.prune import Limits, apply_further, holds, plan_for, plan_without_partials
from cachestore.runs import PruneLock
from cachestore.store.evict import LOCKED
from cachestore.store.reservations import Bounds, cost_of_body
from cachestore.store.staged import Staged
from cachestore.store.writer import Store
from cachestore.sweep import dead_runs, trim_quarantine

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from cachestore.config import Config
    from cachestore.entry import Entry
    from cachestore.events import OnEvent
    from cachestore.fetching.rooms import Rooms
    from cachestore.fetching.workers import Workers
    from cachestore.prune import Plan
    from cachestore.track import Track

__all__ = ["Cache", "Result"]


class Cache:
    """Tracks that are downloaded once and linked as often as wanted; to be used from one thread."""

    def __init__(self, config: Config, store: Store) -> None:
        self.config = config
        self.store = store
        self._downloaded: set[str] = set()
        self._lost: set[str] = set()
        self._reasons: set[str] = set()
        self._staged: Staged | None = None

    @classmethod
    def open(
        cls, config: Config | None = None, *, root: Path | str | None = None, cancel: threading.Event | None = None
    ) -> Cache:
        """Open the cache with `config`, else as the command line finds it; `root` goes before both.

        `cancel` ends any wait for another process. Raise ConfigError, RootUnusable, RootTooNew, Busy, Cancelled or
        IndexDamaged.
        """
        if config is None:
            config = load_config(root=Path(root) if root is not None else None)
        cancelled = cancel.is_set if cancel is not None else lambda: False
        return cls(config, Store.open(Path(root) if root is not None else config.root, cancelled))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is Cancelled:
            self._downloaded.clear()  # a cancel does not wait for housekeeping; the next run or cron does it
        self.close()

    def close(self) -> None:
        """Write what is still to be written, enforce the bounds if anything was downloaded, and close the store."""
        try:
            if self._downloaded:
                self.enforce_bound()
        finally:
            self.store.close()

    def fetch(
        self,
        tracks: Sequence[Track],
        *,
        jobs: int | None = None,
        refresh: bool = False,
        offline: bool = False,
        on_event: OnEvent | None = None,
        cancel: threading.Event | None = None,
    ) -> Generator[Result]:
        """Yield one Result a track, in input order, each once its bytes are in the store or it failed.

        Equal tracks are asked for once; up to `jobs` downloads run at a time. `refresh` downloads whatever is kept,
        `offline` makes no request. Events come in the caller's thread. When `cancel` is set, Cancelled is raised
        within three seconds; what was finished stays in the store. Raise ConfigError, NoSpace, Busy or Cancelled.
        """
        if jobs is not None and jobs < 1:
            raise ValueError(f"jobs is {jobs}; expected at least 1")
        cancel = cancel or threading.Event()
        policy = Policy(offline, refresh, self.config.fresh_for, self.config.stale_if_error)
        run = FetchRun(
            self.store,
            tracks,
            policy,
            hire=lambda rooms: self._hire(jobs or self.config.jobs, rooms),
            means=Means(self._limits(), self.config.total_timeout, self._look, self._carry_out),
            teller=Teller(on_event or (lambda _: None)),
            cancel=cancel,
        )
        with self.store.cancelled_by(cancel), self._noting(), closing(run.results()) as results:
            for result in results:
                if result.origin is Provenance.NETWORK:
                    self._downloaded.add(result.entry.key)
                    self._lost.discard(result.entry.key)
                yield result

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Write at the end of the block what it noted; within `staging` that is done once, when a bundle is known."""
        try:
            yield
        finally:
            if self._staged is None:
                self.store.flush()

    def _hire(self, jobs: int, rooms: Rooms) -> Workers:
        from cachestore.fetching.workers import Workers

        return Workers(self.config, self.store.root, jobs, rooms)

    def enforce_bound(self, on_event: OnEvent | None = None) -> None:
        """Evict what the bounds demand: what an export calls when it is done, and `close` after downloads.

        Does nothing while another process prunes. `min_age` keeps cron from taking what was just downloaded; here it
        yields, or the bound would not hold. A warning tells when what this cache downloaded could not be kept.
        """
        lock = PruneLock.acquire(self.store.root.runs)
        if lock is None:
            return
        try:
            self._evict(on_event)
        except Cancelled:
            self._downloaded.clear()  # or closing would begin again
            raise
        finally:
            lock.release()

    def _evict(self, on_event: OnEvent | None) -> None:
        limits = replace(self._limits(), max_age=self.config.max_age)
        now = time.time()
        known_at = self.store.meta().known_at(now)
        for dead in dead_runs(self.store, known_at):
            dead.take(self.store)
        trim_quarantine(self.store, now, limits.max_size)
        if not holds(self.store, limits):
            self._carry_out(plan_without_partials(self.store, limits, now, known_at=known_at))
        with suppress(NoSpace, Busy):  # what was exported is there: the next one notes it
            self.store.export_ended(now)
        if self._lost and on_event is not None:
            message = (
                f"of what was downloaded, {len(self._lost)} will have to be downloaded again: "
                f"{', '.join(sorted(self._reasons))} left no room to keep it"
            )
            on_event(WarningEvent("not_kept", message))
        self._downloaded.clear()
        self._lost.clear()
        self._reasons.clear()

    def _limits(self) -> Limits:
        return Limits(self.config.max_size, self.config.min_free)

    def _look(self) -> None:
        """Bring up to date what bundles hold, and what is staged, and let quarantine have its share and no more."""
        if self._staged is not None:
            self._staged.hold()
        self.store.look_at_bundles()
        trim_quarantine(self.store, time.time(), self.config.max_size)

    def _carry_out(self, plan: Plan) -> set[str]:
        """Evict, note what of it was downloaded just now, and return the digests of what cannot be removed."""
        locked: set[str] = set()
        for outcome in apply_further(self.store, plan):
            self._reasons.add(outcome.victim.reason)
            gone = {entry.key for entry in outcome.victim.blob.entries}.difference(outcome.stayed)
            self._lost |= gone & self._downloaded
            if LOCKED in outcome.stayed.values():
                locked.add(outcome.victim.blob.digest)
        return locked

    @contextmanager
    def _has_room(self, size: int) -> Iterator[bool]:
        """Have room reserved in the store for so many bytes within the block, and say whether there is any."""
        limits, need = self._limits(), cost_of_body(size)
        bounds = Bounds(limits.max_size, limits.min_free)
        with self.store.run("link") as run_id:

            def is_reserved() -> bool:
                return self.store.reserve(run_id, need, spare=0, unwritten=0, bounds=bounds) > 0

            is_there = is_reserved()
            if not is_there:
                self._look()
                self._carry_out(plan_for(self.store, limits, time.time(), need=need + self.store.reserved()))
                is_there = is_reserved()
            yield is_there

    @contextmanager
    def staging(self, run_id: str) -> Iterator[None]:
        """Let blobs that get links in the staging folder of a run within the block stay as long as it lives.

        Where room is short they count as held: another link to them costs nothing.
        """
        self._staged = Staged(self.store, run_id)
        try:
            yield
        finally:
            staged, self._staged = self._staged, None
            staged.end()
            self.store.flush()

    def find(self, track: Track) -> Entry | None:
        """Return the entry of `track` if its bytes are in the store and whole, without a request."""
        return self.store.find(track)

    def link(self, entry: Entry, dest: Path | str, mode: LinkMode | str | None = None) -> LinkMode:
        """Give the file of `entry` the name `dest`, made with its folder, and return the mode used.

        Never overwrites: FileExistsError. `mode` defaults to `link_mode` of the configuration. Raise BlobDamaged,
        LinkError or NoSpace.
        """
        wanted = LinkMode(mode or self.config.link_mode)
        try:
            used = self.store.link(entry, dest, wanted, self._has_room)
        except FileNotFoundError:
            Path(dest).parent.mkdir(parents=True, exist_ok=True)
            used = self.store.link(entry, dest, wanted, self._has_room)
        if self._staged is not None and used is LinkMode.HARDLINK:
            self._staged.add(dest, entry.digest)
        return used
