"""The options of the kind ``subsonic``."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from cachestore.config import expand
from cachestore.errors import ConfigError
from cachestore.sources.options import check_names, text
from cachestore.sources.secret_urls import expand_url
from cachestore.web.authority import authority_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cachestore.config import SourceConfig

_CREDENTIALS = ("user", "password", "api_key")
_OPTIONS = ("url", *_CREDENTIALS, "plain_password")


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """How to reach the server of the source `name`, and as whom: `user` and `password`, or `api_key` alone.

    `base` is the URL that ``/rest`` is below. `may_send_password` says whether nobody on the way can read a password
    that is sent as it is, or the person does not mind.
    """

    name: str
    base: str
    user: str
    password: str
    api_key: str
    may_send_password: bool


def read_settings(config: SourceConfig, environ: Mapping[str, str]) -> Settings:
    """Return the options of a source, their variables expanded. Raise ConfigError, never with a value in it."""
    where = config.where
    options = config.options
    check_names(where, options, _OPTIONS)
    base = _base(f"{where}.url", expand_url(text(where, options, "url"), f"{where}.url", environ))
    values = {name: _credential(where, options, name, environ) for name in _CREDENTIALS}
    if {name for name in values if values[name]} not in ({"user", "password"}, {"api_key"}):
        raise ConfigError(where, "expected the options user and password, or api_key alone")
    may_send_password = _flag(where, options, "plain_password") or _is_private(base)
    return Settings(config.name, base, **values, may_send_password=may_send_password)


def _credential(where: str, options: Mapping[str, object], name: str, environ: Mapping[str, str]) -> str:
    """Return an option that may be missing, which is the empty text."""
    if name not in options:
        return ""
    value = expand(text(where, options, name), f"{where}.{name}", environ)
    if not value:
        raise ConfigError(f"{where}.{name}", "the value is empty")
    return value


def _flag(where: str, options: Mapping[str, object], name: str) -> bool:
    value = options.get(name, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{where}.{name}", "expected true or false")
    return value


def _base(where: str, url: str) -> str:
    try:
        authority_of(url)
        scheme, netloc, path, query, fragment = urlsplit(url)
        complete = not query and not fragment
    except ValueError:
        complete = False
    if not complete:
        expected = "expected the http(s) URL of the server, such as https://music.example; /rest is below it"
        raise ConfigError(where, expected)
    return urlunsplit((scheme, netloc, path.rstrip("/"), "", ""))


def _is_private(base: str) -> bool:
    """Return whether what is sent to `base` is encrypted or stays on this machine."""
    server = authority_of(base)
    try:
        return server.scheme == "https" or server.host == "localhost" or ip_address(server.host).is_loopback
    except ValueError:
        return False
