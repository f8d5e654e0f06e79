"""Unfinished downloads on disk, each with one owner.

    <track>.<unique>.part   kept for whoever claims it next
    <track>.<unique>.work   claimed: only the one who made or renamed it may write it
    <track>.<unique>.json   what the bytes are a part of: address, validator, total; no URL, nothing secret
    <track>.lock            locked by the process that downloads the track, so that it is downloaded once; a name of the
                            one file of its locks

<track> is a hash of the track's address. A claim is the rename of .part to .work, of which only one can succeed, also
where file locks lie: the lock saves a download, it keeps nothing from harm. The sidecar has the unique name of its
bytes, so that it is never read with others.

partial   one claimed partial
claims    getting one
reclaim   giving back what the dead had claimed
locks     who downloads a track
sidecar   what is known of the bytes
promise   what the server promised of them
listing   what lies there, for people and for the sweep
"""

from __future__ import annotations

from cachestore.partials.claims import Remains, claim
from cachestore.partials.listing import (
    Abandoned,
    Unfinished,
    abandoned,
    drop_unclaimed,
    files_of,
    may_come_free,
    newest,
    ownerless,
    unfinished,
)
from cachestore.partials.locks import DownloadLock, DownloadLocks
from cachestore.partials.partial import BUFFER, Partial
from cachestore.partials.promise import Promise
from cachestore.partials.reclaim import STILL, reclaim
from cachestore.partials.sidecar import track_name

__all__ = [
    "BUFFER",
    "STILL",
    "Abandoned",
    "DownloadLock",
    "DownloadLocks",
    "Partial",
    "Promise",
    "Remains",
    "Unfinished",
    "abandoned",
    "claim",
    "drop_unclaimed",
    "files_of",
    "may_come_free",
    "newest",
    "ownerless",
    "reclaim",
    "track_name",
    "unfinished",
]
