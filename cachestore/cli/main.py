"""The ``cachestore`` command: it finds a subcommand, runs it and turns every failure into a sentence."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

import click

from cachestore.cli.commands import CommandGroup
from cachestore.cli.context import Settings, global_options
from cachestore.release import RELEASE

if TYPE_CHECKING:
    from collections.abc import Sequence


# How many objects come before cycles are looked for. Rows by the ten thousand are none, and at the interpreter's own
# pace a sixth of an export was spent on looking.
_OBJECTS_PER_COLLECTION = 50_000

cli = click.version_option(RELEASE, prog_name="cachestore", message="%(prog)s %(version)s")(
    CommandGroup(
        "cachestore",
        help="Keep the audio of cloud tracks in a bounded store and hand it to DAWs as bundles.",
        params=list(global_options()),
        context_settings={"help_option_names": ["-h", "--help"]},
    )
)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line on `argv` (default: that of the process) and return the exit code; raise nothing."""
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    _open_closed_streams()
    try:
        code = _invoke(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
        return 1
    except SystemExit as leaving:  # how click ends a completion and a closed pipe
        return leaving.code if isinstance(leaving.code, int) else 1
    except (KeyboardInterrupt, click.Abort):
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - no traceback ever reaches a user
        from cachestore.cli.failures import report

        code = report(error)
        _flush_stdout()
    return code


def _open_closed_streams() -> None:
    """Give a process that was started without stdout or stderr somewhere to write, as others do not expect None."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123 - it stays open as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123 - likewise


def _invoke(argv: Sequence[str] | None) -> int:
    """Return what the command returned, or what it handed to ``ctx.exit``; None is 0."""
    args = None if argv is None else list(argv)
    code = cli.main(args=args, prog_name="cachestore", standalone_mode=False, obj=Settings())
    return code if isinstance(code, int) else 0


def _flush_stdout() -> None:
    """Write what is left to write, or drop it: the interpreter would try again, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_stdout()


def _discard_stdout() -> None:
    from cachestore.cli.output import discard

    discard(sys.stdout)
