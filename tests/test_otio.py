"""OpenTimelineIO reads a timeline, and its cloud tracks are files: through its own API, as an editor uses it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from cachestore.errors import ConfigError
from tests.servers import TOKEN

if sys.version_info >= (3, 14):
    pytest.skip("NOT RUN: OpenTimelineIO has no wheels for this Python", allow_module_level=True)

import opentimelineio as otio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.library import Sample
    from tests.servers import Nginx
    from tests.stranger import Stranger

SIGNED = "?sig=5ecret-5ecret"
SECOND = otio.opentime.TimeRange(otio.opentime.RationalTime(0, 44100), otio.opentime.RationalTime(44100, 44100))


@pytest.fixture
def editor(stranger: Stranger, cloud: Nginx, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    """Somebody whose editor runs in this process."""
    for name, value in stranger.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(stranger.home)
    return stranger


def clip(name: str, url: str = "", **metadata: Any) -> otio.schema.Clip:  # noqa: ANN401
    reference = otio.schema.ExternalReference(url) if url else otio.schema.MissingReference()
    return otio.schema.Clip(name, reference, SECOND, metadata)


def timeline(*clips: otio.schema.Clip) -> Path:
    """Write a timeline of one track into the current folder, as another program did."""
    made = otio.schema.Timeline("Friday")
    made.tracks.append(otio.schema.Track("A", clips))
    otio.adapters.write_to_file(made, "friday.otio")
    return Path("friday.otio")


def linked(path: Path, **arguments: str) -> otio.schema.Timeline:
    read: otio.schema.Timeline = otio.adapters.read_from_file(
        str(path), media_linker_name="cachestore", media_linker_argument_map={"folder": "media"} | arguments
    )
    return read


def file_of(found: otio.schema.Clip) -> Path:
    return Path(unquote(urlsplit(found.media_reference.target_url).path))


def test_opentimelineio_finds_the_linker() -> None:
    assert "cachestore" in otio.media_linker.available_media_linker_names()


def test_addresses_and_stream_urls_become_files(editor: Stranger, cloud: Nginx, library: Mapping[str, Sample]) -> None:
    stream = f"{cloud.url}/api/tracks/t-wav/stream"
    read = linked(
        timeline(clip("a", "cachestore:studio:t-flac"), clip("b", stream), clip("c", "cachestore:open:t-mp3"))
    )
    found = list(read.find_clips())
    assert [file_of(each).read_bytes() for each in found] == [library[ext].data for ext in ("flac", "wav", "mp3")]
    assert [file_of(each).suffix for each in found] == [".flac", ".wav", ".mp3"]
    assert {file_of(each).parent for each in found} == {editor.home / "media"}
    assert file_of(found[0]).stat().st_nlink == 2
    available = found[0].media_reference.available_range
    assert (available.duration.to_seconds(), available.duration.rate) == (1.0, 44100)
    assert found[0].media_reference.metadata["cachestore"]["track"] == "studio:t-flac"


def test_one_question_fetches_the_whole_timeline_and_each_track_once(editor: Stranger, cloud: Nginx) -> None:
    names = ["t-flac", "t-wav", "t-mp3", "t-ogg", "t-flac"]
    path = timeline(*(clip(name, f"cachestore:open:{name}") for name in names))
    read = otio.adapters.read_from_file(str(path))
    first = next(iter(read.find_clips()))
    otio.media_linker.linked_media_reference(first, "cachestore", {"folder": "media"})
    assert all(isinstance(each.media_reference, otio.schema.ExternalReference) for each in read.find_clips())
    assert sorted(request.path for request in cloud.requests("/plain/")) == sorted(f"/plain/{n}" for n in set(names))
    assert len(list(Path("media").iterdir())) == 4
    linked(path)
    assert len(list(Path("media").iterdir())) == 4


def test_what_is_not_ours_is_left_as_it_is(editor: Stranger, cloud: Nginx) -> None:
    others = [
        "file:///video/a.mov",
        "https://elsewhere.example/v.mp4?token=theirs",
        "relative.wav",
        "cachestore:nothing",
    ]
    read = linked(timeline(*(clip(url, url) for url in others), clip("missing")))
    assert [getattr(each.media_reference, "target_url", None) for each in read.find_clips()] == [*others, None]
    assert cloud.requests() == []
    assert not editor.root.exists()


def test_what_fails_is_missing_with_its_reason(editor: Stranger) -> None:
    good, gone = linked(timeline(clip("a", "cachestore:open:t-flac"), clip("b", "cachestore:open:t99"))).find_clips()
    assert isinstance(good.media_reference, otio.schema.ExternalReference)
    assert isinstance(gone.media_reference, otio.schema.MissingReference)
    assert dict(gone.media_reference.metadata["cachestore"]) == {
        "track": "open:t99",
        "code": "not_found",
        "message": "the server has no such track (404 Not Found)",
    }


@pytest.mark.parametrize("named", ["stream", "address"])
@pytest.mark.parametrize("track", ["t-flac", "t99"])
def test_no_url_and_no_credential_reaches_a_file_that_is_written(
    editor: Stranger, cloud: Nginx, track: str, named: str
) -> None:
    stream = f"{cloud.url}/api/tracks/{track}/stream{SIGNED}"
    said = {"url": [stream, "a"], "note": "sig is 5ecret-5ecret", stream: 1, f"<{stream}>": {"5ecret-5ecret": 2}}
    said |= {"json": json.dumps({"u": stream}).replace("/", r"\/"), "query": f"?next={quote(stream, safe='')}"}
    said |= {"marker": otio.schema.Marker(stream, metadata={"u": stream}), "header": f"Bearer {TOKEN}"}
    target = {"stream": stream, "address": f"cachestore:studio:{track}"}[named]
    marked = clip(stream, target, origin=said, gain=1.5)
    marked.metadata[stream] = "as a key"
    marked.media_reference.metadata["headers"] = {"Authorization": f"Bearer {TOKEN}"}
    marked.markers.append(otio.schema.Marker(stream, metadata=said))
    marked.effects.append(otio.schema.Effect(stream, metadata=said))
    alternative = otio.schema.ExternalReference(stream + "&quality=low")
    marked.set_media_references({"DEFAULT_MEDIA": marked.media_reference, "low": alternative}, "DEFAULT_MEDIA")
    other = clip("other", "relative.wav", origin=said)
    other.media_reference.metadata["origin"] = said
    lane = otio.schema.Track(stream, [marked, other, otio.schema.Gap(metadata=said)], metadata=said)
    lane.insert(1, otio.schema.Transition(stream, metadata=said))
    made = otio.schema.Timeline(stream, metadata={"origin": said, "kept": [1, True, "Friday"]})
    made.tracks.metadata["origin"] = said
    made.tracks.append(lane)
    otio.adapters.write_to_file(made, "friday.otio")
    read = linked(Path("friday.otio"))
    otio.adapters.write_to_file(read, "out.otio")
    for name in ("out.otiod", "out.otioz"):
        policy = otio.adapters.file_bundle_utils.MediaReferencePolicy.MissingIfNotFile
        otio.adapters.write_to_file(read, str(Path(name).absolute()), media_policy=policy)
    shutil.unpack_archive("out.otioz", "unpacked", "zip")
    documents = [Path("out.otio"), *Path("out.otiod").rglob("*.otio"), *Path("unpacked").rglob("*.otio")]
    assert len(documents) == 3
    for document in documents:
        text = document.read_text()
        assert [secret for secret in ("5ecret", TOKEN, "http:", "stream") if secret in text] == []
        written = json.loads(text)
        assert written["metadata"]["kept"] == [1, True, "Friday"]
        first = written["tracks"]["children"][0]["children"][0]
        assert (first["metadata"]["gain"], first["name"]) == (1.5, "url:127.0.0.1")
        origin = first["metadata"]["origin"]
        assert [origin["url:127.0.0.1"], origin["url:127.0.0.1 2"]] == [{"(hidden)": 2}, 1]
    assert bool(list(Path("out.otiod/media").glob("*.flac"))) == (track == "t-flac")
    as_text = otio.adapters.read_from_string(
        Path("friday.otio").read_text(), media_linker_name="cachestore", media_linker_argument_map={"folder": "media"}
    )
    assert "5ecret" not in otio.adapters.write_to_string(as_text)


def test_no_field_of_any_schema_keeps_a_url_or_a_credential(editor: Stranger, cloud: Nginx) -> None:
    base = f"{cloud.url}/api/tracks"
    stream = f"{base}/t-flac/stream{SIGNED}"
    generated = otio.schema.GeneratorReference(stream, stream, parameters={stream: [stream]})
    images = otio.schema.ImageSequenceReference(f"{cloud.url}/api", "tracks/t-flac?sig=0ther-0ther&n=", f"&x={TOKEN}")
    references = {stream: otio.schema.ExternalReference(stream), "generated": generated, "images": images}
    marked = clip(stream)
    marked.set_media_references(references, stream)
    marked.color = otio.core.Color(1, 0, 0, 1, stream)
    marked.metadata["echo"] = "0ther-0ther"
    marked.markers.append(otio.schema.Marker(stream, color=stream, comment=f"see {stream}"))
    marked.effects.append(otio.schema.Effect(stream, stream))
    lane = otio.schema.Track(stream, [marked, otio.schema.Transition(stream, stream)], kind=stream)
    made = otio.schema.Timeline(stream)
    made.tracks.append(lane)
    foreign = otio.core.deserialize_json_from_string(json.dumps({"OTIO_SCHEMA": "Theirs.1", "name": "n", "at": stream}))
    otio.adapters.write_to_file(otio.schema.SerializableCollection(stream, [made, foreign]), "all.otio")
    document = json.loads(Path("all.otio").read_text())
    document["children"][0]["later"] = {"at": stream}  # a field that a newer program has
    Path("all.otio").write_text(json.dumps(document))
    read = linked(Path("all.otio"))
    written = otio.adapters.write_to_string(read)
    assert [secret for secret in ("5ecret", "0ther", TOKEN, "http:", "stream") if secret in written] == []
    [found] = read.find_clips()
    assert isinstance(found.media_reference, otio.schema.ExternalReference)
    assert file_of(found).exists()
    assert found.active_media_reference_key == "url:127.0.0.1"
    assert found.markers[0].comment == "url:127.0.0.1"
    assert json.loads(written)["children"][1]["name"] == "n"


def test_a_collection_of_timelines_is_redacted_whole(editor: Stranger, cloud: Nginx) -> None:
    stream = f"{cloud.url}/api/tracks/t-flac/stream{SIGNED}"
    made = otio.schema.Timeline(stream, metadata={"u": stream})
    made.tracks.append(otio.schema.Track("A", [clip("a", stream)]))
    otio.adapters.write_to_file(otio.schema.SerializableCollection(stream, [made], {"u": stream}), "all.otio")
    assert "5ecret" not in otio.adapters.write_to_string(linked(Path("all.otio")))


@pytest.mark.long
def test_redacting_costs_no_more_than_there_is_to_read(editor: Stranger) -> None:
    urls = [f"https://elsewhere.example/{number}?sig=5ecret{number:08}" for number in range(3000)]
    editor.configure(
        "https://elsewhere.example", sources='[sources.e]\nkind = "http"\nurl = "https://elsewhere.example/{id}"\n'
    )
    clips = [
        clip(f"t{each}", "x.wav", u=url, notes=[f"note {each} {n}" for n in range(10)]) for each, url in enumerate(urls)
    ]
    read = otio.adapters.read_from_file(str(timeline(clip("a", urls[0]), *clips)))
    began = time.process_time()
    otio.media_linker.linked_media_reference(next(iter(read.find_clips())), "cachestore", {"folder": "media"})
    assert time.process_time() - began < 20  # about a second; each text against each secret takes minutes
    assert "5ecret" not in otio.adapters.write_to_string(read)


def test_a_timeline_that_is_read_without_the_linker_stays_as_it_is(editor: Stranger, cloud: Nginx) -> None:
    stream = f"{cloud.url}/api/tracks/t-flac/stream{SIGNED}"
    path = timeline(clip(stream, stream, u=stream))
    assert otio.adapters.write_to_string(otio.adapters.read_from_file(str(path))).count(stream) == 3


def test_the_stream_url_of_a_subsonic_server_is_a_track_too(editor: Stranger, cloud: Nginx) -> None:
    table = f'[sources.home]\nkind = "subsonic"\nurl = "{cloud.url}/music"\nuser = "dj"\npassword = "pw"\n'
    editor.configure("https://elsewhere.example", sources=table)
    [found] = linked(
        timeline(clip("a", f"{cloud.url}/plain/t-flac?u=dj&t=70ken70ken&s=5a175a17&v=1.16&c=x"))
    ).find_clips()
    assert file_of(found).exists()
    assert "70ken70ken" not in otio.adapters.write_to_string(found)


def test_a_file_that_somebody_edited_is_kept(editor: Stranger) -> None:
    path = timeline(clip("a", "cachestore:open:t-flac"))
    [found] = linked(path).find_clips()
    work = file_of(found)
    work.unlink()
    work.write_bytes(b"edited")
    linked(path)
    assert work.read_bytes() == b"edited"


def test_without_a_folder_it_says_what_is_missing(editor: Stranger) -> None:
    with pytest.raises(ConfigError, match='it needs the argument "folder"'):
        linked(timeline(clip("a", "cachestore:open:t-flac")), folder="")


def test_the_converter_of_opentimelineio_links(editor: Stranger) -> None:
    timeline(clip("a", "cachestore:open:t-flac"))
    converter = Path(sys.executable).parent / "otioconvert"
    command = [str(converter), "-i", "friday.otio", "-o", "out.otio", "-m", "cachestore", "-M", 'folder="media"']
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [found] = otio.adapters.read_from_file("out.otio").find_clips()
    assert file_of(found).exists()
