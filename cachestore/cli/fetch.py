"""``cachestore fetch``: warm the cache."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import epilog
from cachestore.cli.mixes import open_mix
from cachestore.cli.options import (
    GivenPath,
    events_option,
    jobs_option,
    refresh_option,
    refuse_stdin_twice,
    refuse_two_outputs,
    stdin_eof_option,
)
from cachestore.cli.output import count, print_json, while_read
from cachestore.cli.progress import reporter
from cachestore.cli.signals import cancel_on_signals
from cachestore.errors import AddressError, FetchFailed, NotInCache
from cachestore.events import Provenance
from cachestore.playlists import parse_playlist
from cachestore.track import alike, parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from cachestore.cache import Cache, Result
    from cachestore.cli.progress import Reporter
    from cachestore.config import Config
    from cachestore.track import Track

_EXAMPLES = ["cachestore fetch studio:t42 https://example.org/a.flac", "cachestore fetch --mix friday.json"]
_EXITS = {
    1: "a track failed; the others are in the cache, as far as its bounds allow",
    4: "the store cannot be used, or there is no room",
    75: "busy, or every failure is temporary: try again",
    77: "every failure is an authorization",
}


def _track(text: str) -> Track:
    """Return the track that an address names. Raise AddressError, for the address of a playlist too."""
    if parse_playlist(text):
        command = f"cachestore export {shlex.quote(text)} DEST"
        raise AddressError(text, f"it names a playlist, which is exported ({command}) or fetched with --mix")
    return parse_address(text)


@click.command(epilog=epilog(_EXAMPLES, _EXITS))
@click.argument("tracks", metavar="[TRACK...]", nargs=-1, type=_track)
@click.option(
    "--mix",
    type=GivenPath(readable=False, allow_dash=True),
    metavar="MIX",
    help="Instead of TRACK...: the cloud tracks of a mix, as `export` takes it.",
)
@jobs_option
@refresh_option
@stdin_eof_option
@events_option
@json_option
@pass_settings
def fetch(
    settings: Settings,
    tracks: Sequence[Track],
    *,
    mix: str | None,
    jobs: int | None,
    refresh: bool,
    cancel_on_stdin_eof: bool,
    events: str | None,
    as_json: bool,
) -> None:
    """Download the tracks that are not in the cache, and ask the server about those that are."""
    refuse_two_outputs(events=events, as_json=as_json)
    if bool(tracks) == (mix is not None):
        raise click.UsageError("expected either tracks or --mix")
    refuse_stdin_twice(mix, stdin_eof=cancel_on_stdin_eof)
    _refuse_alike(tracks)
    with (
        cancel_on_signals(stdin_eof=cancel_on_stdin_eof) as cancel,
        reporter(settings, cancel, events=events) as tell,
        cancel.coded(),
    ):
        config, wanted, local = cancel.result_of(lambda: _wanted(settings, tracks, mix, cancel))
        results, kept = _fetched(config, wanted, tell, cancel, jobs=jobs, refresh=refresh)
        with while_read(sys.stdout):
            if as_json:
                print_json([_facts(result) for result in results])
            elif not events and not settings.quiet:
                click.echo(_summary(results, kept, local))
        if failures := [result.error for result in results if result.error]:
            raise FetchFailed(failures, len(results), kept)


def _wanted(
    settings: Settings, tracks: Sequence[Track], mix: str | None, cancel: Event
) -> tuple[Config, Sequence[Track], int]:
    """Return the configuration, the tracks that are given or those of the mix, and how many local ones that has."""
    if mix is None:
        return settings.config(), tracks, 0
    tracks_of = open_mix(mix)
    config = settings.config()
    return config, *tracks_of(config, cancel)


def _fetched(
    config: Config, tracks: Sequence[Track], tell: Reporter, cancel: Event, *, jobs: int | None, refresh: bool
) -> tuple[Sequence[Result], int]:
    """Return the results, and how many of them are in the cache in the end: its bound may not let it keep them all."""
    from cachestore.cache import Cache
    from cachestore.rows import ENTRIES

    with Cache.open(config, cancel=cancel) as cache:
        _refuse_unknown(cache, tracks)
        tell.start(len(tracks))
        results = list(cache.fetch(tracks, jobs=jobs, refresh=refresh, on_event=tell, cancel=cancel))
        cache.enforce_bound(tell)
        keys = [result.entry.key for result in results if not result.error]
        there = cache.store.existing(ENTRIES, keys)
        return results, sum(key in there for key in keys)


def _refuse_unknown(cache: Cache, tracks: Sequence[Track]) -> None:
    """Raise NotInCache for what is not kept and has no URL to be asked for: it may be a password that was mistyped."""
    for track in tracks:
        if track.source == "url" and track.url is None and "://" not in track.id and cache.find(track) is None:
            raise NotInCache(track.address)


def _refuse_alike(tracks: Sequence[Track]) -> None:
    """Raise UsageError when two URLs differ in a credential only: they would be taken for one track."""
    if same := alike(tracks):
        first, second = (place + 1 for place in same)
        problem = f"but for a credential, URL {second} is URL {first}, so that both are one track"
        raise click.UsageError(f"{problem}; give each an id in a mix, or fetch one after the other")


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


def _summary(results: Sequence[Result], kept: int, local: int) -> str:
    words = {Provenance.NETWORK: "downloaded", Provenance.CACHE: "cached"}
    counts = Counter("failed" if result.origin is None else words[result.origin] for result in results)
    cloud = [f"{number} {word}" for word, number in sorted(counts.items())]
    gone = sum(result.error is None for result in results) - kept
    cloud += [f"{gone} evicted again for want of room"] if gone else []
    passed_over = [f"{count(local, 'local track')} passed over"] if local else []
    return f"{count(len(results), 'track')}: {', '.join(cloud + passed_over)}"
