"""``cachestore verify``: is every byte what it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import NO_STORE, epilog
from cachestore.cli.output import count, print_json, print_table
from cachestore.cli.signals import cancel_on_signals

if TYPE_CHECKING:
    from cachestore.verify import Problem, Report

_EXITS = {1: "problems were found; cachestore repair mends them", **NO_STORE}


@click.command(epilog=epilog(["cachestore verify", "cachestore verify --quick --json"], _EXITS))
@click.option("--quick", is_flag=True, help="Hash only the files that changed in time, size or place.")
@json_option
@pass_settings
def verify(settings: Settings, *, quick: bool, as_json: bool) -> int:
    """Check every file of the cache against its digest, and change nothing."""
    from cachestore.verify import verify as check

    with cancel_on_signals() as cancel, settings.reader() as store:
        report = check(store, quick=quick, cancel=cancel)
    if as_json:
        print_json(_facts(report))
    else:
        _print_person(report, settings)
    return 0 if report.ok else 1


def _facts(report: Report) -> dict[str, object]:
    return {
        "checked": report.checked,
        "ok": report.ok,
        "problems": [problem_facts(problem) for problem in report.problems],
        "complete": report.complete,
    }


def problem_facts(problem: Problem) -> dict[str, object]:
    """Return the JSON object of a problem."""
    return {
        "kind": problem.kind,
        "key": problem.key,
        "label": problem.label,
        "digest": problem.digest,
        "bundles": list(problem.bundles),
    }


def _print_person(report: Report, settings: Settings) -> None:
    rows = [
        (
            problem.kind,
            problem.label,
            problem.key,
            ", ".join(problem.bundles),
            *([problem.digest] if settings.verbose else []),
        )
        for problem in report.problems
    ]
    if rows and not (report.ok and settings.quiet):
        print_table(("PROBLEM", "TRACK", "WHERE", "ALSO IN", *(["DIGEST"] if settings.verbose else [])), rows)
    if not settings.quiet:
        click.echo(f"checked {count(report.checked, 'file')}, found {count(len(report.problems), 'problem')}")
    if rows and not settings.quiet:
        click.echo("to mend this, run: cachestore repair")
