"""Whether a body may enter the store: the bytes that the server means, and whole audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.download.digests import broken
from cachestore.errors import Corrupt, NotAudio, Truncated
from cachestore.media import identify

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachestore.media import Media
    from cachestore.partials import Partial
    from cachestore.track import Track


def examine(track: Track, partial: Partial, check: Callable[[], None]) -> Media:
    """Return what the whole body in `partial` is; `check` is called now and then and raises to cancel.

    Raise Truncated, Corrupt, NotAudio, or what an error page with a good status says: Unauthorized or NotFound.
    """
    if partial.total is not None and partial.received < partial.total:
        reason = f"the server sent only {partial.received} of {partial.total} bytes"
        raise Truncated(track.address, track.label, reason)
    if partial.received == 0:
        raise NotAudio(track.address, track.label, "the server sent an empty body instead of audio")
    lie = broken(partial, partial.promised, check=check)
    if lie is not None:
        reason = f"the bytes that came do not have the {lie.algorithm} that the server gave for them ({lie.field})"
        raise Corrupt(track.address, track.label, reason)
    try:
        return identify(partial, track, check)
    except Truncated as error:
        raise Truncated(track.address, track.label, error.reason, is_final=partial.total is not None) from None
