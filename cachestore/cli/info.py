"""``cachestore info``: how full the cache is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, json_option, pass_settings
from cachestore.cli.helptext import NO_STORE, epilog
from cachestore.cli.output import ago, count, print_facts, print_json, rfc3339
from cachestore.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.config import Config
    from cachestore.partials import Unfinished
    from cachestore.usage import Usage


@click.command(epilog=epilog(["cachestore info", "cachestore info --json"], NO_STORE))
@json_option
@pass_settings
def info(settings: Settings, *, as_json: bool) -> None:
    """Show how full the cache is, and how often it had what was asked for."""
    from cachestore.partials import unfinished
    from cachestore.usage import usage

    with settings.reader() as store:
        used = usage(store)
        partials = list(unfinished(store.root.partials))
    config = settings.config()
    if as_json:
        print_json(_facts(config, used, partials))
    else:
        print_person(config, used, partials)


def _facts(config: Config, used: Usage, partials: Sequence[Unfinished]) -> dict[str, object]:
    return {
        "root": str(config.root),
        "max_size": config.max_size,
        "min_free": config.min_free,
        "entries": used.entries,
        "blobs": used.blobs,
        "logical_bytes": used.logical_bytes,
        "exclusive_bytes": used.exclusive_bytes,
        "held_bytes": used.held_bytes,
        "partial_bytes": used.partial_bytes,
        "quarantine_bytes": used.quarantine_bytes,
        "reserved_bytes": used.reserved_bytes,
        "pinned": used.pinned,
        "hits": used.hits,
        "misses": used.misses,
        "oldest_used_at": rfc3339(used.oldest_used_at),
        "partials": [_partial_facts(partial) for partial in partials],
    }


def _partial_facts(partial: Unfinished) -> dict[str, object]:
    return {
        "track": partial.track or None,
        "received": partial.received,
        "total": partial.total,
        "changed_at": rfc3339(partial.changed_at),
    }


def print_person(config: Config, used: Usage, partials: Sequence[Unfinished] = ()) -> None:
    """Print the figures for a person."""
    share = f" ({100 * used.bounded_bytes / config.max_size:.0f} %)" if config.max_size else ""
    print_facts(
        [
            ("root", str(config.root)),
            ("bound", f"{format_size(used.bounded_bytes)} of {format_size(config.max_size)}{share}"),
            ("tracks", f"{used.entries} in {used.blobs} files, {format_size(used.logical_bytes)}"),
            ("cache only", format_size(used.exclusive_bytes)),
            ("held", f"{format_size(used.held_bytes)}, which bundles have too, so it does not count"),
            ("partial", _partials(used, partials)),
            ("quarantine", _quarantine(used, config.max_size)),
            *_reserved(used),
            ("pinned", str(used.pinned)),
            ("hits", f"{used.hits}, and {used.misses} misses"),
            ("oldest use", ago(used.oldest_used_at) if used.oldest_used_at is not None else "none"),
        ]
    )


def _quarantine(used: Usage, max_size: int) -> str:
    from cachestore.usage import QUARANTINE_SHARE

    size, kept = format_size(used.quarantine_bytes), format_size(int(max_size * QUARANTINE_SHARE))
    if not used.quarantine_bytes:
        return size
    return f"{size}, see ls --quarantined; after a day prune keeps {kept} of it, and the newest"


def _reserved(used: Usage) -> list[tuple[str, str]]:
    size = format_size(used.reserved_bytes)
    return [("reserved", f"{size}, for what is being downloaded")] if used.reserved_bytes else []


def _partials(used: Usage, partials: Sequence[Unfinished]) -> str:
    size = format_size(used.partial_bytes)
    if not partials:
        return size
    fate = "under way or to be resumed; prune removes what nobody needs"
    return f"{size} in {count(len(partials), 'unfinished download')}, {fate}"
