"""A source as one run uses it: whatever it raises fails its track only, and refused credentials are not used on."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from cachestore.aside import awaited, begun, is_interrupt
from cachestore.errors import Cancelled, ConfigError, Forbidden, SourceError, TimedOut, TrackError, Unauthorized
from cachestore.sources.base import Describing, Description, Listing, Playlist, PlaylistTrack, Renewing
from cachestore.sources.checked import Unfit, check_sources, checked, checked_list, is_whole
from cachestore.sources.echoes import without_echoes, without_secrets_of
from cachestore.sources.secret_urls import carries
from cachestore.track import Origin
from cachestore.web.echoes import has_credentials, sent_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from cachestore.sources.base import Source
    from cachestore.track import Track
    from cachestore.web import Web

_T = TypeVar("_T")
_MOST_HANGING = 8


class Account:
    """One configured source; used by several threads. `secrets` are by what a URL is known to carry its credentials.

    Once its credentials are refused without having been accepted since they were new, nothing more is asked with them
    in this run: a hundred refusals would lock the account, and bring nothing. With a `web`, the source is a plugin,
    which may not return: it is waited for as long as for a server, and not asked again while many calls hang.
    """

    def __init__(
        self, name: str, source: Source, secrets: frozenset[str] = frozenset(), web: Web | None = None
    ) -> None:
        self._name = name
        self._source = source
        self._secrets = secrets
        self._web = web
        self._late: list[Future[Any]] = []
        self._sent: set[str] = set()
        self._accepted = False
        self._refused = ""
        self._server_has_versions = False

    @property
    def may_lack_versions(self) -> bool:
        """Return whether no answer of the server had a version of the bytes yet: then the service's metadata counts."""
        return not self._server_has_versions

    def saw_version(self) -> None:
        """Take that an answer of the server had a version."""
        self._server_has_versions = True

    def resolve(self, track: Track) -> Origin:
        """Return where the bytes of `track` are. Raise TrackError or ConfigError."""
        with self._asking(track):
            return self._resolved(track)

    def renew(self, track: Track, refused: Origin, error: TrackError) -> Origin | None:
        """Return another origin to try once after the server `refused` one, None when there is none to be had."""
        with self._asking(track):
            source = self._source
            if isinstance(source, Renewing) and self._said(track, lambda: source.renew(track, refused, error)):
                return self._resolved(track)
        return None

    def refused(self, origin: Origin, error: TrackError) -> None:
        """Take that the server refused `origin` for good: it counts if that carried credentials of this account."""
        if self._refused or self._name == "url":
            return
        is_ours = has_credentials(origin.headers) or error.provider_code or carries(origin.url, self._secrets)
        if is_ours and isinstance(error, Unauthorized):
            self._note(error)

    def accepted(self) -> None:
        """Take that the server answered an origin of this account."""
        self._accepted = True

    def describe(self, track: Track) -> Description:
        """Return what the source knows of `track`, which may be nothing. Raise TrackError.

        Texts that say a credential back are left out.
        """
        with self._asking(track):
            source = self._describing
            if source is not None:
                said = self._said(track, lambda: checked(source.describe(track), Description))
                return without_echoes(said, self._hidden)
        return Description()

    def playlists(self, subject: Track) -> Sequence[Playlist]:
        """Return all playlists; an error is that of `subject`. Raise SourceError when the source has none."""
        with self._asking(subject):
            source = self._listing(subject)
            return self._said(subject, lambda: checked_list(source.playlists(), Playlist))

    def playlist(self, subject: Track, playlist_id: str) -> Sequence[PlaylistTrack]:
        """Return the rows of a playlist; an error is that of `subject`. Raise SourceError when there are none."""
        with self._asking(subject):
            source = self._listing(subject)
            rows = self._said(subject, lambda: checked_list(source.playlist(playlist_id), PlaylistTrack))
            check_sources(rows, self._name)
            return rows

    @cached_property
    def _describing(self) -> Describing | None:
        return self._source if isinstance(self._source, Describing) else None

    def _resolved(self, track: Track) -> Origin:
        origin = self._said(track, lambda: checked(self._source.resolve(track), Origin))
        if origin.headers:
            self._sent |= sent_secrets("", origin.headers)  # another set: threads may be reading this one
        return origin

    def _said(self, track: Track, ask: Callable[[], _T]) -> _T:
        """Return what the source says. Raise TimedOut when a plugin has not by the deadline of this thread."""
        if self._web is None:
            return ask()
        web, reason = self._web, f"the source {self._name} did not return within total_timeout"

        def ask_in_time() -> _T:
            with web.one_deadline(deadline):
                return ask()

        def raise_if_over() -> None:
            web.raise_if_cancelled()
            web.raise_if_late(track, reason)

        with web.one_deadline():
            deadline = web.deadline
            answer = begun(ask_in_time)
            try:
                return awaited(answer, raise_if_over)
            except TimedOut:
                self._late.append(answer)
                raise

    def _listing(self, subject: Track) -> Listing:
        if isinstance(self._source, Listing):
            return self._source
        raise SourceError(subject.address, subject.label, f"the source {self._name} has no playlists")

    def _note(self, error: Unauthorized) -> None:
        """Stop asking when the credentials were not accepted since they were last refused; tell where they stand."""
        remedy = f"; check the credentials of [sources.{self._name}]"
        if isinstance(error, Forbidden) or remedy in error.reason:
            return  # this track only, or noted already
        if not self._accepted:
            self._refused = error.reason
        self._accepted = False
        error.reason += remedy

    @contextmanager
    def _asking(self, track: Track) -> Iterator[None]:
        """Ask the source within the block, if that is of any use; what it raises is the track's error.

        It may be a plugin, and the text of its exceptions may hold a secret.
        """
        self._raise_if_useless(track)
        try:
            yield
        except Unfit as error:
            reason = f"the source {self._name} returned {error.found}; expected {error.expected}"
            raise SourceError(track.address, track.label, f"{reason}; update or mend its package") from None
        except BaseException as error:  # noqa: BLE001 - a plugin may do anything, as end a program or a task of its own
            if not (is_whole(error) or self._is_cancel(error) or is_interrupt(error)):
                reason = f"the source {self._name} failed ({type(error).__name__})"
                raise SourceError(track.address, track.label, reason) from None
            told = self._told(track, error)
            if isinstance(told, Unauthorized):
                self._note(told)
            raise told from None

    def _told(self, track: Track, error: BaseException) -> BaseException:
        """Return what a source raised: of a plugin, an error of `track` that shows no secret."""
        if self._web is None or not isinstance(error, TrackError | ConfigError):
            return error
        told = without_secrets_of(error, self._hidden)
        if isinstance(told, TrackError):
            told.track, told.label = track.address, track.label
        return told

    @property
    def _hidden(self) -> set[str]:
        """Return what no text of the source may show."""
        return self._sent | (self._web.secrets if self._web is not None else set())

    def _raise_if_useless(self, track: Track) -> None:
        if self._refused:
            reason = f"{self._refused}; the source {self._name} is not asked again in this run"
            raise Unauthorized(track.address, track.label, reason)
        hanging = sum(not answer.done() for answer in self._late)
        if hanging >= _MOST_HANGING:
            reason = f"the source {self._name} did not return from {hanging} calls, and is not asked until it does"
            raise TimedOut(track.address, track.label, reason)

    def _is_cancel(self, error: BaseException) -> bool:
        """Return whether the run was cancelled: a plugin may say so when it was not."""
        return isinstance(error, Cancelled) and (self._web is None or self._web.cancel.is_set())
