"""``cachestore repair``: mend what verify finds, or index again what a bundle knows."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import CHANGING, epilog
from cachestore.cli.output import count, plain, print_json, print_json_object, print_table
from cachestore.cli.signals import cancel_on_signals
from cachestore.cli.verify import drawn, problem_facts, whole_output
from cachestore.errors import IndexDamaged

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator

    from cachestore.store.writer import Store
    from cachestore.verify import Repair, Verification

_EXITS = {1: "something could not be mended or adopted", **CHANGING}


@click.command(epilog=epilog(["cachestore repair", "cachestore repair --adopt ~/Music/Friday"], _EXITS))
@click.option(
    "--adopt",
    "dest",
    type=click.Path(readable=False, path_type=Path),
    metavar="DEST",
    help="Index the tracks of the bundle at DEST again, and nothing else.",
)
@json_option
@pass_settings
def repair(settings: Settings, *, dest: Path | None, as_json: bool) -> int:
    """Check every file and mend what is wrong: what is damaged is downloaded again when it is next asked for."""
    with cancel_on_signals() as cancel:
        try:
            return _run(settings, dest, cancel, as_json=as_json)
        except IndexDamaged as error:
            _set_aside_index(settings, error)
            return _run(settings, dest, cancel, as_json=as_json)


def _set_aside_index(settings: Settings, error: IndexDamaged) -> None:
    """Begin a new index where the old one cannot be read."""
    from cachestore.store.writer import Store

    Store.set_aside_index(settings.config().root)
    click.echo(plain(f"{error.where}: {error.problem}; it is in quarantine, and a new index was begun"), err=True)


def _run(settings: Settings, dest: Path | None, cancel: threading.Event, *, as_json: bool) -> int:
    with settings.store(cancel) as store, store.run("repair"):
        if dest is not None:
            return _adopt(store, dest, settings, cancel, as_json=as_json)
        return _mend(store, settings, cancel, as_json=as_json)


def _mend(store: Store, settings: Settings, cancel: threading.Event, *, as_json: bool) -> int:
    from cachestore.verify import Verification, repair

    outcomes: Counter[bool] = Counter()
    with drawn(settings) as tell:
        check = Verification(store, cancel=cancel, tell=tell)
        with whole_output(_counted(repair(store, check, cancel), outcomes)) as repairs:
            if as_json:
                print_json_object(_facts(check, repairs))
            else:
                rows = ((done.problem.kind, done.problem.label, done.problem.key, done.action) for done in repairs)
                print_table(("PROBLEM", "TRACK", "WHERE", "DONE"), rows)
    if not (as_json or settings.quiet):
        click.echo(f"checked {count(check.checked, 'file')}, found {count(check.found, 'problem')}")
    return 1 if outcomes[False] else 0


def _counted(repairs: Iterable[Repair], outcomes: Counter[bool]) -> Iterator[Repair]:
    """Yield `repairs` and count in `outcomes` how many are mended."""
    for done in repairs:
        outcomes[done.mended] += 1
        yield done


def _facts(check: Verification, repairs: Iterator[Repair]) -> Iterator[tuple[str, object]]:
    yield "repairs", (problem_facts(r.problem) | {"action": r.action, "mended": r.mended} for r in repairs)
    yield "checked", check.checked


def _adopt(store: Store, dest: Path, settings: Settings, cancel: threading.Event, *, as_json: bool) -> int:
    from cachestore.verify.adoption import adopt

    adoptions = list(adopt(store, dest, cancel))
    if as_json:
        print_json({"bundle": str(dest), "tracks": [asdict(done) for done in adoptions]})
    else:
        rows = [(done.label, done.key, done.action) for done in adoptions if not (done.adopted and settings.quiet)]
        print_table(("TRACK", "ADDRESS", "DONE"), rows)
    adopted = sum(done.adopted for done in adoptions)
    if not (as_json or settings.quiet):
        click.echo(f"{adopted} of {count(len(adoptions), 'cloud track')} of {plain(str(dest))} are in the cache now")
    return 0 if adopted == len(adoptions) else 1
