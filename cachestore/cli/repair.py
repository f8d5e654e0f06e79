"""``cachestore repair``: mend what verify finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import CHANGING, epilog
from cachestore.cli.output import count, print_json, print_table
from cachestore.cli.signals import cancel_on_signals
from cachestore.cli.verify import problem_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.verify import Repair


@click.command(epilog=epilog(["cachestore repair", "cachestore repair --json"], CHANGING))
@json_option
@pass_settings
def repair(settings: Settings, *, as_json: bool) -> None:
    """Check every file and mend what is wrong: what is damaged is downloaded again when it is next asked for."""
    from cachestore import verify as truth

    with cancel_on_signals() as cancel, settings.store() as store, store.run("repair"):
        report = truth.verify(store, cancel=cancel)
        repairs = truth.repair(store, report)
    if as_json:
        print_json({"checked": report.checked, "repairs": [_facts(repair) for repair in repairs]})
    else:
        _print_person(repairs, report.checked, quiet=settings.quiet)


def _facts(repair: Repair) -> dict[str, object]:
    return problem_facts(repair.problem) | {"action": repair.action}


def _print_person(repairs: Sequence[Repair], checked: int, *, quiet: bool) -> None:
    if repairs:
        rows = [(done.problem.kind, done.problem.label, done.problem.key, done.action) for done in repairs]
        print_table(("PROBLEM", "TRACK", "WHERE", "DONE"), rows)
    if not quiet:
        click.echo(f"checked {count(checked, 'file')}, found {count(len(repairs), 'problem')}")
