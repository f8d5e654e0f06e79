"""Bringing every row its file: cloud tracks through the cache as they arrive, then local ones as private copies."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from cachestore.errors import BlobDamaged, Cancelled, Corrupt, LocalFileError
from cachestore.events import Provenance, State, WarningEvent
from cachestore.links import link as link_file
from exporter_plugin.local import look_at, unusable
from exporter_plugin.outcome import Hole, Placed

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from cachestore.cache import Result
    from cachestore.entry import Entry
    from cachestore.links import LinkMode
    from exporter_plugin.outcome import Outcome
    from exporter_plugin.row import Row
    from exporter_plugin.row_events import RowEvents
    from exporter_plugin.staging import Staging

    Fetch = Callable[..., Generator[Result]]
    Link = Callable[[Entry, Path, LinkMode], LinkMode]


def gather(
    rows: Sequence[Row],
    staging: Staging,
    events: RowEvents,
    fetch: Fetch,
    link: Link,
    cancel: threading.Event | None,
) -> list[Outcome]:
    """Try all rows and return their outcomes in order. Raise Cancelled, or what ends the export as a whole.

    `fetch` and `link` are those of the cache, with the options of this export.
    """
    for index, row in enumerate(rows):
        if row.path is not None:
            events.state(index, State.QUEUED)
    outcomes = _bring_cloud(rows, staging, events, fetch, link) | _bring_local(rows, staging, events, cancel)
    return [outcomes[index] for index in range(len(rows))]


def _bring_cloud(
    rows: Sequence[Row], staging: Staging, events: RowEvents, fetch: Fetch, link: Link
) -> dict[int, Outcome]:
    """Bring the rows what was whole when it was looked up; what was not any more when it was linked, once more."""
    cloud = [index for index, row in enumerate(rows) if row.path is None]
    bring = partial(_bring, rows, staging, events, fetch, link)
    outcomes, damaged = bring(cloud)
    if damaged:
        again, twice = bring(damaged)
        outcomes |= again
        for index in twice:
            outcomes[index] = _hole_of_damage(rows[index])
            events.settled(index, outcomes[index])
    return outcomes


def _bring(
    rows: Sequence[Row], staging: Staging, events: RowEvents, fetch: Fetch, link: Link, indexes: Sequence[int]
) -> tuple[dict[int, Outcome], list[int]]:
    """Return the outcomes of rows, and the rows whose blobs turned out to be damaged, which is told."""
    outcomes: dict[int, Outcome] = {}
    damaged: list[int] = []
    with closing(fetch([rows[index].track for index in indexes], on_event=events.of_fetch(indexes))) as results:
        for index, result in zip(indexes, results, strict=True):
            try:
                outcomes[index] = _linked(rows[index], result, staging, link)
            except BlobDamaged as error:
                events.warn(WarningEvent("damaged", str(error)))
                damaged.append(index)
            else:
                events.settled(index, outcomes[index])
    return outcomes, damaged


def _linked(row: Row, result: Result, staging: Staging, link: Link) -> Outcome:
    if result.error is not None:
        return Hole(row, result.error)
    entry = result.entry
    row = row.called(entry.label)
    owned = staging.place(row, entry.ext, entry.digest, entry.size, partial(link, entry))
    return Placed(row, owned, result.origin, entry, result.stale)


def _hole_of_damage(row: Row) -> Hole:
    reason = "its cached file was changed while it was linked, twice; find out which program writes into the store"
    return Hole(row, Corrupt(row.address, row.label, reason))


def _bring_local(
    rows: Sequence[Row], staging: Staging, events: RowEvents, cancel: threading.Event | None
) -> dict[int, Outcome]:
    outcomes: dict[int, Outcome] = {}
    for index, row in enumerate(rows):
        raise_if_set(cancel)
        if row.path is not None:
            events.state(index, State.LINKING, Provenance.LOCAL)
            outcomes[index] = _copied(row, row.path, staging)
            events.settled(index, outcomes[index])
    raise_if_set(cancel)
    return outcomes


def _copied(row: Row, path: Path, staging: Staging) -> Outcome:
    try:
        ext, content, size = look_at(row, path)
        owned = staging.place(row, ext, content, size, partial(link_file, path))
    except LocalFileError as error:
        return Hole(row, error)
    except OSError as error:
        return Hole(row, unusable(row, error))
    return Placed(row, owned, Provenance.LOCAL)


def raise_if_set(cancel: threading.Event | None) -> None:
    """Raise Cancelled when `cancel` is set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled
