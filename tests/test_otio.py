"""OpenTimelineIO reads a timeline, and its cloud tracks are files: through its own API, as an editor uses it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

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


@pytest.mark.parametrize("track", ["t-flac", "t99"])
def test_no_url_and_no_credential_reaches_a_file_that_is_written(editor: Stranger, cloud: Nginx, track: str) -> None:
    stream = f"{cloud.url}/api/tracks/{track}/stream{SIGNED}"
    marked = clip(stream, stream, origin={"url": [stream, "a"], "note": "sig is 5ecret-5ecret"}, gain=1.5)
    marked.media_reference.metadata["headers"] = {"Authorization": f"Bearer {TOKEN}"}
    alternative = otio.schema.ExternalReference(stream + "&quality=low")
    marked.set_media_references({"DEFAULT_MEDIA": marked.media_reference, "low": alternative}, "DEFAULT_MEDIA")
    read = linked(timeline(marked))
    otio.adapters.write_to_file(read, "out.otio")
    for name in ("out.otiod", "out.otioz"):
        policy = otio.adapters.file_bundle_utils.MediaReferencePolicy.MissingIfNotFile
        otio.adapters.write_to_file(read, str(Path(name).absolute()), media_policy=policy)
    shutil.unpack_archive("out.otioz", "unpacked", "zip")
    documents = [Path("out.otio"), *Path("out.otiod").rglob("*.otio"), *Path("unpacked").rglob("*.otio")]
    assert len(documents) == 3
    for document in documents:
        text = document.read_text()
        assert [secret for secret in ("5ecret", TOKEN, "http://", "stream") if secret in text] == []
        assert json.loads(text)["tracks"]["children"][0]["children"][0]["metadata"]["gain"] == 1.5
    assert bool(list(Path("out.otiod/media").glob("*.flac"))) == (track == "t-flac")


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
