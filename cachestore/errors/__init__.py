"""Every way this program can fail, as one tree; the exporter adds ExportFailed to TracksFailed.

The facts of a failure are attributes; the sentence for a person is ``str(error)``: what happened, where, what was
expected, what to do. ``exit_code`` is what the command line answers.

    CacheStoreError                 1
    ├── UsageError                  2   what was typed or configured is wrong
    │   ├── ConfigError
    │   ├── AddressError
    │   ├── QuantityError
    │   └── MixError
    ├── PreconditionError           4   something outside must change first
    │   ├── RootMissing
    │   ├── RootUnusable
    │   ├── RootTooNew
    │   ├── NoSpace
    │   ├── BoundUnreachable
    │   └── DestinationError
    ├── Busy                       75   try again
    ├── IndexDamaged                1
    ├── BlobDamaged                 1   a blob is gone or holds other bytes than its name says
    ├── LinkError                   1
    ├── DigestCollision             1
    ├── NotInCache                  1   an address that names no entry
    ├── NotInBundle                 1   a path that is no file of a registered bundle
    ├── PluginBroken                1   an entry point that does not load
    ├── TracksFailed        1/4/75/77   4, 75 or 77 when that is so of each track
    │   └── FetchFailed
    ├── Cancelled         129/130/143
    └── TrackError                  1   one track failed; the others go on
        ├── Unauthorized           77   the credentials were refused
        │   └── Forbidden          77   these credentials do not suffice
        ├── NotFound                1
        ├── BadStatus            1/75   retryable for 408 425 429 500 502 503 504
        ├── Unreachable            75
        ├── TlsError                1
        ├── TimedOut               75
        ├── Truncated            1/75   1 when the file is broken where it is
        ├── Corrupt                75   other bytes than the server's own digest says
        ├── NotAudio                1
        ├── TooLarge                1
        ├── NoRoom                  4   whatever is evicted, the bounds leave no room
        │   └── NoRoomYet          75   other runs have it
        ├── BadResponse             1   an answer that breaks HTTP or what was asked for
        ├── NotCached               1   --offline and nothing kept
        ├── CachedFileError         1   its file in the store cannot be read, or not be put away
        ├── SourceError             1   a source plugin could not resolve the track
        └── LocalFileError          1   a local track that is not there or cannot be read
"""

from __future__ import annotations

from cachestore.errors.base import CacheStoreError
from cachestore.errors.precondition import (
    BoundUnreachable,
    DestinationError,
    NoSpace,
    PreconditionError,
    RootMissing,
    RootTooNew,
    RootUnusable,
    is_full,
)
from cachestore.errors.store import (
    BlobDamaged,
    Busy,
    Cancelled,
    DigestCollision,
    IndexDamaged,
    LinkError,
    NotInBundle,
    NotInCache,
    PluginBroken,
)
from cachestore.errors.track import (
    BadResponse,
    BadStatus,
    CachedFileError,
    Corrupt,
    FetchFailed,
    Forbidden,
    LocalFileError,
    NoRoom,
    NoRoomYet,
    NotAudio,
    NotCached,
    NotFound,
    SourceError,
    TimedOut,
    TlsError,
    TooLarge,
    TrackError,
    TracksFailed,
    Truncated,
    Unauthorized,
    Unreachable,
)
from cachestore.errors.usage import AddressError, ConfigError, MixError, QuantityError, UsageError

__all__ = [
    "AddressError",
    "BadResponse",
    "BadStatus",
    "BlobDamaged",
    "BoundUnreachable",
    "Busy",
    "CacheStoreError",
    "CachedFileError",
    "Cancelled",
    "ConfigError",
    "Corrupt",
    "DestinationError",
    "DigestCollision",
    "FetchFailed",
    "Forbidden",
    "IndexDamaged",
    "LinkError",
    "LocalFileError",
    "MixError",
    "NoRoom",
    "NoRoomYet",
    "NoSpace",
    "NotAudio",
    "NotCached",
    "NotFound",
    "NotInBundle",
    "NotInCache",
    "PluginBroken",
    "PreconditionError",
    "QuantityError",
    "RootMissing",
    "RootTooNew",
    "RootUnusable",
    "SourceError",
    "TimedOut",
    "TlsError",
    "TooLarge",
    "TrackError",
    "TracksFailed",
    "Truncated",
    "Unauthorized",
    "Unreachable",
    "UsageError",
    "is_full",
]
