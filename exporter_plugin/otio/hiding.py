"""What must not be in a timeline that is written: URLs of configured sources, and what these and their options hide."""

from __future__ import annotations

import json
import os
import re
from itertools import chain, count
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import opentimelineio as otio

from cachestore.authorizing import url_secrets
from cachestore.sources.registry import is_of_a_source
from cachestore.sources.secret_urls import secrets_of
from cachestore.text import SHORTEST_SECRET, is_echo

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cachestore.config import Config

_TEXTS = (
    "name",
    "comment",
    "color",
    "kind",
    "effect_name",
    "transition_type",
    "generator_kind",
    "target_url_base",
    "name_prefix",
    "name_suffix",
)
_TABLES = ("metadata", "parameters", "_dynamic_fields")  # the last: what is in a file and in no schema
_COLOR: Any = getattr(otio.core, "Color", ())  # OpenTimelineIO 0.17 has none
_URL = re.compile(r"""https?://[^\s"'<>\\]+""", re.IGNORECASE)


def hide(top: otio.core.SerializableObjectWithMetadata, config: Config) -> None:
    """Take URLs of the sources of `config`, and all that is hidden in them, out of all that is from `top` down.

    References keep the `target_url` that they refer to.
    """
    elements = list(_elements(top))
    sequences = [_address(each) for each in elements if isinstance(each, otio.schema.ImageSequenceReference)]
    hiding = _Hiding(" ".join([top.to_json_string(), *sequences]), config)
    for element in elements:
        if isinstance(element, otio.schema.ImageSequenceReference):
            _hide_sequence(element, hiding)
        elif isinstance(element, otio.schema.Clip):
            _hide_keys(element, hiding)
        elif isinstance(element, otio.schema.SerializableCollection):
            _hide_strangers(element, hiding)
        for name in _TEXTS:
            if (text := getattr(element, name, None)) and text != (told := hiding.opened(text)):
                setattr(element, name, told)
        for table in filter(None, (getattr(element, name, None) for name in _TABLES)):
            opened = hiding.opened(table)
            table.clear()
            table.update(opened)


def _elements(top: otio.core.SerializableObjectWithMetadata) -> Iterator[otio.core.SerializableObjectWithMetadata]:
    """Yield all that has a name and metadata, from `top` down."""
    if not isinstance(top, otio.core.SerializableObjectWithMetadata):
        return
    yield top
    below = [top.tracks] if isinstance(top, otio.schema.Timeline) else []
    below += top if isinstance(top, otio.schema.SerializableCollection | otio.core.Composition) else []
    below += [*top.markers, *top.effects] if isinstance(top, otio.core.Item) else []
    below += top.media_references().values() if isinstance(top, otio.schema.Clip) else []
    for element in below:
        yield from _elements(element)


def _address(images: otio.schema.ImageSequenceReference) -> str:
    """Return where images are, but for their numbers."""
    return f"{images.target_url_base.rstrip('/')}/{images.name_prefix}{images.name_suffix}"


def _hide_sequence(images: otio.schema.ImageSequenceReference, hiding: _Hiding) -> None:
    """Take away where images are, in parts that say nothing each, if they are at a source."""
    address = _address(images)
    if address != (told := hiding.told(address)):
        images.target_url_base, images.name_prefix, images.name_suffix = told, "", ""


def _hide_keys(clip: otio.schema.Clip, hiding: _Hiding) -> None:
    """Rename the references of a clip that are called by what is hidden."""
    references = clip.media_references()
    names: dict[str, str] = {}
    for key in references:
        names[key] = _unused(hiding.told(key), names.values())
    if any(key != name for key, name in names.items()):
        renamed = {names[key]: reference for key, reference in references.items()}
        clip.set_media_references(renamed, names[clip.active_media_reference_key])


def _hide_strangers(collection: otio.schema.SerializableCollection, hiding: _Hiding) -> None:
    """Put what may be told of it in the place of what is of another schema, whose fields nobody here knows."""
    for place, child in enumerate(collection):
        if not isinstance(child, otio.core.SerializableObjectWithMetadata):
            collection[place] = hiding.opened(child)


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
        if isinstance(value, _COLOR):
            return otio.core.Color(value.r, value.g, value.b, value.a, self.told(value.name))
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
