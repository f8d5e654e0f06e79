"""One Subsonic server: what to ask it, and which proof of who asks it takes."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from cachestore.authorizing import url_secrets
from cachestore.errors import NotFound, SourceError, TrackError, Unauthorized
from cachestore.sources.subsonic.answers import Record, read_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from cachestore.sources.subsonic.settings import Settings
    from cachestore.track import Track
    from cachestore.web import Web

    Proof = Callable[[Settings], Mapping[str, str]]

_COMMON = {"v": "1.16.1", "c": "cachestore"}
_UNKNOWN_PROOF = frozenset({"10", "41", "42"})  # 10: a server from before tokens misses the password


class Server:
    """Asks with the first proof that the server takes; used by several threads.

    Which one that is, one thread finds out once in a run, with ``ping``, and the others wait for it. Refused
    credentials are not tried again: a hundred refusals would lock the account. `secrets` are what the options hide,
    also what is never sent as it is: an answer may say it all the same.
    """

    def __init__(self, settings: Settings, web: Web, secrets: Collection[str] = frozenset()) -> None:
        self._settings = settings
        self._secrets = secrets
        self._web = web
        self._proof: Proof | None = None
        self._failure: TrackError | None = None
        self._logins = 0
        self._lock = Lock()

    def url(self, subject: Track, method: str, **parameters: str) -> str:
        """Return the URL of a request, with the proof in its query. Raise the TrackError of `subject`, or Cancelled."""
        return self._url(subject, method, self._proof or self._login(subject), parameters)

    def ask(self, subject: Track, method: str, **parameters: str) -> Record:
        """Return what the server answers. Raise the TrackError of `subject`, or Cancelled."""
        return self._ask(subject, method, self._proof or self._login(subject), parameters)

    def _login(self, subject: Track) -> Proof:
        begun = self._logins
        with self._lock:
            if self._proof is None:
                self._raise_failure(subject, begun)
                try:
                    self._proof = self._find_proof(subject)
                except TrackError as error:
                    self._failure = error
                    raise
                finally:
                    self._logins += 1
            return self._proof

    def _raise_failure(self, subject: Track, begun: int) -> None:
        """Raise what the last login failed with, if it failed for good or while this thread waited for it."""
        if self._failure is not None and (isinstance(self._failure, Unauthorized) or self._logins != begun):
            raise replace(self._failure, track=subject.address, label=subject.label)

    def _find_proof(self, subject: Track) -> Proof:
        table = f"[sources.{self._settings.name}]"
        if self._settings.api_key:
            refused = self._try(subject, _api_key)
            if refused:
                raise _unknown(subject, refused, f"knows no API keys; set user and password in {table} instead")
            return _api_key
        refused = self._try(subject, _token)
        if not refused:
            return _token
        if not self._settings.may_send_password:
            remedy = f"use an https url in {table}, or plain_password = true to send it for anyone on the way to read"
            raise _unknown(subject, refused, f"wants the password itself, which is not sent unencrypted; {remedy}")
        refused = self._try(subject, _password)
        if refused:
            raise _unknown(subject, refused, f"takes neither token nor password; set api_key alone in {table}")
        return _password

    def _try(self, subject: Track, proof: Proof) -> str:
        """Return the code with which the server does not know this kind of proof, empty when it took it."""
        try:
            self._ask(subject, "ping", proof, {})
        except NotFound as error:
            reason = "the server has no Subsonic API there; check the url of the source, which ends before /rest"
            raise SourceError(subject.address, subject.label, reason, status=error.status) from None
        except TrackError as error:
            if error.provider_code not in _UNKNOWN_PROOF:
                raise
            return error.provider_code
        return ""

    def _ask(self, subject: Track, method: str, proof: Proof, parameters: Mapping[str, str]) -> Record:
        url = self._url(subject, method, proof, {**parameters, "f": "json"})
        return read_answer(subject, self._web.document(subject, url).content, url_secrets(url).union(self._secrets))

    def _url(self, subject: Track, method: str, proof: Proof, parameters: Mapping[str, str]) -> str:
        query = {**_COMMON, **proof(self._settings), **parameters}
        try:
            encoded = urlencode(query, quote_via=quote, safe="", errors="surrogateescape")
        except UnicodeEncodeError:
            raise SourceError(subject.address, subject.label, "its id is no valid Unicode") from None
        return f"{self._settings.base}/rest/{method}.view?{encoded}"


def _token(settings: Settings) -> Mapping[str, str]:
    salt = secrets.token_hex(8)
    token = hashlib.md5(_octets(settings.password) + salt.encode(), usedforsecurity=False).hexdigest()
    return {"u": settings.user, "t": token, "s": salt}


def _password(settings: Settings) -> Mapping[str, str]:
    return {"u": settings.user, "p": f"enc:{_octets(settings.password).hex()}"}


def _api_key(settings: Settings) -> Mapping[str, str]:
    return {"apiKey": settings.api_key}


def _octets(text: str) -> bytes:
    """Return the bytes of a text that may come from an environment that is no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _unknown(subject: Track, code: str, sentence: str) -> Unauthorized:
    reason = f"the server {sentence} (Subsonic error {code})"
    return Unauthorized(subject.address, subject.label, reason, provider_code=code)
