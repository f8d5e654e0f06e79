"""One track failed; the others go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from cachestore.errors.base import CacheStoreError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(eq=False)
class TrackError(CacheStoreError):
    """One track failed. `track` is its address, `label` its name for a person, `code` the documented event code.

    `status` is the HTTP status that said so, `retry_after` how many seconds the server wants to be left alone,
    `provider_code` the service's own code of the failure (Subsonic, S3).
    """

    code: ClassVar[str] = "failed"
    retryable = False

    track: str
    label: str
    reason: str
    status: int | None = field(default=None, kw_only=True)
    retry_after: float = field(default=0.0, kw_only=True)
    provider_code: str = field(default="", kw_only=True)

    @property
    def may_be_expiry(self) -> bool:
        """Return whether a URL or its credentials may have expired: S3 says 400 or 403, nginx 410, others 401."""
        return self.status in {400, 401, 403, 410}

    def __str__(self) -> str:
        return f"{self.label}: {self.reason}" if self.label else f"{self.track}: {self.reason}"


class Unauthorized(TrackError):
    """The server refused the credentials (401, or a service's own word for it)."""

    code = "unauthorized"
    exit_code = 77


class Forbidden(Unauthorized):
    """The server knows who asks and does not allow it (403), or a signed URL has expired."""

    code = "forbidden"


class NotFound(TrackError):
    """The server has no such track (404, 410)."""

    code = "not_found"


@dataclass(eq=False)
class BadStatus(TrackError):
    """The server answered with a status that is no success."""

    code = "bad_status"

    def __post_init__(self) -> None:
        self.retryable = self.status in {408, 425, 429, 500, 502, 503, 504}
        self.exit_code = 75 if self.retryable else 1


@dataclass(eq=False)
class Unreachable(TrackError):
    """No connection: refused, reset, not made in time, or the name does not resolve.

    Or one without an answer, when the server `is_there`: that may be so of one track only.
    """

    is_there: bool = field(default=False, kw_only=True)
    code = "unreachable"
    retryable = True
    exit_code = 75


class TlsError(TrackError):
    """The server's certificate or TLS handshake was not accepted."""

    code = "tls"


class TimedOut(TrackError):
    """The server did not answer or send in time."""

    code = "timeout"
    retryable = True
    exit_code = 75


@dataclass(eq=False)
class Truncated(TrackError):
    """The body ended before the length that was promised, or before the end that its own header tells.

    When `is_final`, all that was promised has come: the file is broken where it is, and asking again brings the same.
    """

    is_final: bool = field(default=False, kw_only=True)
    code = "truncated"

    def __post_init__(self) -> None:
        self.retryable = not self.is_final
        self.exit_code = 1 if self.is_final else 75


class Corrupt(TrackError):
    """The body does not have the digest that the server gave for it."""

    code = "corrupt"
    retryable = True
    exit_code = 75


class NotAudio(TrackError):
    """The server answered with something that is not audio, such as a login page."""

    code = "not_audio"


class TooLarge(TrackError):
    """The body is larger than `max_track_size`, or than a file of the store's disk can be."""

    code = "too_large"


@dataclass(eq=False)
class NoRoom(TrackError):
    """The bounds of the store leave no room for the track, whatever is evicted; `need` are the bytes that it needs."""

    exit_code = 4
    need: int = field(default=0, kw_only=True)
    code = "no_room"


class NoRoomYet(NoRoom):
    """Other runs have the room that the track needs."""

    code = "no_room_yet"
    retryable = True
    exit_code = 75


class BadResponse(TrackError):
    """The answer breaks HTTP or does not fit what was asked for."""

    code = "bad_response"


class NotCached(TrackError):
    """Offline, and no usable entry is kept."""

    code = "not_cached"


class CachedFileError(TrackError):
    """The track's file in the store cannot be read, or was changed and cannot be put away."""

    code = "cached_file"


class SourceError(TrackError):
    """A source could not turn the track into an origin."""

    code = "source"


class LocalFileError(TrackError):
    """A local track is missing or cannot be read."""

    code = "local_file"


@dataclass(eq=False)
class TracksFailed(CacheStoreError):
    """Tracks failed: `failures` are their errors, `rows` is how many were asked for.

    The exit code is 4, 75 or 77 when every failure has it, else 1.
    """

    failures: Sequence[TrackError]
    rows: int

    def __post_init__(self) -> None:
        codes = {failure.exit_code for failure in self.failures}
        self.exit_code = codes.pop() if len(codes) == 1 else 1


@dataclass(eq=False)
class FetchFailed(TracksFailed):
    """Some tracks could not be fetched; `kept` of the other ones are in the cache, whose bounds may not allow all."""

    kept: int

    def __str__(self) -> str:
        if self.rows == 1:
            return str(self.failures[0])
        return f"{len(self.failures)} of {self.rows} tracks could not be fetched{self._others}; see above"

    @property
    def _others(self) -> str:
        others = self.rows - len(self.failures)
        if others == 0:
            return ""
        if self.kept == others:
            return ", the others are in the cache"
        return f", {self.kept or 'none'} of the other {others} {'are' if self.kept > 1 else 'is'} in the cache"
