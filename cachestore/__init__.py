"""A bounded, content-addressed cache for cloud audio tracks.

    from cachestore import Cache, Track

Importing this face costs nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not that of typing: nothing is loaded before an interrupt is caught

if TYPE_CHECKING:
    from cachestore.cache import Cache, Result
    from cachestore.config import Config, SourceConfig, expand, load_config
    from cachestore.entry import Entry
    from cachestore.errors import CacheStoreError, Forbidden, NotFound, SourceError, TrackError, Unauthorized
    from cachestore.events import Event, OnEvent, Provenance, State, TrackEvent, WarningEvent
    from cachestore.links import LinkMode
    from cachestore.sources.base import Description, Playlist, PlaylistTrack
    from cachestore.track import Origin, Track, parse_address
    from cachestore.version import Version, VersionKind
    from cachestore.web import Document, Web

__all__ = [
    "Cache",
    "CacheStoreError",
    "Config",
    "Description",
    "Document",
    "Entry",
    "Event",
    "Forbidden",
    "LinkMode",
    "NotFound",
    "OnEvent",
    "Origin",
    "Playlist",
    "PlaylistTrack",
    "Provenance",
    "Result",
    "SourceConfig",
    "SourceError",
    "State",
    "Track",
    "TrackError",
    "TrackEvent",
    "Unauthorized",
    "Version",
    "VersionKind",
    "WarningEvent",
    "Web",
    "expand",
    "load_config",
    "parse_address",
]

_ROOMS = {
    "Cache": "cache",
    "Result": "cache",
    "Config": "config",
    "SourceConfig": "config",
    "expand": "config",
    "load_config": "config",
    "Entry": "entry",
    "CacheStoreError": "errors",
    "Forbidden": "errors",
    "NotFound": "errors",
    "SourceError": "errors",
    "TrackError": "errors",
    "Unauthorized": "errors",
    "Event": "events",
    "OnEvent": "events",
    "Provenance": "events",
    "State": "events",
    "TrackEvent": "events",
    "WarningEvent": "events",
    "LinkMode": "links",
    "Description": "sources.base",
    "Playlist": "sources.base",
    "PlaylistTrack": "sources.base",
    "Origin": "track",
    "Track": "track",
    "parse_address": "track",
    "Version": "version",
    "VersionKind": "version",
    "Document": "web",
    "Web": "web",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'cachestore' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"cachestore.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
