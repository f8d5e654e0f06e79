"""What must not be in a timeline that is written: URLs of configured sources, and what these and their options hide."""

from __future__ import annotations

import json
import os
import re
from itertools import chain, count
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import opentimelineio as otio

from cachestore.sources.registry import is_of_a_source
from cachestore.sources.secret_urls import secrets_of
from cachestore.text import SHORTEST_SECRET, is_echo
from cachestore.track import url_secrets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cachestore.config import Config

_URL = re.compile(r"""https?://[^\s"'<>\\]+""", re.IGNORECASE)


def hide(top: otio.core.SerializableObjectWithMetadata, config: Config) -> None:
    """Take URLs of the sources of `config`, and all that is hidden in them, out of names and metadata from `top` down.

    References keep what they refer to.
    """
    hiding = _Hiding(top.to_json_string(), config)
    for element in _elements(top):
        element.name = hiding.told(element.name)
        metadata = hiding.opened(element.metadata)
        element.metadata.clear()
        element.metadata.update(metadata)


def _elements(top: otio.core.SerializableObjectWithMetadata) -> Iterator[otio.core.SerializableObjectWithMetadata]:
    """Yield all that has a name and metadata, from `top` down."""
    yield top
    below = [top.tracks] if isinstance(top, otio.schema.Timeline) else []
    below += top if isinstance(top, otio.schema.SerializableCollection | otio.core.Composition) else []
    below += [*top.markers, *top.effects] if isinstance(top, otio.core.Item) else []
    below += top.media_references().values() if isinstance(top, otio.schema.Clip) else []
    for element in below:
        yield from _elements(element)


class _Hiding:
    """What is to be hidden in a timeline that is `text` as JSON."""

    def __init__(self, text: str, config: Config) -> None:
        self._config = config
        options = (secrets_of(source, os.environ) for source in config.sources.values())
        self._secrets: dict[str, set[str]] = {}  # by how they begin: each signed URL may well have one of its own
        for secret in chain(*options, *map(url_secrets, self._urls(text))):
            self._secrets.setdefault(secret[:SHORTEST_SECRET], set()).add(secret)

    def opened(self, value: Any) -> Any:  # noqa: ANN401 - metadata is any JSON
        """Return a value of metadata with another text for each, of keys too, that has something hidden in it."""
        if isinstance(value, str):
            return self.told(value)
        if hasattr(value, "items"):
            opened: dict[str, Any] = {}
            for key, inner in value.items():
                opened[_unused(self.told(key), opened)] = self.opened(inner)
            return opened
        if isinstance(value, otio.core.SerializableObject):
            return otio.core.deserialize_json_from_string(json.dumps(self.opened(json.loads(value.to_json_string()))))
        return [self.opened(inner) for inner in value] if hasattr(value, "__iter__") else value

    def told(self, text: str) -> str:
        """Return a text, or what may be told of it."""
        url = next(self._urls(text), None)
        if url is not None:
            return f"url:{urlsplit(url).hostname}"
        return "(hidden)" if self._is_echo(text) or ("%" in text and self._is_echo(unquote(text))) else text

    def _is_echo(self, text: str) -> bool:
        begins = (text[at : at + SHORTEST_SECRET] for at in range(len(text) - SHORTEST_SECRET + 1))
        return any(is_echo(text, self._secrets[begin]) for begin in begins if begin in self._secrets)

    def _urls(self, text: str) -> Iterator[str]:
        """Yield the URLs of sources in a text, or in JSON or a query in it."""
        found = (url for form in (text, unquote(text).replace("\\", "")) for url in _URL.findall(form))
        return (url for url in found if is_of_a_source(url, self._config))


def _unused(key: str, keys: Collection[str]) -> str:
    return next(name for name in chain([key], (f"{key} {number}" for number in count(2))) if name not in keys)
