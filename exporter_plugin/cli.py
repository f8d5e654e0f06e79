"""``cachestore export``: a mix becomes a bundle."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import epilog
from cachestore.cli.options import (
    events_option,
    jobs_option,
    refresh_option,
    refuse_stdin_twice,
    refuse_two_outputs,
    stdin_eof_option,
)
from cachestore.cli.output import count, plain, print_json
from cachestore.cli.progress import reporter
from cachestore.cli.signals import cancel_on_signals
from cachestore.errors import NotCached
from cachestore.links import LinkMode
from cachestore.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cachestore.cli.progress import Reporter
    from cachestore.errors import TrackError
    from exporter_plugin.export import ExportFailed
    from exporter_plugin.report import Report

_EXAMPLES = [
    "cachestore export friday.json ~/Music/Friday",
    "cachestore export - Friday < friday.m3u8",
    "cachestore export home:playlist/Friday ~/Music/Friday",
]
_EXITS = {
    1: "tracks failed, and nothing was published",
    3: "published with holes (--on-error skip)",
    4: "DEST is not ours, the store cannot be used, or there is no room",
    75: "busy, or every failure is temporary: try again",
    77: "every failure is an authorization",
}


@click.command(short_help="Export a mix as a bundle for a DAW.", epilog=epilog(_EXAMPLES, _EXITS))
@click.argument("mix", type=click.Path(readable=False, allow_dash=True))
@click.argument("dest", type=click.Path(readable=False))
@click.option("--name", metavar="N", help="The name of the bundle; default: that of the mix.")
@click.option(
    "--link-mode",
    type=click.Choice([mode.value for mode in LinkMode]),
    help="How cloud tracks get into the bundle; auto is a hard link, else a copy. Default: `link_mode`.",
)
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    help="When a track fails: publish nothing, or the others. Default: `on_error`.",
)
@jobs_option
@click.option("--offline", is_flag=True, help="Make no request: cached or failed.")
@refresh_option
@stdin_eof_option
@events_option
@json_option
@pass_settings
def export(
    settings: Settings,
    /,
    *,
    mix: str,
    dest: str,
    cancel_on_stdin_eof: bool,
    events: str | None,
    as_json: bool,
    **how: Any,  # noqa: ANN401 - the options that are arguments of export_mix, by the same names
) -> int:
    """Export MIX as a bundle at DEST: a folder with the audio of all tracks, a playlist and bundle.json.

    MIX is a file in JSON, M3U or M3U8, - for standard input, or a playlist of a source, SOURCE:playlist/NAME. DEST is a
    new or empty folder, or a bundle of ours, which is brought up to date.
    """
    if how["offline"] and how["refresh"]:
        raise click.UsageError("--offline makes no request and --refresh asks for everything; choose one")
    refuse_stdin_twice(mix, stdin_eof=cancel_on_stdin_eof)
    refuse_two_outputs(events=events, as_json=as_json)
    from exporter_plugin.export import ExportFailed

    try:
        with reporter(settings, events=events) as tell:
            report = _export(settings, tell, mix, dest, how, stdin_eof=cancel_on_stdin_eof)
    except ExportFailed as failed:
        _print_failed(failed, _command(settings, click.get_current_context(), without=_useless(failed)))
        return failed.exit_code
    if as_json:
        print_json(_facts(report))
    elif not events and not settings.quiet:
        _print_summary(report)
    if report.errors:
        click.echo(f"cachestore: published without {count(report.failed, 'track')}", err=True)
        _print_errors(report.errors)
    return report.exit_code


def _export(settings: Settings, tell: Reporter, mix: str, dest: str, how: dict[str, Any], *, stdin_eof: bool) -> Report:
    """Export with `how`, the arguments of export_mix that have the names of the options."""
    from cachestore.cache import Cache
    from exporter_plugin.export import export_mix
    from exporter_plugin.mix import playlist_of_source, read_mix

    # A file before signals become a cancel: a wait for standard input or a pipe could not be cancelled.
    wanted = None if playlist_of_source(mix) else read_mix(mix)
    with cancel_on_signals(stdin_eof=stdin_eof) as cancel:
        config = settings.config()
        wanted = wanted or read_mix(mix, config=config, offline=how["offline"], cancel=cancel)
        with Cache.open(config, cancel=cancel) as cache:
            tell.start(len(wanted.rows))
            return export_mix(wanted, dest, cache=cache, on_event=tell, cancel=cancel, **how)


def _facts(report: Report) -> dict[str, object]:
    errors = [
        {"track": error.track, "label": error.label, "code": error.code, "retryable": error.retryable}
        | {"message": error.reason}
        for error in report.errors
    ]
    facts = {field.name: getattr(report, field.name) for field in fields(report)}
    outcome = {"result": report.result, "exit_code": report.exit_code}
    return outcome | facts | {"dest": str(report.dest), "errors": errors}


def _print_summary(report: Report) -> None:
    """Print what was done: ``12 tracks: 9 downloaded, 2 from cache, 1 local; 11 hard links, 1 copy; 45.3 MB``."""
    cached = f"from cache ({report.stale} not confirmed by a server)" if report.stale else "from cache"
    origins = {"downloaded": report.downloaded, cached: report.cached, "local": report.local}
    rows = [f"{number} {word}" for word, number in (origins | {"failed": report.failed}).items() if number]
    files = [count(report.linked, "hard link")] if report.linked else []
    files += [f"{report.copied} {'copy' if report.copied == 1 else 'copies'}"] if report.copied else []
    parts = [", ".join(rows), ", ".join(files), format_size(report.bytes)]
    click.echo(f"{count(report.total, 'track')}: {'; '.join(parts)}")
    click.echo(plain(str(report.dest)))
    if report.linked:
        click.echo("read-only links; for programs that write tags use --link-mode copy")


def _print_failed(failed: ExportFailed, command: str) -> None:
    failures = f"{len(failed.failures)} of {count(failed.rows, 'track')} failed"
    click.echo(f"cachestore: nothing was published, {failures}", err=True)
    _print_errors(failed.failures)
    click.echo(f"{failed.cached} of {count(failed.rows, 'track')} cached; run again: {command}", err=True)


def _print_errors(errors: Sequence[TrackError]) -> None:
    for error in errors:
        click.echo(plain(f"  {error}"), err=True)


def _useless(failed: ExportFailed) -> Collection[str]:
    """Return the options with which the export would fail again: what is not cached has to be downloaded."""
    return {"offline"} if any(isinstance(error, NotCached) for error in failed.failures) else ()


def _command(settings: Settings, context: click.Context, *, without: Collection[str]) -> str:
    """Return the command line that was given, but for some options, as it can be pasted."""
    words = ["cachestore"]
    for option, path in (("--root", settings.root), ("--config", settings.config_file)):
        words += [option, str(path)] if path else []
    words.append("export")
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if parameter.name in without:
            continue
        if given and isinstance(parameter, click.Option) and value is not None:
            words += [parameter.opts[0]] if parameter.is_flag else [parameter.opts[0], str(value)]
    paths = [context.params["mix"], context.params["dest"]]
    return plain(shlex.join([*words, *(["--"] if any(path.startswith("-") for path in paths) else []), *paths]))
