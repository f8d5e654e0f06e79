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

    from cachestore.store.writer import Store
    from cachestore.verify import Repair


@click.command(epilog=epilog(["cachestore repair", "cachestore repair --json"], CHANGING))
@json_option
@pass_settings
def repair(settings: Settings, *, as_json: bool) -> None:
    """Check every file and mend what is wrong: what is damaged is downloaded again when it is next asked for."""
    from cachestore import verify

    with cancel_on_signals() as cancel, _store(settings, cancel) as store, store.run("repair"):
        report = verify.verify(store, cancel=cancel)
        repairs = verify.repair(store, report)
    if as_json:
        print_json({"checked": report.checked, "repairs": [_facts(repair) for repair in repairs]})
    else:
        _print_person(repairs, report.checked, quiet=settings.quiet)


def _store(settings: Settings, cancel: threading.Event) -> Store:
    """Open the store, with a new index where the old one cannot be opened."""
    try:
        return settings.store(cancel)
    except IndexDamaged as error:
        from cachestore.store.writer import Store

        Store.set_aside_index(settings.config().root)
        click.echo(plain(f"{error.where}: {error.problem}; it is in quarantine, and a new index was begun"), err=True)
        return settings.store(cancel)


def _facts(repair: Repair) -> dict[str, object]:
    return problem_facts(repair.problem) | {"action": repair.action}


def _print_person(repairs: Sequence[Repair], checked: int, *, quiet: bool) -> None:
    if repairs:
        rows = [(done.problem.kind, done.problem.label, done.problem.key, done.action) for done in repairs]
        print_table(("PROBLEM", "TRACK", "WHERE", "DONE"), rows)
    if not quiet:
        click.echo(f"checked {count(checked, 'file')}, found {count(len(repairs), 'problem')}")
