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
from cachestore.track import parse_address, url_track
from exporter_plugin.facts import facts_of
from exporter_plugin.naming import cut, safe_stem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cachestore.cache import Cache, Result
    from cachestore.config import Config
    from cachestore.entry import Entry
    from cachestore.track import Track

_SCHEME = "cachestore:"
_MAX_STEM_BYTES = 160  # the digest and the extension follow, and what a DAW appends
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
    from cachestore.cache import Cache  # OpenTimelineIO loads each plugin at its start, used or not
    from exporter_plugin.otio.hiding import hide

    config = load_config()
    if not list(_asked([in_clip], config)):
        return in_clip.media_reference
    folder = media_linker_argument_map.get("folder")
    if not folder:
        raise ConfigError("the media linker cachestore", 'it needs the argument "folder", for the audio files')
    top = _top(in_clip)
    with Cache.open(config) as cache:
        hide(top, config)
        asked = list(_asked([in_clip] if top is in_clip else top.find_clips(), config))
        results = cache.fetch([track for *_, track in asked])
        for (clip, key, track), result in zip(asked, results, strict=True):
            _reference(clip, key, track, result, cache, Path(folder))
    return in_clip.media_reference


def _top(clip: otio.schema.Clip) -> otio.core.Composable:
    """Return what all is in that `clip` is in."""
    top = clip
    while top.parent() is not None:
        top = top.parent()
    return top


def _asked(clips: Iterable[otio.schema.Clip], config: Config) -> Iterator[tuple[otio.schema.Clip, str, Track]]:
    """Yield each reference that names a track of ours: its clip, its key there, and the track."""
    for clip in clips:
        for key, reference in clip.media_references().items():
            track = _track(getattr(reference, "target_url", None) or "", config)
            if track is not None:
                yield clip, key, track


def _track(url: str, config: Config) -> Track | None:
    from cachestore.sources.registry import is_of_a_source

    try:
        if url.startswith(_SCHEME):
            return parse_address(url.removeprefix(_SCHEME))
        return url_track(url) if is_of_a_source(url, config) else None
    except AddressError:
        return None


def _reference(clip: otio.schema.Clip, key: str, track: Track, result: Result, cache: Cache, folder: Path) -> None:
    """Give a clip the reference to its file, made in `folder`, or to a missing one, which says why."""
    old = clip.media_references()[key]
    told = {"track": track.address if track.url is None else f"url:{urlsplit(track.url).hostname}"}
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


def hook_function(
    in_timeline: otio.core.SerializableObjectWithMetadata, argument_map: Mapping[str, Any] | None
) -> otio.core.SerializableObjectWithMetadata:
    """Return what was read, with nothing to hide in what is above its clips, if this linker has linked any of them.

    OpenTimelineIO calls it after each linker; a clip does not know the timeline whose tracks it is in.
    """
    arguments = argument_map or {}
    if "folder" in {**arguments, **(arguments.get("media_linker_argument_map") or {})} and _has_linked(in_timeline):
        from exporter_plugin.otio.hiding import hide

        hide(in_timeline, load_config())
    return in_timeline


def _has_linked(top: otio.core.SerializableObjectWithMetadata) -> bool:
    clips = top.find_clips() if hasattr(top, "find_clips") else ()
    return any("cachestore" in each.metadata for clip in clips for each in clip.media_references().values())
