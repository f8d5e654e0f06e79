"""The source of a track, as the configuration says."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from cachestore.aside import is_interrupt
from cachestore.config import nearest
from cachestore.errors import ConfigError
from cachestore.sources.account import Account
from cachestore.sources.base import Covering
from cachestore.sources.checked import is_whole
from cachestore.sources.echoes import without_secrets_of
from cachestore.sources.http import HttpSource
from cachestore.sources.secret_urls import credentials_of, expand_url, secrets_of
from cachestore.sources.subsonic import SubsonicSource
from cachestore.sources.url import UrlSource
from cachestore.text import redacted
from cachestore.web.authority import authority_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cachestore.config import Config, SourceConfig
    from cachestore.sources.base import Source, SourceFactory
    from cachestore.sources.template import Template
    from cachestore.track import Track
    from cachestore.web import Web

_GROUP = "cachestore.sources"
_KINDS: Mapping[str, SourceFactory] = {"http": HttpSource, "subsonic": SubsonicSource}


class Sources:
    """All configured sources. Each is made when it is first used: a mistake in one stops no other."""

    def __init__(self, config: Config, web: Web, environ: Mapping[str, str] = os.environ) -> None:
        self._config = config
        self._web = web
        self._environ = environ
        self._accounts: dict[str, Account] = {}
        self._lock = threading.Lock()

    def account_of(self, track: Track) -> Account:
        """Return the account that `track` is asked with. Raise ConfigError when its source is unknown or wrong."""
        if track.source != "url":
            return self.account(track.source)
        covering = self._covering(track.url) if track.url is not None else None
        return self.account(covering) if covering else Account("url", UrlSource())

    def account(self, name: str) -> Account:
        """Return the account of a configured source. Raise ConfigError."""
        with self._lock:
            if name not in self._accounts:
                config = self._configured(name)
                self._web.hide(secrets_of(config, self._environ))
                web = None if config.kind in _KINDS else self._web
                secrets = credentials_of(config, self._environ)
                self._accounts[name] = Account(name, self._make(config), secrets, web)
            return self._accounts[name]

    def _configured(self, name: str) -> SourceConfig:
        sources = self._config.sources
        if name not in sources:
            where = str(self._config.path or "the configuration")
            raise ConfigError(where, f"there is no table [sources.{redacted(name)}]{nearest(name, sources)}")
        return sources[name]

    def _make(self, config: SourceConfig) -> Source:
        if config.kind in _KINDS:
            return _KINDS[config.kind](config, self._environ, self._web)
        from importlib.metadata import entry_points  # slow to import

        points = entry_points(group=_GROUP)
        if config.kind not in points.names:
            kinds = nearest(config.kind, [*_KINDS, *sorted(points.names)])
            raise ConfigError(f"{config.where}.kind", f"there is no kind {config.kind}{kinds}")
        try:
            factory: SourceFactory = points[config.kind].load()
            return factory(config, self._environ, self._web)
        except BaseException as error:  # a plugin may do anything, and its text may hold a secret
            if is_interrupt(error):
                raise
            if is_whole(error):
                raise without_secrets_of(error, self._web.secrets) from None
            problem = f"the plugin of kind {config.kind} failed ({type(error).__name__}); update or remove it"
            raise ConfigError(config.where, problem) from None

    def _covering(self, url: str) -> str | None:
        """Return the name of the source that `url` is below, of several the one that reaches deepest."""
        reach = {name: len(template.reach) for name, template in self._covered.items() if template.covers(url)}
        return max(reach, key=reach.__getitem__) if reach else None

    @cached_property
    def _covered(self) -> Mapping[str, Template]:
        """The templates of the sources that cover URLs."""
        found = {name: _template(config, self._environ) for name, config in self._config.sources.items()}
        return {name: template for name, template in found.items() if template is not None}


def is_of_a_source(url: str, config: Config, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether `url` is below a configured source, or on the server of one that is of another kind than http."""
    return any(_has(source, url, environ) for source in config.sources.values())


def _has(config: SourceConfig, url: str, environ: Mapping[str, str]) -> bool:
    template = _template(config, environ)
    if template is not None or isinstance(_KINDS.get(config.kind), Covering):
        return template is not None and template.covers(url)
    try:
        base = expand_url(str(config.options.get("url", "")), f"{config.where}.url", environ)
        return authority_of(base) == authority_of(url)
    except (ConfigError, ValueError):
        return False


def _template(config: SourceConfig, environ: Mapping[str, str]) -> Template | None:
    kind = _KINDS.get(config.kind)
    try:
        return kind.covered(config, environ) if isinstance(kind, Covering) else None
    except ConfigError:
        return None
