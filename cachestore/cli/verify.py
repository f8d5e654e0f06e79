"""``cachestore verify``: is every byte what it should be."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import NO_STORE, epilog
from cachestore.cli.output import count, print_json_object, print_table
from cachestore.cli.progress import is_drawable
from cachestore.cli.signals import cancel_on_signals
from cachestore.errors import Cancelled
from cachestore.quantities import parse_age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cachestore.verify import Problem, Verification

T = TypeVar("T")
_EXITS = {1: "problems were found; cachestore repair mends them", **NO_STORE}


@click.command(epilog=epilog(["cachestore verify", 'cachestore verify --time-limit "10 min" --quiet'], _EXITS))
@click.option("--quick", is_flag=True, help="Hash only the files that changed in time, size or place.")
@click.option(
    "--time-limit", type=parse_age, metavar="T", help="Stop after T; the next one with a limit goes on there."
)
@json_option
@pass_settings
def verify(settings: Settings, *, quick: bool, time_limit: float | None, as_json: bool) -> int:
    """Check every file of the cache against its digest, and change nothing."""
    from cachestore.verify import Position, Verification, load_position, save_position

    with cancel_on_signals() as cancel, settings.reader() as store, drawn(settings) as tell:
        root = store.root.path
        after = Position() if time_limit is None else load_position(root, quick=quick)
        check = Verification(store, quick=quick, after=after, time_limit=time_limit, cancel=cancel, tell=tell)
        with whole_output(check) as problems:
            print_json_object(_facts(check, problems)) if as_json else _print_person(check, problems, settings)
            if time_limit is not None:
                save_position(root, check.position, quick=quick)
    return 0 if check.ok else 1


@contextmanager
def whole_output(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Give `items` for the block, which end early when they are cancelled; Cancelled is raised once all is printed."""
    cancelled: list[Cancelled] = []

    def until_cancelled() -> Iterator[T]:
        try:
            yield from items
        except Cancelled as error:
            cancelled.append(error)

    yield until_cancelled()
    if cancelled:
        raise cancelled[0]


@contextmanager
def drawn(settings: Settings) -> Iterator[Callable[[int, int], None]]:
    """Give what is told of the progress of a pass: a bar on a terminal, nothing elsewhere or with ``-q``."""
    if settings.quiet or not is_drawable():
        yield lambda _checked, _total: None
        return
    from cachestore.cli.meter import Meter

    with Meter() as meter:
        yield meter


def _facts(check: Verification, problems: Iterator[Problem]) -> Iterator[tuple[str, object]]:
    yield "problems", (problem_facts(problem) for problem in problems)
    yield "checked", check.checked
    yield "ok", check.ok
    yield "complete", check.complete
    yield "left", check.left


def problem_facts(problem: Problem) -> dict[str, object]:
    """Return the JSON object of a problem."""
    return {
        "kind": problem.kind,
        "key": problem.key,
        "label": problem.label,
        "digest": problem.digest,
        "bundles": list(problem.bundles),
    }


def _print_person(check: Verification, problems: Iterator[Problem], settings: Settings) -> None:
    """Print what is wrong; with ``-q`` only what does harm, and no sum."""
    from cachestore.verify import ProblemKind

    digest = ["DIGEST"] if settings.verbose else []
    told = (problem for problem in problems if not settings.quiet or problem.kind is not ProblemKind.UNINDEXED)
    print_table(("PROBLEM", "TRACK", "WHERE", "ALSO IN", *digest), (_row(p, with_digest=bool(digest)) for p in told))
    if settings.quiet:
        return
    click.echo(f"checked {count(check.checked, 'file')}, found {count(check.found, 'problem')}")
    if not check.complete:
        click.echo(f"not complete: {count(check.left, 'file')} left, where the next verify with --time-limit goes on")
    if not check.ok:
        click.echo("to mend this, run: cachestore repair")
    elif check.found:
        click.echo("they do no harm; their tracks are found in bundles, for each run: cachestore repair --adopt DEST")


def _row(problem: Problem, *, with_digest: bool) -> tuple[str, ...]:
    row = (problem.kind, problem.label, problem.key, ", ".join(problem.bundles))
    return (*row, problem.digest) if with_digest else row
