"""``cachestore prune``: back into the bounds; what cron runs."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import epilog
from cachestore.cli.output import ago, count, print_json_object, print_table
from cachestore.cli.signals import cancel_on_signals
from cachestore.errors import BoundUnreachable, Busy, Cancelled
from cachestore.quantities import format_size, parse_age, parse_size

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cachestore.config import Config
    from cachestore.entry import Entry
    from cachestore.prune import Candidate, Limits, Outcome, Plan
    from cachestore.rows import Totals
    from cachestore.runs import PruneLock
    from cachestore.store.reader import StoreReader
    from cachestore.sweep import Leftovers

_LONG_AGO = 7 * 86400.0  # seconds without a prune that a timer does not leave out
_EXITS = {
    4: "there is no store, or a bound cannot be reached",
    75: "busy with another command: try again",
}


@click.command(epilog=epilog(["cachestore prune --dry-run", 'cachestore prune --max-size "10 GB"'], _EXITS))
@click.option("--max-size", type=parse_size, metavar="S", help="Bound the store's own bytes; default: `max_size`.")
@click.option("--max-age", type=parse_age, metavar="A", help="Remove what was not used for that long.")
@click.option("--min-free", type=parse_size, metavar="S", help="Leave the disk that much; default: `min_free`.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--no-wait", is_flag=True, help="Fail when another prune is running, instead of waiting for its end.")
@json_option
@pass_settings
def prune(
    settings: Settings,
    *,
    max_size: int | None,
    max_age: float | None,
    min_free: int | None,
    dry_run: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Remove what is over the bounds, least recently used first."""
    limits = _limits(settings.config(), max_size, max_age, min_free)
    with _foreseen(settings, limits) if dry_run else _carried_out(settings, limits, no_wait=no_wait) as pruning:
        if as_json:
            print_json_object(_facts(pruning, limits, dry_run=dry_run))
        else:
            _print_person(pruning, limits, settings, dry_run=dry_run)
        pruning.raise_failure(dry_run=dry_run)


