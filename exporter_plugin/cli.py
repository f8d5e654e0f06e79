"""``cachestore export``: a mix becomes a bundle."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import epilog
from cachestore.cli.options import (
    GivenPath,
    events_option,
    jobs_option,
    refresh_option,
    refuse_stdin_twice,
    refuse_two_outputs,
    stdin_eof_option,
)
from cachestore.cli.output import print_json, while_read
from cachestore.cli.progress import reporter
from cachestore.cli.signals import cancel_on_signals
from cachestore.errors import NotCached
from cachestore.links import LINK_MODES
from exporter_plugin.options import Options
from exporter_plugin.summary import facts, plan_facts, print_failed, print_holes, print_plan, print_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.cli.signals import Cancel
    from cachestore.config import Config
    from cachestore.errors import TrackError
    from exporter_plugin.outcome import Report
    from exporter_plugin.row import Mix

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
@click.argument("mix", type=GivenPath(readable=False, allow_dash=True))
@click.argument("dest", type=GivenPath(readable=False))
@click.option("--name", metavar="N", help="The name of the bundle; default: that of the mix.")
@click.option(
    "--link-mode",
    type=click.Choice(LINK_MODES),
    help="How cloud tracks get into the bundle; auto is a hard link, else a copy. Default: `link_mode`.",
)
@click.option(
    "--editable",
    is_flag=True,
    help="For programs that write into files: reflinks, else copies, no read-only links. Default: `editable`.",
)
@click.option(
    "--template",
    metavar="T",
    help="The names of files, with {index} {artist} {title} {album} {id} {bpm} {key}. Default: `template`.",
)
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    help="When a track fails: publish nothing, or the others. Default: `on_error`.",
)
@click.option("--renumber", is_flag=True, help="Give files new names that an earlier export has named.")
@click.option("--overwrite-edited", is_flag=True, help="Replace files of the bundle that were changed since.")
@jobs_option
@click.option("--offline", is_flag=True, help="Make no request: cached or failed.")
@refresh_option
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="F",
    help="A project to write, as dawproject or rpp; default: what fits.",
)
@click.option("--dry-run", is_flag=True, help="List what would be done, ask no server for tracks, and write nothing.")
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
    dry_run: bool,
    cancel_on_stdin_eof: bool,
    events: str | None,
    as_json: bool,
    **asked: Any,  # noqa: ANN401 - the fields of Options, by the same names
) -> int:
    """Export MIX as a bundle at DEST: a folder with the audio of all tracks, a playlist and bundle.json.

    MIX is a file in JSON, M3U, M3U8 or XSPF, - for standard input, or a playlist of a source, SOURCE:playlist/NAME.
    DEST is a new or empty folder, or a bundle of ours, which is brought up to date.
    """
    if asked["offline"] and asked["refresh"]:
        raise click.UsageError("--offline makes no request and --refresh asks for everything; choose one")
    refuse_stdin_twice(mix, stdin_eof=cancel_on_stdin_eof)
    if asked["editable"] and asked["link_mode"] not in {None, "auto"}:
        raise click.UsageError("--editable and --link-mode both say how files get into the bundle; choose one")
    if dry_run and events:
        raise click.UsageError("--dry-run has no events; take --json with it")
    refuse_two_outputs(events=events, as_json=as_json)
    options = Options(**asked)
    if dry_run:
        return _plan(settings, mix, dest, options, as_json=as_json, stdin_eof=cancel_on_stdin_eof)
    from exporter_plugin.outcome import ExportFailed

    try:
        report = _export(settings, mix, dest, options, events=events, stdin_eof=cancel_on_stdin_eof)
    except ExportFailed as failed:
        print_failed(failed, _again(settings, failed.failures))
        return failed.exit_code
    with while_read(sys.stdout):
        if as_json:
            print_json(facts(report))
        elif not events and not settings.quiet:
            print_report(report)
    if report.errors:
        with while_read(sys.stderr):
            print_holes(report, _again(settings, report.errors))
    return report.exit_code


def _plan(settings: Settings, mix: str, dest: str, options: Options, *, as_json: bool, stdin_eof: bool) -> int:
    """Print what an export would do."""
    from exporter_plugin.plan import plan_export

    with cancel_on_signals(stdin_eof=stdin_eof) as cancel, reporter(settings, cancel) as tell, cancel.coded():
        wanted, config = _read(settings, mix, cancel, offline=options.offline)
        plan = plan_export(wanted, dest, options, config=config, on_event=tell, cancel=cancel)
    if as_json:
        print_json(plan_facts(plan))
    else:
        print_plan(plan)
    return plan.exit_code


def _export(
    settings: Settings, mix: str, dest: str, options: Options, *, events: str | None, stdin_eof: bool
) -> Report:
    from cachestore.cache import Cache
    from exporter_plugin.export import export_mix
    from exporter_plugin.formats import chosen

    with (
        cancel_on_signals(stdin_eof=stdin_eof) as cancel,
        reporter(settings, cancel, events=events) as tell,
        cancel.coded(),
    ):
        wanted, config = _read(settings, mix, cancel, offline=options.offline)
        options.over(config)  # what is wrong with it is told before any row begins, and has to end
        chosen(options.formats)
        with Cache.open(config, cancel=cancel) as cache:
            tell.start(len(wanted.rows))
            return export_mix(wanted, dest, options, cache=cache, on_event=tell, cancel=cancel)


def _read(settings: Settings, mix: str, cancel: Cancel, *, offline: bool) -> tuple[Mix, Config]:
    """Return the mix and the configuration; what is wrong with a file is told first."""
    from exporter_plugin.mix import opened

    def read() -> tuple[Mix, Config]:
        known = opened(mix)
        config = settings.config()
        return known(config=config, offline=offline, cancel=cancel), config

    return cancel.result_of(read)


def _again(settings: Settings, failures: Sequence[TrackError]) -> str:
    """Return the command line that was given, as it can be pasted.

    It has no ``--offline`` where the export would fail with it again: what is not cached has to be downloaded. A mix
    that came on standard input has to come again.
    """
    context = click.get_current_context()
    useless = {"offline"} if any(isinstance(error, NotCached) for error in failures) else set()
    words = ["cachestore"]
    for option, path in (("--root", settings.root), ("--config", settings.config_file)):
        words += [option, str(path)] if path else []
    words += ["-q"] if settings.quiet else ["-" + "v" * settings.verbose] if settings.verbose else []
    words.append("export")
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if given and isinstance(parameter, click.Option) and parameter.name not in useless:
            words += _typed(parameter, context.params.get(str(parameter.name)))
    mix, dest = context.params["mix"], context.params["dest"]
    is_dashed = any(path.startswith("-") and path != "-" for path in (mix, dest))
    line = " ".join(map(_quoted, [*words, *(["--"] if is_dashed else []), mix, dest]))
    return f"{line} < MIX" if mix == "-" else line


def _quoted(word: str) -> str:
    """Return `word` for a shell; one with what cannot be shown, or would steer the terminal, as ``$'...'``."""
    if not word.isprintable():
        return f"$'{''.join(map(_escaped, word))}'"
    quoted = shlex.quote(word)
    return f"'{quoted}'" if quoted.startswith("=") else quoted  # to zsh, =ls is the path of ls


def _escaped(character: str) -> str:
    if character.isprintable():
        return f"\\{character}" if character in "'\\" else character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def _typed(option: click.Option, value: object) -> list[str]:
    """Return an option as it was typed; those without a value here are not of this command."""
    if option.is_flag:
        return [option.opts[0]] if value else []
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    return [word for one in values for word in (option.opts[0], str(one))]
