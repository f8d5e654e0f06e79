"""The kind ``http``: a URL template and headers; or the template of a JSON document that says where the stream is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.errors import ConfigError, Forbidden, Unauthorized
from cachestore.sources.credentials import Credentials
from cachestore.sources.options import check_names, text
from cachestore.sources.secret_urls import secrets_of
from cachestore.sources.stream import StreamPlace
from cachestore.sources.template import Template
from cachestore.track import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cachestore.config import SourceConfig
    from cachestore.errors import TrackError
    from cachestore.track import Track
    from cachestore.web import Web

_POINTERS = ("stream_pointer", "version_pointer")
_OPTIONS = ("url", "headers", "credential_command", "resolve_url", *_POINTERS)


class HttpSource:
    """Tracks whose URL follows from their id, or whose document's does. Raise ConfigError for unusable options."""

    def __init__(self, config: SourceConfig, environ: Mapping[str, str], web: Web) -> None:
        where, options = config.where, config.options
        check_names(where, options, _OPTIONS)
        _check_combination(where, options)
        name = "resolve_url" if "resolve_url" in options else "url"
        self._template = Template.parse(f"{where}.{name}", text(where, options, name), environ)
        self._stream = StreamPlace.parse(where, options) if name == "resolve_url" else None
        self._credentials = Credentials(config, environ, web)
        self._secrets = secrets_of(config, environ)
        self._web = web

    @staticmethod
    def covered(config: SourceConfig, environ: Mapping[str, str]) -> Template | None:
        """Return the template of the streams' own URLs; below that of documents are documents. Raise ConfigError."""
        if "url" not in config.options:
            return None
        return Template.parse(f"{config.where}.url", text(config.where, config.options, "url"), environ)

    def resolve(self, track: Track) -> Origin:
        """Return the URL of the track, which may be one that this source covers or that its document names.

        Raise ConfigError, Cancelled, or the TrackError of what went wrong with the document or the credentials.
        """
        headers = self._credentials.headers(track)
        if self._stream is None:
            return Origin(self._template.lend(track.url) if track.url else self._template.fill(track), headers)
        url = self._template.fill(track)
        try:
            document = self._web.json(track, url, headers)
        except Unauthorized as error:
            if not _is_refusal(error) or not self._credentials.renew(track, headers):
                raise
            headers = self._credentials.headers(track)
            document = self._web.json(track, url, headers)
        return self._stream.origin(track, url, headers, document, self._secrets)

    def renew(self, track: Track, refused: Origin, error: TrackError) -> bool:
        """Return whether there are other credentials, or a document that may name another URL than the expired one."""
        renewed = _is_refusal(error) and self._credentials.renew(track, refused.headers)
        return renewed or (self._stream is not None and _is_expiry(error))


def _check_combination(where: str, options: Mapping[str, object]) -> None:
    match "url" in options, "resolve_url" in options:
        case True, True:
            raise ConfigError(where, "expected url, the stream's own, or resolve_url, that of a document, but not both")
        case False, False:
            raise ConfigError(f"{where}.url", "the option is missing; expected it, or resolve_url with stream_pointer")
        case False, True if "stream_pointer" not in options:
            expected = "expected where in the document the URL of the stream stands, such as /stream/url"
            raise ConfigError(f"{where}.stream_pointer", f"the option is missing; {expected}")
        case True, False if pointers := [name for name in _POINTERS if name in options]:
            raise ConfigError(f"{where}.{pointers[0]}", "there is no document to point into without resolve_url")


def _is_refusal(error: TrackError) -> bool:
    return isinstance(error, Unauthorized) and not isinstance(error, Forbidden)


def _is_expiry(error: TrackError) -> bool:
    return error.may_be_expiry or isinstance(error, Unauthorized)
