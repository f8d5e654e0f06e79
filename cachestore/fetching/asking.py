"""How one question is answered: by the source, by the server, or by another process that asks it already."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cachestore.download import Body, Elsewhere, NotModified
from cachestore.errors import Corrupt, NotFound, TrackError
from cachestore.fetching import reports
from cachestore.fetching.decide import check_pin
from cachestore.sources.base import Description
from cachestore.store.publish import Incoming
from cachestore.text import shown
from cachestore.version import VersionKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachestore.download import Downloader
    from cachestore.download.outcome import Room
    from cachestore.fetching.lookout import Lookout
    from cachestore.fetching.reports import Question, Report
    from cachestore.sources.account import Account
    from cachestore.sources.registry import Sources
    from cachestore.track import Origin, Track
    from cachestore.version import Version

_SECONDS_BETWEEN_PROGRESS = 0.2


class Asker:
    """Answers the questions of one thread; the sources and the downloader are those of all."""

    def __init__(
        self, sources: Sources, downloader: Downloader, room_of: Callable[[int], Room], lookout: Lookout
    ) -> None:
        self._sources = sources
        self._downloader = downloader
        self._room_of = room_of
        self._lookout = lookout

    def answer(self, question: Question, tell: Callable[[Report], None]) -> Report:
        """Return what comes of a question; `tell` is given what happens on the way. Raise TrackError and others."""
        account = self._sources.account_of(question.track)
        return self._confirmed(account, question) or self._downloaded(account, question, tell)

    def _confirmed(self, account: Account, question: Question) -> Report | None:
        """Return what a service's metadata confirms, where its server has no word for the bytes."""
        if not any(version.kind is VersionKind.DESCRIBED for version in question.known):
            return None
        known = _known(account.describe(question.track).version, question)
        return reports.Unchanged(question.number, known) if known else None

    def _downloaded(self, account: Account, question: Question, tell: Callable[[Report], None]) -> Report:
        track, number = question.track, question.number
        origin = account.resolve(track)
        if known := _known(origin.version, question):
            return reports.Unchanged(number, known)
        before = self._described(account, question)
        outcome = self._outcome(account, origin, question, tell)
        if isinstance(outcome, Elsewhere):
            return reports.Elsewhere(number)
        account.accepted()
        if isinstance(outcome, NotModified):
            return reports.Unchanged(number, outcome.version)
        try:
            _raise_if_changed(account, track, outcome.version)
            incoming = self._incoming(account, track, outcome, before)
        except (Corrupt, NotFound):
            outcome.path.unlink(missing_ok=True)
            outcome.partial.release()
            raise
        except BaseException:
            outcome.partial.leave()
            raise
        return reports.Arrived(number, incoming, outcome.partial)

    def _outcome(
        self, account: Account, origin: Origin, question: Question, tell: Callable[[Report], None]
    ) -> Body | NotModified | Elsewhere:
        try:
            return self._downloader.get(
                question.track,
                origin,
                question.known,
                renew=partial(account.renew, question.track),
                watch=_Watch(question.number, tell),
                room=self._room_of(question.number),
                is_late=lambda: self._lookout.is_late(question),
            )
        except TrackError as error:
            account.refused(origin, error)
            raise

    def _described(self, account: Account, question: Question) -> Description:
        """Return what the service says of a track before it is downloaded, if its server may have no version."""
        is_needed = account.may_lack_versions and all(v.kind is VersionKind.DESCRIBED for v in question.known)
        return _describe(account, question.track) if is_needed else Description()

    def _incoming(self, account: Account, track: Track, body: Body, before: Description) -> Incoming:
        version = body.version
        if version is not None:
            account.saw_version()
        elif before.version is not None and _describe(account, track).version == before.version:
            version = before.version  # told the same before and after the download
        check_pin(track, version)
        if not track.title:
            track = _titled(track, before if before.title else _describe(account, track), body.name)
        return Incoming(track, version, body.path, body.digest, body.size, body.media, body.place)


def _known(version: Version | None, question: Question) -> Version | None:
    """Return the newest of the known versions for which the service has this word: it may stand for several."""
    if version is None:
        return None
    return next((one for one in question.known if one.is_named_as(version)), None)


def _raise_if_changed(account: Account, track: Track, version: Version | None) -> None:
    """Raise Corrupt when the provider names another version by now: it may be the one whose bytes came."""
    if version is not None and version.kind is VersionKind.PROVIDER and account.resolve(track).version != version:
        reason = "its version changed while it was downloaded; export again"
        raise Corrupt(track.address, track.label, reason)


def _describe(account: Account, track: Track) -> Description:
    """Return what the service says of a track; no download fails for want of it."""
    try:
        return account.describe(track)
    except TrackError:
        return Description()


def _titled(track: Track, description: Description, file_name: str) -> Track:
    """Return the track with what the service calls it, or else the server its file."""
    if description.title:
        return replace(track, title=description.title, artist=description.artist, album=description.album)
    return replace(track, title=shown(PurePosixPath(file_name).stem)) if file_name else track


class _Watch:
    """Report how one download goes, at most five times a second."""

    def __init__(self, number: int, tell: Callable[[Report], None]) -> None:
        self._number = number
        self._tell = tell
        self._next = 0.0

    def received(self, received: int, total: int | None) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_PROGRESS
            self._tell(reports.Progress(self._number, received, total))

    def verifying(self, size: int) -> None:
        self._tell(reports.Verifying(self._number, size))

    def elsewhere(self, received: int, total: int | None) -> None:
        self._tell(reports.Waiting(self._number, received, total))