def _limits(config: Config, max_size: int | None, max_age: float | None, min_free: int | None) -> Limits:
    from cachestore.prune import Limits

    return Limits(
        max_size=config.max_size if max_size is None else max_size,
        max_age=config.max_age if max_age is None else max_age,
        min_free=config.min_free if min_free is None else min_free,
        min_age=config.min_age,
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """What became of an entry, or of a file without one: `freed` bytes of disk, and why it went or stayed."""

    blob: Candidate
    entry: Entry | None
    freed: int
    why: str


class _Pruning:
    """A prune under way, or one foreseen: what becomes of its victims as it comes, and what that adds up to.

    `partial` and `quarantine` are the bytes of disk that were taken before, or would be, of unfinished downloads and
    from quarantine.
    """

    def __init__(
        self,
        store: StoreReader,
        plan: Plan,
        outcomes: Iterable[Outcome],
        left: Leftovers,
        partial: int,
        quarantine: int,
    ) -> None:
        self.store = store
        self.plan = plan
        self.partial = partial
        self.quarantine = quarantine
        self._left = left
        self.logical = (store.totals() + left.change).logical
        self.freed = self.gone = 0
        self.stayed: list[_Line] = []
        self._outcomes = outcomes
        self._failure: Exception | None = None

    def evicted(self) -> Iterator[_Line]:
        """Yield what went; a failure ends that, and is raised later."""
        try:
            for outcome in self._outcomes:
                self.freed += outcome.freed
                yield from self._gone(outcome)
        except Exception as error:  # noqa: BLE001 - what was done is told to its end, whatever stopped it
            self._failure = error

    def _gone(self, outcome: Outcome) -> Iterator[_Line]:
        blob = outcome.victim.blob
        members = list(zip(blob.names, blob.entries or (None,), strict=True))
        kept = [_Line(blob, entry, 0, outcome.stayed[name]) for name, entry in members if name in outcome.stayed]
        gone = [entry for name, entry in members if name not in outcome.stayed]
        self.stayed += kept
        self.gone += len(gone)
        for entry in gone:
            # A blob gives back its bytes with the last of its entries.
            yield _Line(blob, entry, outcome.freed if entry is gone[-1] else 0, outcome.victim.reason)

    def totals(self, *, dry_run: bool) -> Totals:
        """Return the totals after the prune, or as they would be."""
        totals = self.store.totals() + self.store.held_change().totals + self._left.change
        return replace(totals, exclusive=totals.exclusive - self.plan.cost) if dry_run else totals

    def bounded(self, *, dry_run: bool) -> int:
        """Return the bytes that max_size bounds after the prune, or as they would be."""
        from cachestore.store.costs import unfinished_bytes

        if dry_run:
            return self.plan.bounded
        return self.totals(dry_run=False).exclusive + unfinished_bytes(self.store.root)  # a failure ends it half-way

    def raise_failure(self, *, dry_run: bool) -> None:
        """Raise what ended the prune too early, or BoundUnreachable when a bound does not hold after it."""
        if self._failure is not None:
            raise self._failure
        for bound, missing in (("max_size", self.plan.over_max_size), ("min_free", self.plan.under_min_free)):
            if missing:
                raise BoundUnreachable(bound, missing, self._accounts(dry_run=dry_run))

    def _accounts(self, *, dry_run: bool) -> str:
        """Return ``210 GB logical, 12 GB yours to free, 190 GB held, 8.0 GB pinned``, or what is left and was freed."""
        stayed = [f"{format_size(size)} {why}" for why, size in [*self.plan.stayed.most_common(), *self._others()]]
        mine = f"{format_size(self.plan.frees)} {'yours to free' if dry_run else 'freed'}"
        logical = self.logical if dry_run else self.store.totals().logical
        return ", ".join([f"{format_size(logical)} logical", mine, *stayed])

    def _others(self) -> Iterator[tuple[str, int]]:
        """Yield what costs disk and is no track, and how much."""
        from cachestore.store.costs import cost_of

        root, left = self.store.root, self._left
        for why, size in (
            ("in unfinished downloads", cost_of(root.partials) - left.partial),
            ("in quarantine (cachestore rm --quarantined)", cost_of(root.quarantine) - left.quarantine),
        ):
            if size > 0:
                yield why, size


@contextmanager
def _foreseen(settings: Settings, limits: Limits) -> Iterator[_Pruning]:
    """Give what a prune would do, writing nothing."""
    from cachestore.prune import Outcome, foreseen
    from cachestore.sweep import foresee

    with cancel_on_signals() as cancel, settings.reader() as store:
        now = time.time()
        left = foresee(store, now, cancel, max_size=limits.max_size)
        plan = foreseen(store, limits, now, left, cancel)
        yield _Pruning(store, plan, (Outcome(v, v.blob.frees) for v in plan), left, left.partial, left.quarantine)


@contextmanager
def _carried_out(settings: Settings, limits: Limits, *, no_wait: bool) -> Iterator[_Pruning]:
    """Give a prune that goes on as its outcomes are asked for. Raise Busy, or wait for another one to end."""
    from cachestore.prune import apply, prune
    from cachestore.root import existing_root, giving_up_ballast, load_ballast
    from cachestore.store.costs import cost_of
    from cachestore.sweep import Leftovers

    root = existing_root(settings.config().root)
    with ExitStack() as stack:
        cancel = stack.enter_context(cancel_on_signals())
        stack.callback(_sole(root.runs, None if no_wait else cancel).release)
        stack.callback(load_ballast, root)
        store = giving_up_ballast(root, lambda: stack.enter_context(settings.store(cancel)))
        giving_up_ballast(root, lambda: stack.enter_context(store.run("prune")))
        before = [*map(cost_of, (root.partials, root.quarantine))]
        plan = prune(store, limits, time.time(), cancel)
        after = map(cost_of, (root.partials, root.quarantine))
        taken = (max(0, had - has) for had, has in zip(before, after, strict=True))
        yield _Pruning(store, plan, apply(store, plan), Leftovers(), *taken)


def _sole(folder: Path, cancel: threading.Event | None) -> PruneLock:
    """Return the lock of the one prune of a store. Raise Cancelled, or Busy when it is not to be waited for."""
    from cachestore.runs import PruneLock

    lock = PruneLock.acquire(folder, cancel.is_set if cancel else None)
    if lock is None:
        raise Cancelled if cancel else Busy("pruning this store")
    return lock


def _facts(pruning: _Pruning, limits: Limits, *, dry_run: bool) -> Iterator[tuple[str, object]]:
    yield "evicted", map(_line_facts, pruning.evicted())
    yield "skipped", map(_line_facts, pruning.stayed)
    totals = pruning.totals(dry_run=dry_run)
    yield "freed_bytes", pruning.freed
    yield "partial_freed_bytes", pruning.partial
    yield "quarantine_freed_bytes", pruning.quarantine
    yield "held_bytes", totals.held
    yield "exclusive_bytes", totals.exclusive
    yield "logical_bytes", pruning.logical
    yield "stayed", dict(pruning.plan.stayed)
    yield "max_size", limits.max_size
    yield "dry_run", dry_run


def _line_facts(line: _Line) -> dict[str, object]:
    return {
        "key": line.entry.key if line.entry else None,
        "label": line.entry.label if line.entry else None,
        "digest": line.blob.digest,
        "size": line.blob.size,
        "freed": line.freed,
        "reason": line.why,
    }


def _print_person(pruning: _Pruning, limits: Limits, settings: Settings, *, dry_run: bool) -> None:
    if settings.quiet:
        for _ in pruning.evicted():
            pass
        return
    rows = _rows(pruning, verbose=settings.verbose > 0)
    header = ("TRACK", "ADDRESS", "FREED", "LAST USE", "WHY", *(["DIGEST"] if settings.verbose else []))
    print_table(header, rows, right=frozenset({2}))
    used, held = pruning.bounded(dry_run=dry_run), pruning.totals(dry_run=dry_run).held
    verb = "would remove" if dry_run else "removed"
    besides = (("unfinished downloads", pruning.partial), ("quarantine", pruning.quarantine))
    more = "".join(f", and {format_size(size)} of {what}" for what, size in besides if size)
    click.echo(
        f"{verb} {count(pruning.gone, 'track')}, {format_size(pruning.freed)}{more}; then "
        f"{format_size(used)} of {format_size(limits.max_size)} used, {format_size(held)} held"
    )
    if limits.max_age is not None and time.time() - pruning.plan.aged_until > _LONG_AGO:
        since = ago(pruning.plan.aged_until)
        click.echo(
            f"max_age was judged as of the last prune or export, {since}: what is too old since, the next one removes"
        )


def _rows(pruning: _Pruning, *, verbose: bool) -> Iterator[tuple[str, ...]]:
    for line in pruning.evicted():
        yield _row(line, line.why, verbose=verbose)
    for line in pruning.stayed:
        yield _row(line, f"stays: {line.why}", verbose=verbose)


def _row(line: _Line, why: str, *, verbose: bool) -> tuple[str, ...]:
    name = (line.entry.label, line.entry.key) if line.entry else ("-", line.blob.digest)
    digest = (line.blob.digest,) if verbose else ()
    return *name, format_size(line.freed), ago(line.blob.used_at), why, *digest
