"""One track's way from a request to a whole body; what arrived survives a failed attempt."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachestore.download import question
from cachestore.download.digests import promises
from cachestore.download.gate import examine
from cachestore.download.outcome import Body, BodyNeeded, NotModified, Postponed
from cachestore.errors import BadResponse, NotFound, TimedOut, TooLarge, TrackError, Truncated
from cachestore.quantities import format_size
from cachestore.track import Origin
from cachestore.web import fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from cachestore.download.outcome import Room, Watch
    from cachestore.media import Media
    from cachestore.partials import Partial, Promise
    from cachestore.track import Track
    from cachestore.version import Version
    from cachestore.web import Web

# With what else to try after the server refused an origin, None if there is nothing.
Renew = Callable[[Origin, TrackError], Origin | None]

_PROGRESS = 16 * 1024
_ENDS = frozenset({"content-length", "transfer-encoding"})


@dataclass(slots=True, kw_only=True)
class Transfer:
    """The download of one track into one partial, in one attempt or several.

    Without one, it is asked for what is needed: `claim` gives one when there is a body, None when that is not ours.
    """

    web: Web
    track: Track
    origin: Origin
    known: Mapping[Version, str]
    partial: Partial | None
    claim: Callable[[], Partial | None]
    max_size: int
    room: Room
    renew: Renew
    watch: Watch
    _renewed: bool = field(default=False, init=False)
    _is_origin_fresh: bool = field(default=True, init=False)
    _may_resume: bool = field(default=True, init=False)
    _version: Version | None = field(default=None, init=False)
    _asked_for_rest: bool = field(default=False, init=False)
    _name: str = field(default="", init=False)
    _farthest: int = field(init=False)
    _before: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._farthest = self.partial.received if self.partial else 0

    def attempt(self) -> Body | NotModified | BodyNeeded:
        """Ask the origin, and again at once where an answer shows that the question was wrong.

        Such an answer takes something out of the question, so there is an end. Raise TrackError, NoSpace, Cancelled.
        """
        outcome = None
        while outcome is None:
            try:
                outcome = self._ask()
            except TrackError as error:
                self._renew_or_raise(error)
        return outcome

    def advanced(self) -> bool:
        """Return whether more has come, since this was last so, than drips from a server that sends next to nothing."""
        received = self.partial.received if self.partial else 0
        if received < self._farthest + _PROGRESS:
            return False
        self._farthest = received
        return True

    def without_range(self, error: TrackError) -> bool:
        """Ask for the whole from now on, if the question for a rest was refused; return whether that changes it.

        Some servers refuse any Range. The partial stays until a whole body begins: the refusal may mean the track.
        """
        self._may_resume = not (self._asked_for_rest and question.may_refuse_range(error))
        return not self._may_resume

    def _ask(self) -> Body | NotModified | BodyNeeded | None:
        partial = self.partial
        if partial is not None and partial.complete and self.origin.version == partial.version:
            return self._finished(partial, self._examined(partial))
        rest = question.rest_of(partial, self.origin, is_fresh=self._is_origin_fresh) if self._may_resume else {}
        self._asked_for_rest = bool(rest)
        headers = question.asked(self.origin, question.offered(self.known, partial), rest)
        with self.web.get(self.track, self.origin.url, headers) as response:
            return self._receive(response)

    def _renew_or_raise(self, error: TrackError) -> None:
        """Go on with another origin, once, where the old one may have expired; what has come stays."""
        is_renewable = error.may_be_expiry or bool(error.provider_code)
        other = self.renew(self.origin, error) if is_renewable and not self._renewed else None
        if other is None:
            raise error
        self._renewed, self._is_origin_fresh, self.origin = True, True, other

    def _receive(self, response: httpx.Response) -> Body | NotModified | BodyNeeded | None:
        """Return the outcome, or None to ask again with less in the question."""
        asked = response.request.headers
        match response.status_code:
            case 304 if "if-none-match" in asked or "if-modified-since" in asked:
                return self._confirm(response)
            case 304 | 416 if "range" in asked and self.partial is not None:
                self.partial.clear()
                return None
            case 206 if "range" in asked and self.partial is not None:
                return self._go_on(response, self.partial)
            case 200 if fields.is_whole(response.headers):
                return self._begin(response)
            case 200 if "range" in asked and self.partial is not None:
                self.partial.clear()
                return None
            case 200:
                raise self._refused("the server sent a part of the file as if it were the whole")
            case 206 | 304 as status:
                raise self._refused(f"the server answered {status} to a question that does not allow it")
        raise self.web.failure_of(self.track, response)

    def _confirm(self, response: httpx.Response) -> Body | NotModified | None:
        partial = self.partial
        named = fields.confirmed(question.offered(self.known, partial), response.headers)
        here = [one for one in question.known_at(self.known, response) if named is not None and one.is_named_as(named)]
        if here:
            return self._unchanged(here[0])
        self.known = {}  # nothing tells which bytes it means: ask for them
        if partial is None or not partial.complete:
            return None
        if named is not None and named == partial.version and question.is_comparable(response, partial, self.origin):
            # Of the file, and not of the empty content of this answer (RFC 9530 §2, §3).
            said = _promises(response, response.headers, partial=True)
            partial.promise([one for one in said if one.field.lower() == "repr-digest"])
            return self._finished(partial, self._examined(partial))
        partial.clear()
        return None

    def _unchanged(self, version: Version) -> NotModified:
        if self.partial is not None:
            self.partial.clear()  # it is a beginning of something that is not wanted any more
        return NotModified(version)

    def _go_on(self, response: httpx.Response, partial: Partial) -> Body | None:
        part = question.part_of(partial, response.headers)
        if part is None or not question.is_comparable(response, partial, self.origin):
            partial.clear()
            return None
        partial.promise(_promises(response, response.headers, start=part.start, end=part.end, partial=True))
        self._name = self._name or fields.file_name(response.headers.get("content-disposition", ""))
        return self._read(response, partial, part.end + 1)

    def _begin(self, response: httpx.Response) -> Body | NotModified | BodyNeeded | None:
        headers = dict(response.headers.items())  # for each name, httpx looks at every row
        found = fields.version_of(headers)
        promised = _promises(response, headers, partial=False)
        if found is not None and not promised and self._is_told(found, response):
            return self._unchanged(found)
        if fields.is_encoded(headers):
            raise self._refused("the server compressed the body, though it was asked not to")
        total = fields.content_length(headers)
        self._refuse_larger(total or 0)
        version = self.origin.version or found
        self._refuse_other_than_pinned(version)
        partial = self.partial = self.partial or self.claim()
        if partial is None:
            return BodyNeeded()
        validator = found if found and fields.is_strong(found, headers) else None
        hint, resource = None if validator else found, question.resource_of(str(response.request.url))
        self._version = version
        # The provider's word of before another body says nothing of this one: nobody may go on with it under that word.
        told = version if self._is_origin_fresh or self.origin.version is None else None
        partial.begin(told, validator, total, hint=hint, promised=promised, resource=resource)
        self._name = fields.file_name(headers.get("content-disposition", ""))
        return self._read(response, partial, total)

    def _is_told(self, found: Version, response: httpx.Response) -> bool:
        """Return whether the head of a 200 tells that the bytes are known.

        It should have been a 304, but some servers know no conditions, and several dates at once cannot be asked for.
        """
        by_tag, by_date = (name in response.request.headers for name in ("if-none-match", "if-modified-since"))
        here = question.known_at(self.known, response)
        if by_tag and fields.is_told_by_tag(found, here):
            return True
        return not by_date and fields.is_told_by_date(found, here)

    def _refuse_other_than_pinned(self, version: Version | None) -> None:
        """Raise NotFound before the body of a version that is not wanted; without one, the body has to tell."""
        if self.track.version is not None and version is not None and not version.matches(self.track.version):
            reason = f"the pinned version {self.track.version} is neither in the cache nor on the server any more"
            raise NotFound(self.track.address, self.track.label, reason)

    def _read(self, response: httpx.Response, partial: Partial, end: int | None) -> Body | None:
        """Take in a body that brings the partial to `end`, if it says where that is; None to ask for it once more."""
        self._is_origin_fresh = False
        start = partial.received
        self._take_room(partial, end or start, start)
        self.watch.received(start, partial.total)
        for chunk in self.web.chunks(self.track, response, before=partial.received, total=partial.total):
            size = partial.received + len(chunk)
            self._refuse_larger(size)
            if end is not None and size > end:
                partial.clear()
                raise self._refused("the server sent more bytes than it announced")
            self._take_room(partial, end or size, size)
            partial.write(chunk)
            self.watch.received(partial.received, partial.total)
        if partial.received != partial.total:  # a socket that was shut down looks like the end of the body
            self.web.raise_if_cancelled()
        self._take_trailers(response, partial, start)
        has_end = end is not None or not _ENDS.isdisjoint(response.headers) or partial.promised
        media = self._examined(partial)
        return self._finished(partial, media) if has_end or self._came_twice(partial) else None

    def _take_trailers(self, response: httpx.Response, partial: Partial, start: int) -> None:
        """Take what a server promises behind the bytes, since it did not know it before (RFC 9530 §2, §3)."""
        if "trailers" in response.extensions:
            is_rest = response.status_code == 206
            said = ChainMap(response.extensions["trailers"], response.headers)
            end = partial.received - 1 if is_rest else None
            found = _promises(response, said, start=start, end=end, partial=is_rest)
            partial.promise([promise for promise in found if promise not in partial.promised])

    def _take_room(self, partial: Partial, whole: int, size: int) -> None:
        """Let the partial grow to `size` bytes of `whole`, as far as that is known. Raise Postponed or NoRoom."""
        try:
            self.room(whole, size, partial.received)
        except Postponed as postponed:
            postponed.kept = partial.received if partial.resumable else 0
            raise

    def _came_twice(self, partial: Partial) -> bool:
        """Return whether the same bytes came before; clear them when nothing did. Raise Truncated when others did.

        A closed connection ends a body as it cuts one (RFC 9112 §6.3), and many containers do not tell the difference.
        """
        before, self._before = self._before, partial.hexdigest
        if before != self._before:
            partial.clear()
        if before not in {"", self._before}:
            reason = "the server does not say where the body ends, and sent another one when it was asked again"
            raise Truncated(self.track.address, self.track.label, reason)
        return bool(before)

    def _examined(self, partial: Partial) -> Media:
        self.watch.verifying(partial.received)
        try:
            return examine(self.track, partial, self._check)
        except TimedOut:
            raise  # the bytes are not judged yet
        except TrackError as error:
            if not isinstance(error, Truncated) or partial.total in {None, partial.received}:
                partial.clear()  # these bytes are of no use; a body that was cut goes on
            raise

    def _check(self) -> None:
        self.web.raise_if_cancelled()
        self.web.raise_if_late(self.track)

    def _finished(self, partial: Partial, media: Media) -> Body:
        partial.finish()
        version = partial.version or self._version
        place = question.place_of(partial.resource)
        return Body(partial.path, partial.hexdigest, partial.received, version, media, self._name, place, partial)

    def _refuse_larger(self, size: int) -> None:
        if size > self.max_size:
            if self.partial is not None:
                self.partial.clear()
            reason = f"it is larger than max_track_size allows ({format_size(self.max_size)})"
            raise TooLarge(self.track.address, self.track.label, reason)

    def _refused(self, reason: str) -> BadResponse:
        return BadResponse(self.track.address, self.track.label, reason)


def _promises(
    response: httpx.Response, said: Mapping[str, str], *, start: int = 0, end: int | None = None, partial: bool
) -> list[Promise]:
    return promises(said, start=start, end=end, partial=partial, secrets=response.extensions["secrets"])
