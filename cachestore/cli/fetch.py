"""``cachestore fetch``: warm the cache."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import epilog
from cachestore.cli.output import count, print_json
from cachestore.cli.progress import reporter
from cachestore.cli.signals import cancel_on_signals
from cachestore.errors import FetchFailed
from cachestore.events import Provenance
from cachestore.track import parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.cache import Result
    from cachestore.track import Track

_EXITS = {
    1: "a track failed; the others are in the cache",
    4: "the store cannot be used, or the disk is full",
    75: "busy, or every failure is temporary: try again",
    77: "every failure is an authorization",
}


@click.command(epilog=epilog(["cachestore fetch studio:t42 https://example.org/a.flac"], _EXITS))
@click.argument("tracks", metavar="TRACK...", nargs=-1, required=True, type=parse_address)
@click.option("--jobs", type=click.IntRange(1, 64), metavar="N", help="How many downloads at once; default: `jobs`.")
@click.option("--refresh", is_flag=True, help="Download again, whatever the server says has not changed.")
@click.option("--events", type=click.Choice(["ndjson"]), help="Write events on stdout, one JSON object a line.")
@json_option
@pass_settings
def fetch(
    settings: Settings, tracks: Sequence[Track], *, jobs: int | None, refresh: bool, events: str | None, as_json: bool
) -> None:
    """Download the tracks that are not in the cache, and ask the server about those that are."""
    if events and as_json:
        raise click.UsageError("--events and --json both need stdout; choose one")
    with reporter(settings, rows=len(tracks), events=events) as tell, cancel_on_signals() as cancel:
        from cachestore.cache import Cache

        with Cache.open(settings.config()) as cache:
            results = list(cache.fetch(tracks, jobs=jobs, refresh=refresh, on_event=tell, cancel=cancel))
            cache.enforce_bound()
        if as_json:
            print_json([_facts(result) for result in results])
        elif not events and not settings.quiet:
            click.echo(_summary(results))
        if failures := [result.error for result in results if result.error]:
            raise FetchFailed(failures, len(results))


def _facts(result: Result) -> dict[str, object]:
    error = result.error
    return {
        "track": result.track.address,
        "key": None if error else result.entry.key,
        "label": result.track.label if error else result.entry.label,
        "size": None if error else result.entry.size,
        "origin": result.origin,
        "stale": result.stale,
        "error": error and {"code": error.code, "retryable": error.retryable, "message": str(error)},
    }


def _summary(results: Sequence[Result]) -> str:
    words = {Provenance.NETWORK: "downloaded", Provenance.CACHE: "cached"}
    counts = Counter("failed" if result.origin is None else words[result.origin] for result in results)
    return f"{count(len(results), 'track')}: {', '.join(f'{number} {word}' for word, number in sorted(counts.items()))}"
