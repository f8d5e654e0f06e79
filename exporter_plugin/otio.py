"""A media linker for OpenTimelineIO (entry point ``opentimelineio.plugins``): cloud tracks become local files.

    opentimelineio.adapters.read_from_file(
        "friday.otio", media_linker_name="cachestore", media_linker_argument_map={"folder": "media"}
    )

It links references to ``cachestore:ADDRESS``, and to stream URLs of configured sources. OpenTimelineIO asks for one
clip after the other; the first question fetches all tracks of the timeline at once and answers for every clip. What is
written afterwards names no URL and no credential: a reference is a file, or missing, with the track's address and the
reason in its metadata.
"""

from __future__ import annotations

import json
import os
import re
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import opentimelineio as otio

from cachestore.config import load_config
from cachestore.errors import AddressError, ConfigError
from cachestore.text import SHORTEST_SECRET, is_echo
from cachestore.track import parse_address, url_secrets, url_track
from exporter_plugin.facts import facts_of
from exporter_plugin.naming import cut, safe_stem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from cachestore.cache import Cache, Result
    from cachestore.config import Config
    from cachestore.entry import Entry
    from cachestore.track import Track

_SCHEME = "cachestore:"
_MAX_STEM_BYTES = 160  # the digest and the extension follow, and what a DAW appends
_URL = re.compile(r"""https?://[^\s"'<>\\]+""", re.IGNORECASE)
_PLUGIN = {"name": "cachestore", "filepath": Path(__file__).name}


def plugin_manifest() -> otio.plugins.manifest.Manifest:
    """Return what OpenTimelineIO finds here."""
    manifest = {
        "OTIO_SCHEMA": "PluginManifest.1",
        "media_linkers": [{"OTIO_SCHEMA": "MediaLinker.1", **_PLUGIN}],
        "hook_scripts": [{"OTIO_SCHEMA": "HookScript.1", **_PLUGIN}],
        "hooks": {"post_media_linker": ["cachestore"]},
    }
    return otio.plugins.manifest.manifest_from_string(json.dumps(manifest))


def link_media_reference(
    in_clip: otio.schema.Clip, media_linker_argument_map: Mapping[str, Any]
) -> otio.core.MediaReference:
    """Return the reference of a clip to its file in the argument `folder`, having linked all clips of its timeline.

    Raise ConfigError without a `folder`, or what ends a fetch as a whole.
    """
    from cachestore.cache import Cache

    config = load_config()
    if not list(_asked([in_clip], config)):
        return in_clip.media_reference
    folder = media_linker_argument_map.get("folder")
    if not folder:
        raise ConfigError("the media linker cachestore", 'it needs the argument "folder", for the audio files')
    with Cache.open(config) as cache:
        asked = list(_asked(_clips_around(in_clip), config))
        results = cache.fetch([track for *_, track in asked])
        _redact(_top(in_clip), config)
        for (clip, key, track), result in zip(asked, results, strict=True):
            _reference(clip, key, track, result, cache, Path(folder))
    return in_clip.media_reference


def _top(clip: otio.schema.Clip) -> otio.core.Composable:
    """Return what all is in that `clip` is in."""
    top = clip
    while top.parent() is not None:
        top = top.parent()
    return top


def _clips_around(clip: otio.schema.Clip) -> Sequence[otio.schema.Clip]:
    """Return all clips of the timeline that `clip` is in."""
    top = _top(clip)
    return [clip] if top is clip else list(top.find_clips())


def _asked(clips: Iterable[otio.schema.Clip], config: Config) -> Iterator[tuple[otio.schema.Clip, str, Track]]:
    """Yield each reference that names a track of ours: its clip, its key there, and the track."""
    for clip in clips:
        for key, reference in clip.media_references().items():
            track = _track(getattr(reference, "target_url", None) or "", config)
            if track is not None:
                yield clip, key, track


def _track(url: str, config: Config) -> Track | None:
    from cachestore.sources.registry import is_of_a_source  # OpenTimelineIO loads all plugins at its start, used or not

    try:
        if url.startswith(_SCHEME):
            return parse_address(url.removeprefix(_SCHEME))
        return url_track(url) if is_of_a_source(url, config) else None
    except AddressError:
        return None


def _reference(clip: otio.schema.Clip, key: str, track: Track, result: Result, cache: Cache, folder: Path) -> None:
    """Give a clip the reference to its file, made in `folder`, or to a missing one, which says why."""
    old = clip.media_references()[key]
    told = {"track": _named(track)}
    if result.error is not None:
        told |= {"code": result.error.code, "message": result.error.reason}
        reference = otio.schema.MissingReference(clip.name, old.available_range)
    else:
        path = _linked(clip, result.entry, cache, folder)
        reference = otio.schema.ExternalReference(path.as_uri(), old.available_range or _range(path))
        reference.name = clip.name
    reference.metadata["cachestore"] = told
    clip.set_media_references(clip.media_references() | {key: reference}, clip.active_media_reference_key)


