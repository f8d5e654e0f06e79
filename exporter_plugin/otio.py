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
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import opentimelineio as otio

from cachestore.config import load_config
from cachestore.errors import AddressError, ConfigError
from cachestore.text import is_echo
from cachestore.track import parse_address, redact_url, url_secrets, url_track
from exporter_plugin.facts import facts_of
from exporter_plugin.naming import cut, safe_stem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cachestore.cache import Cache, Result
    from cachestore.config import Config
    from cachestore.entry import Entry
    from cachestore.track import Track

_SCHEME = "cachestore:"
_MAX_STEM_BYTES = 160  # the digest and the extension follow, and what a DAW appends
_LINKER = {"OTIO_SCHEMA": "MediaLinker.1", "name": "cachestore", "filepath": Path(__file__).name}


def plugin_manifest() -> otio.plugins.manifest.Manifest:
    """Return what OpenTimelineIO finds here."""
    manifest = {"OTIO_SCHEMA": "PluginManifest.1", "media_linkers": [_LINKER]}
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
        for (clip, key, track), result in zip(asked, cache.fetch([track for *_, track in asked]), strict=True):
            _reference(clip, key, track, result, cache, Path(folder))
    return in_clip.media_reference


def _clips_around(clip: otio.schema.Clip) -> Sequence[otio.schema.Clip]:
    """Return all clips of the timeline that `clip` is in."""
    top = clip
    while top.parent() is not None:
        top = top.parent()
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
    _redact(clip, track)
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


def _redact(clip: otio.schema.Clip, track: Track) -> None:
    """Take out of the name and the metadata of a clip what is a URL or hides in it."""
    if track.url is not None:
        hidden = {track.url, redact_url(track.url), *url_secrets(track.url)}
        clip.name = _open(clip.name, hidden, _named(track))
        for name, value in list(clip.metadata.items()):
            clip.metadata[name] = _open(value, hidden, _named(track))


def _open(value: Any, hidden: set[str], name: str) -> Any:  # noqa: ANN401 - metadata is any JSON
    """Return a value of metadata with `name` for each text that has something hidden in it."""
    if isinstance(value, str):
        return name if is_echo(value, hidden) else value
    if hasattr(value, "items"):
        return {key: _open(inner, hidden, name) for key, inner in value.items()}
    if hasattr(value, "__iter__"):
        return [_open(inner, hidden, name) for inner in value]
    return value
