"""Options that several commands share."""

from __future__ import annotations

import click

jobs_option = click.option(
    "--jobs", type=click.IntRange(1, 64), metavar="N", help="How many downloads at once; default: `jobs`."
)
refresh_option = click.option("--refresh", is_flag=True, help="Download again, also what has not changed.")
events_option = click.option(
    "--events", type=click.Choice(["ndjson"]), help="Write events on stdout, one JSON object a line."
)
stdin_eof_option = click.option(
    "--cancel-on-stdin-eof", is_flag=True, help="Let the end of standard input cancel, too, as a signal does."
)


def refuse_two_outputs(*, events: str | None, as_json: bool) -> None:
    """Raise a usage error when two options want stdout for themselves."""
    if events and as_json:
        raise click.UsageError("--events and --json both need stdout; choose one")


def refuse_stdin_twice(mix: str | None, *, stdin_eof: bool) -> None:
    """Raise a usage error when the mix is to be read from standard input, and the end of that is to cancel."""
    if stdin_eof and mix == "-":
        raise click.UsageError("--cancel-on-stdin-eof needs standard input for itself, and the mix - is read from it")
