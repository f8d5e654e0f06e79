"""What an export says at its end, to a person and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import click

from cachestore.cli.output import count, plain, print_facts, print_table
from cachestore.events import Provenance
from cachestore.quantities import format_age, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.errors import TrackError
    from exporter_plugin.outcome import ExportFailed, Report
    from exporter_plugin.plan import Plan


def facts(report: Report) -> dict[str, object]:
    """Return a report as JSON has it."""
    outcome = {"result": report.result, "exit_code": report.exit_code}
    said = {field.name: getattr(report, field.name) for field in fields(report)}
    errors = [error_facts(error) for error in report.errors]
    return outcome | said | {"dest": str(report.dest), "seconds": round(report.seconds, 3), "errors": errors}


def error_facts(error: TrackError) -> dict[str, object]:
    """Return the failure of a track as JSON has it."""
    named = {"track": error.track, "label": error.label, "code": error.code}
    return named | {"retryable": error.retryable, "message": error.reason}


def print_report(report: Report) -> None:
    """Print a table of what was done."""
    unconfirmed = f" ({report.stale} not confirmed by a server)" if report.stale else ""
    files = [count(report.linked, "hard link")] if report.linked else []
    files += [f"{report.copied} {'copy' if report.copied == 1 else 'copies'}"] if report.copied else []
    files += [f"{report.edited} edited"] if report.edited else []
    seconds = report.seconds
    rows = [
        ("tracks", str(report.total)),
        ("downloaded", str(report.downloaded)),
        ("from cache", f"{report.cached}{unconfirmed}"),
        ("local", str(report.local)),
        ("skipped", str(report.failed)),
        ("audio", f"{format_size(report.bytes)} in {', '.join(files)}"),
        ("time", f"{seconds:.1f} s" if seconds < 60 else format_age(seconds)),
        ("bundle", str(report.dest)),
    ]
    print_facts(rows)
    if report.linked:
        click.echo("read-only links; for programs that write tags use --editable")


def plan_facts(plan: Plan) -> dict[str, object]:
    """Return a plan as JSON has it."""
    files = [asdict(file) for file in plan.files]
    errors = [error_facts(error) for error in plan.errors]
    named = {"dry_run": True, "exit_code": plan.exit_code, "dest": str(plan.dest), "name": plan.name}
    named["unfinished"] = plan.unfinished
    return named | {"files": files, "downloads": plan.downloads, "errors": errors}


def print_plan(plan: Plan) -> None:
    """Print what an export would do, file by file, and on stderr what would fail."""
    words = {Provenance.NETWORK: "download", Provenance.CACHE: "cache", Provenance.LOCAL: "local", None: ""}
    sizes = ["" if file.size is None else format_size(file.size) for file in plan.files]
    rows = [(file.action, words[file.origin], size, file.file) for file, size in zip(plan.files, sizes, strict=True)]
    print_table(("ACTION", "FROM", "SIZE", "FILE"), rows, right=frozenset({2}))
    if plan.unfinished:
        click.echo(f"{plain(str(plan.dest))} is unfinished: an export was stopped there, and the next one mends it")
    counts = Counter(file.action for file in plan.files)
    actions = ", ".join(f"{number} {action}" for action, number in counts.items())
    click.echo(f"{actions or 'nothing'}; {count(len(plan.downloads), 'download')}; nothing was done")
    if plan.errors:
        outcome = ", and nothing would be published" if plan.exit_code == 1 else ""
        click.echo(f"cachestore: {count(len(plan.errors), 'track')} would fail{outcome}", err=True)
        _print_errors(plan.errors)


def print_holes(report: Report, command: str) -> None:
    """Say on stderr what a bundle was published without, and the `command` that tries it again."""
    click.echo(f"cachestore: published without {count(report.failed, 'track')}", err=True)
    _print_errors(report.errors)
    _print_again(report.kept or 0, report.cloud, command)


def print_failed(failed: ExportFailed, command: str) -> None:
    """Say on stderr what failed, and the `command` that tries it again."""
    failures = f"{len(failed.failures)} of {count(failed.rows, 'track')} failed"
    click.echo(f"cachestore: nothing was published, {failures}", err=True)
    _print_errors(failed.failures)
    _print_again(failed.kept, failed.cloud, command)


def _print_errors(errors: Sequence[TrackError]) -> None:
    for error in errors:
        click.echo(plain(f"  {error}"), err=True)


def _print_again(kept: int, cloud: int, command: str) -> None:
    said = f"{kept} of {cloud} {'is' if kept == 1 else 'are'} cached; " if cloud else ""
    click.echo(f"{said}run again: {command}", err=True)
