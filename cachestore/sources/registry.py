"""The source of a track, as the configuration says."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from cachestore.config import nearest
from cachestore.errors import CacheStoreError, ConfigError, SourceError
from cachestore.sources.http import HttpSource
from cachestore.sources.template import Template
from cachestore.sources.url import UrlSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cachestore.config import Config, SourceConfig
    from cachestore.sources.base import Source, SourceFactory
    from cachestore.track import Origin, Track

_GROUP = "cachestore.sources"


class Sources:
    """All configured sources. Each is made when it is first used: a mistake in one stops no other."""

    def __init__(self, config: Config, environ: Mapping[str, str] = os.environ) -> None:
        self._config = config
        self._environ = environ
        self._made: dict[str, Source] = {"url": UrlSource(self._covering)}

    def source_of(self, track: Track) -> Source:
        """Return the source of `track`. Raise ConfigError when it is unknown or wrongly configured."""
        if track.source not in self._made:
            self._made[track.source] = self._make(self._configured(track.source))
        return self._made[track.source]

    def _configured(self, name: str) -> SourceConfig:
        sources = self._config.sources
        if name not in sources:
            where = str(self._config.path or "the configuration")
            raise ConfigError(where, f"there is no table [sources.{name}]{nearest(name, sources)}")
        return sources[name]

    def _make(self, config: SourceConfig) -> Source:
        if config.kind == "http":
            return HttpSource(config, self._environ)
        points = entry_points(group=_GROUP)
        if config.kind not in points.names:
            kinds = nearest(config.kind, ["http", *sorted(points.names)])
            raise ConfigError(f"sources.{config.name}.kind", f"there is no kind {config.kind}{kinds}")
        try:
            factory: SourceFactory = points[config.kind].load()
            return _ThirdParty(config.name, factory(config, self._environ))
        except CacheStoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a plugin may do anything, and its text may hold a secret
            problem = f"the plugin of kind {config.kind} failed ({type(error).__name__}); update or remove it"
            raise ConfigError(f"sources.{config.name}", problem) from None

    def _covering(self, url: str) -> HttpSource | None:
        """Return the source that `url` is below, of several the one that reaches deepest."""
        templates = {name: self._template(config) for name, config in self._config.sources.items()}
        reach = {name: len(it.reach) for name, it in templates.items() if it is not None and it.covers(url)}
        if not reach:
            return None
        return HttpSource(self._config.sources[max(reach, key=reach.__getitem__)], self._environ)

    def _template(self, config: SourceConfig) -> Template | None:
        """Return the template of a source that has one; what is wrong with the others is told when they are used."""
        url = config.options.get("url")
        if config.kind != "http" or not isinstance(url, str):
            return None
        try:
            return Template.parse("", url, self._environ)
        except ConfigError:
            return None


class _ThirdParty:
    """A source of somebody else's: whatever it raises fails its track only."""

    def __init__(self, name: str, source: Source) -> None:
        self._name = name
        self._source = source

    def resolve(self, track: Track) -> Origin:
        """Return what the source says. Raise SourceError or what the source raises on purpose."""
        try:
            return self._source.resolve(track)
        except CacheStoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a plugin may do anything, and its text may hold a secret
            reason = f"the source {self._name} failed ({type(error).__name__})"
            raise SourceError(track.address, track.label, reason) from None
