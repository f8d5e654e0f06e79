"""``cachestore prune``: back into the bounds; what cron runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import epilog
from cachestore.cli.output import ago, count, print_json, print_table
from cachestore.errors import BoundUnreachable
from cachestore.quantities import format_size, parse_age, parse_size

if TYPE_CHECKING:
    from cachestore.config import Config
    from cachestore.prune import Limits, Plan, Pruned, Victim
    from cachestore.usage import Usage

_EXITS = {
    4: "there is no store, or a bound cannot be reached",
    75: "busy with another command: try again",
}


@click.command(epilog=epilog(["cachestore prune --dry-run", 'cachestore prune --max-size "10 GB"'], _EXITS))
@click.option("--max-size", type=parse_size, metavar="S", help="Bound the store's own bytes; default: `max_size`.")
@click.option("--max-age", type=parse_age, metavar="A", help="Remove what was not used for that long.")
@click.option("--min-free", type=parse_size, metavar="S", help="Leave the disk that much; default: `min_free`.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@json_option
@pass_settings
def prune(
    settings: Settings,
    *,
    max_size: int | None,
    max_age: float | None,
    min_free: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove what is over the bounds, least recently used first."""
    limits = _limits(settings.config(), max_size, max_age, min_free)
    plan, pruned, used = _foresee(settings, limits) if dry_run else _carry_out(settings, limits)
    if as_json:
        print_json(_facts(pruned, used, limits, dry_run=dry_run))
    elif not settings.quiet:
        _print_person(pruned, verbose=settings.verbose > 0)
        _print_sum(pruned, used, limits, dry_run=dry_run)
    if plan.over_max_size:
        raise BoundUnreachable("max_size", plan.over_max_size)
    if plan.under_min_free:
        raise BoundUnreachable("min_free", plan.under_min_free)


def _limits(config: Config, max_size: int | None, max_age: float | None, min_free: int | None) -> Limits:
    from cachestore.prune import Limits

    return Limits(
        max_size=config.max_size if max_size is None else max_size,
        max_age=config.max_age if max_age is None else max_age,
        min_free=config.min_free if min_free is None else min_free,
        min_age=config.min_age,
    )


def _foresee(settings: Settings, limits: Limits) -> tuple[Plan, Pruned, Usage]:
    """Return the plan, what it would do, and the usage after it, writing nothing."""
    from dataclasses import replace

    from cachestore.prune import Pruned, plan_for
    from cachestore.usage import usage

    with settings.reader() as store:
        plan = plan_for(store, limits, time.time())
        used = usage(store)
    freed = sum(victim.freed for victim in plan.victims)
    return plan, Pruned(plan.victims, (), freed), replace(used, exclusive_bytes=used.exclusive_bytes - freed)


def _carry_out(settings: Settings, limits: Limits) -> tuple[Plan, Pruned, Usage]:
    from cachestore import prune as policy
    from cachestore.usage import usage

    with settings.store() as store, store.run("prune"):
        plan, pruned = policy.prune(store, limits, time.time())
        return plan, pruned, usage(store)


def _facts(pruned: Pruned, used: Usage, limits: Limits, *, dry_run: bool) -> dict[str, object]:
    return {
        "evicted": [_victim_facts(victim) | {"reason": victim.reason} for victim in pruned.evicted],
        "skipped": [_victim_facts(skipped.victim) | {"freed": 0, "reason": skipped.why} for skipped in pruned.skipped],
        "freed_bytes": pruned.freed_bytes,
        "held_bytes": used.held_bytes,
        "exclusive_bytes": used.exclusive_bytes,
        "max_size": limits.max_size,
        "dry_run": dry_run,
    }


def _victim_facts(victim: Victim) -> dict[str, object]:
    entry = victim.entry
    return {
        "key": entry.key,
        "label": entry.label,
        "digest": entry.digest,
        "size": entry.size,
        "freed": victim.freed,
    }


def _print_person(pruned: Pruned, *, verbose: bool) -> None:
    gone = [(victim, victim.reason) for victim in pruned.evicted]
    stayed = [(skipped.victim, f"stays: {skipped.why}") for skipped in pruned.skipped]
    rows = [
        (
            victim.entry.label,
            victim.entry.key,
            format_size(victim.freed),
            ago(victim.entry.used_at),
            why,
            *([victim.entry.digest] if verbose else []),
        )
        for victim, why in [*gone, *stayed]
    ]
    if rows:
        header = ("TRACK", "ADDRESS", "FREED", "LAST USE", "WHY", *(["DIGEST"] if verbose else []))
        print_table(header, rows, right=frozenset({2}))


def _print_sum(pruned: Pruned, used: Usage, limits: Limits, *, dry_run: bool) -> None:
    verb = "would remove" if dry_run else "removed"
    click.echo(
        f"{verb} {count(len(pruned.evicted), 'track')}, {format_size(pruned.freed_bytes)}; then "
        f"{format_size(used.bounded_bytes)} of {format_size(limits.max_size)} used, {format_size(used.held_bytes)} held"
    )
