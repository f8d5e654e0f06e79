"""Options that several commands share."""

from __future__ import annotations

import os

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


class GivenPath(click.Path):
    """A path that is not empty: an unset variable of a shell must not stand for the current folder."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path. Raise a usage error for an empty one."""
        if not os.fspath(value):
            self.fail("it is empty, as from a variable that is not set; the current folder is .", param, ctx)
        return super().convert(value, param, ctx)


def refuse_two_outputs(*, events: str | None, as_json: bool) -> None:
    """Raise a usage error when two options want stdout for themselves."""
    if events and as_json:
        raise click.UsageError("--events and --json both need stdout; choose one")


def refuse_stdin_twice(mix: str | None, *, stdin_eof: bool) -> None:
    """Raise a usage error when the mix is to be read from standard input, and the end of that is to cancel."""
    if stdin_eof and mix == "-":
        raise click.UsageError("--cancel-on-stdin-eof needs standard input for itself, and the mix - is read from it")
