"""``cachestore repair``: mend what verify finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import CHANGING, epilog
from cachestore.cli.output import count, plain, print_json, print_table
from cachestore.cli.signals import cancel_on_signals
from cachestore.cli.verify import problem_facts
from cachestore.errors import IndexDamaged

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from cachestore.verify import Repair, Report


@click.command(epilog=epilog(["cachestore repair", "cachestore repair --json"], CHANGING))
@json_option
@pass_settings
def repair(settings: Settings, *, as_json: bool) -> None:
    """Check every file and mend what is wrong: what is damaged is downloaded again when it is next asked for."""
    with cancel_on_signals() as cancel:
        try:
            report, repairs = _mend(settings, cancel)
        except IndexDamaged as error:
            _set_aside_index(settings, error)
            report, repairs = _mend(settings, cancel)
    if as_json:
        print_json({"checked": report.checked, "repairs": [_facts(repair) for repair in repairs]})
    else:
        _print_person(repairs, report.checked, quiet=settings.quiet)


def _mend(settings: Settings, cancel: threading.Event) -> tuple[Report, list[Repair]]:
    from cachestore import verify

    with settings.store(cancel) as store, store.run("repair"):
        report = verify.verify(store, cancel=cancel)
        return report, verify.repair(store, report)


def _set_aside_index(settings: Settings, error: IndexDamaged) -> None:
    """Begin a new index where the old one cannot be read."""
    from cachestore.store.writer import Store

    Store.set_aside_index(settings.config().root)
    click.echo(plain(f"{error.where}: {error.problem}; it is in quarantine, and a new index was begun"), err=True)


def _facts(repair: Repair) -> dict[str, object]:
    return problem_facts(repair.problem) | {"action": repair.action}


def _print_person(repairs: Sequence[Repair], checked: int, *, quiet: bool) -> None:
    if repairs:
        rows = [(done.problem.kind, done.problem.label, done.problem.key, done.action) for done in repairs]
        print_table(("PROBLEM", "TRACK", "WHERE", "DONE"), rows)
    if not quiet:
        click.echo(f"checked {count(checked, 'file')}, found {count(len(repairs), 'problem')}")