def _linked(clip: otio.schema.Clip, entry: Entry, cache: Cache, folder: Path) -> Path:
    """Return the file of an entry, by the name of the clip unless the service has a better one."""
    label = entry.label if entry.label != entry.address else clip.name
    name = f"{safe_stem(cut(label, _MAX_STEM_BYTES))} [{entry.digest[-8:]}].{entry.ext}"
    path = (folder / name).absolute()
    if not path.exists():  # its name has the digest of its bytes: what is there is the same, or somebody's work on it
        cache.link(entry, path)
    return path


def _range(path: Path) -> otio.opentime.TimeRange | None:
    facts = facts_of(path)
    if not facts.duration or not facts.sample_rate:
        return None
    samples = round(facts.duration * facts.sample_rate)
    return otio.opentime.TimeRange(duration=otio.opentime.RationalTime(samples, facts.sample_rate))


def _named(track: Track) -> str:
    """Return the address of a track; of a URL its host only."""
    return track.address if track.url is None else f"url:{urlsplit(track.url).hostname}"


def hook_function(
    in_timeline: otio.core.SerializableObjectWithMetadata, argument_map: Mapping[str, Any] | None
) -> otio.core.SerializableObjectWithMetadata:
    """Return what was read, with nothing to hide in what is above its clips, if this linker has linked any of them.

    OpenTimelineIO calls it after each linker; a clip does not know the timeline whose tracks it is in.
    """
    arguments = argument_map or {}
    if "folder" in {**arguments, **(arguments.get("media_linker_argument_map") or {})} and _has_linked(in_timeline):
        _redact(in_timeline, load_config())
    return in_timeline


def _has_linked(top: otio.core.SerializableObjectWithMetadata) -> bool:
    clips = top.find_clips() if hasattr(top, "find_clips") else ()
    return any("cachestore" in each.metadata for clip in clips for each in clip.media_references().values())


def _redact(top: otio.core.SerializableObjectWithMetadata, config: Config) -> None:
    """Take URLs of configured sources, and what is hidden in these or in their options, out of all names and metadata.

    References keep what they refer to.
    """
    hides = _Hiding(top.to_json_string(), config)
    for element in _elements(top):
        element.name = hides.open(element.name)
        metadata = hides.open(element.metadata)
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
    """What must not be in a file: URLs of the sources of `config`, and what those in `text` or the options hide."""

    def __init__(self, text: str, config: Config) -> None:
        from cachestore.sources.secret_urls import secrets_of

        self._config = config
        options = (secrets_of(source, os.environ) for source in config.sources.values())
        self._secrets: dict[str, set[str]] = {}  # by how they begin: each signed URL may well have one of its own
        for secret in frozenset().union(*options, *map(url_secrets, self._urls(text))):
            self._secrets.setdefault(secret[:SHORTEST_SECRET], set()).add(secret)

    def open(self, value: Any) -> Any:  # noqa: ANN401 - metadata is any JSON
        """Return a value of metadata with another text for each, of keys too, that has something hidden in it."""
        if isinstance(value, str):
            return self._told(value)
        if hasattr(value, "items"):
            opened: dict[str, Any] = {}
            for key, inner in value.items():
                opened[_unused(self._told(key), opened)] = self.open(inner)
            return opened
        if isinstance(value, otio.core.SerializableObject):
            return otio.core.deserialize_json_from_string(json.dumps(self.open(json.loads(value.to_json_string()))))
        return [self.open(inner) for inner in value] if hasattr(value, "__iter__") else value

    def _told(self, text: str) -> str:
        url = next(self._urls(text), None)
        if url is not None:
            return f"url:{urlsplit(url).hostname}"
        return "(hidden)" if self._is_echo(text) or ("%" in text and self._is_echo(unquote(text))) else text

    def _is_echo(self, text: str) -> bool:
        begins = (text[at : at + SHORTEST_SECRET] for at in range(len(text) - SHORTEST_SECRET + 1))
        return any(is_echo(text, self._secrets[begin]) for begin in begins if begin in self._secrets)

    def _urls(self, text: str) -> Iterator[str]:
        """Yield the URLs of sources in a text, or in JSON or a query in it."""
        from cachestore.sources.registry import is_of_a_source

        found = (url for form in (text, unquote(text).replace("\\", "")) for url in _URL.findall(form))
        return (url for url in found if is_of_a_source(url, self._config))


def _unused(key: str, keys: Collection[str]) -> str:
    return next(name for name in chain([key], (f"{key} {number}" for number in count(2))) if name not in keys)
