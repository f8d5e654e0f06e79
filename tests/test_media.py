from __future__ import annotations

import subprocess
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachestore.errors import NotAudio, Truncated
from cachestore.media import MEDIA_TYPES, Media, identify, recognize
from cachestore.media.sniff import container
from cachestore.track import Track
from tests.servers import program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.library import Sample

TRACK = Track("studio", "t1", title="Opus")
MPEG1 = bytes.fromhex("fffb9064") + bytes(413)  # 128 kbit/s, 44.1 kHz: frames of 417 bytes
ADTS = bytes.fromhex("fff15080 0b9ffc") + bytes(85)  # 92 bytes
FLAC = b"fLaC" + bytes(38)
ISO = b"\0\0\0\x18ftyp"
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000 0000000000000000 77617665f3acd3118cd100c04f8edb8a")
EBML = bytes.fromhex("1a45dfa39f4286810142f7810142f2810442f38108")


def id3(size: int, *, footer: bool = False) -> bytes:
    syncsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return (
        b"ID3\x04\0" + (b"\x10" if footer else b"\0") + syncsafe + b"T" * size + (b"3DI" + bytes(7) if footer else b"")
    )


def ogg_page(payload: bytes) -> bytes:
    return b"OggS" + bytes(22) + bytes([1, len(payload)]) + payload


def kind_of(data: bytes) -> str | None:
    found = container(BytesIO(data))
    return found.ext if found else None


def refusal(folder: Path, data: bytes) -> str:
    path = folder / "body"
    path.write_bytes(data)
    with pytest.raises(NotAudio) as caught:
        identify(path, TRACK)
    return str(caught.value)


@pytest.mark.parametrize("ext", ["flac", "mp3", "ogg", "m4a", "wav"])
def test_real_files_are_known_by_their_bytes_whatever_they_are_called(
    library: Mapping[str, Sample], tmp_path: Path, ext: str
) -> None:
    assert identify(library[ext].copy_to(tmp_path, "stream"), TRACK) == Media(ext, MEDIA_TYPES[ext])


@pytest.mark.parametrize(
    ("made_as", "ext"),
    [
        ("adts", "aac"),
        ("aiff", "aiff"),
        ("au", "au"),
        ("caf", "caf"),
        ("w64", "w64"),
        ("asf", "wma"),
        ("wv", "wv"),
        ("webm", "webm"),
        ("opus", "opus"),
        ("oga", "oga"),
    ],
)
def test_files_of_rarer_formats_made_by_ffmpeg_are_known(tmp_path: Path, made_as: str, ext: str) -> None:
    path = tmp_path / "body"
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=0.3"]
    codec = ["-c:a", "wmav2"] if made_as == "asf" else ["-c:a", "flac"] if made_as == "oga" else []
    subprocess.run([program("ffmpeg"), "-nostdin", "-v", "error", *tone, *codec, "-f", made_as, str(path)], check=True)
    assert identify(path, TRACK).ext == ext


@pytest.mark.parametrize(
    ("data", "ext"),
    [
        (MPEG1 * 3, "mp3"),
        (MPEG1, "mp3"),
        (bytes(100) + MPEG1 * 3, "mp3"),
        (id3(300) + MPEG1 * 3, "mp3"),
        (id3(1_500_000) + MPEG1 * 3, "mp3"),
        (id3(300, footer=True) + MPEG1 * 3, "mp3"),
        (id3(20) + id3(30) + MPEG1 * 3, "mp3"),
        (id3(300) + b"padding\xff\xfb that lies" + MPEG1 * 3, "mp3"),
        (ADTS * 3, "aac"),
        (id3(20) + ADTS * 3, "aac"),
        (FLAC, "flac"),
        (id3(1_500_000) + FLAC, "flac"),
        (ISO + b"M4A \0\0\0\0", "m4a"),
        (ISO + b"isom\0\0\2\0", "m4a"),
        (ISO + b"dash\0\0\0\0", "m4a"),
        (ogg_page(b"\x01vorbis" + bytes(23)), "ogg"),
        (ogg_page(b"OpusHead" + bytes(11)), "opus"),
        (ogg_page(b"\x7fFLAC" + bytes(40)), "oga"),
        (ogg_page(b"fishead\0" + bytes(50)) + ogg_page(b"OpusHead" + bytes(11)), "opus"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "wav"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"BW64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"FORM\0\0\1\0AIFFCOMM", "aiff"),
        (b"FORM\0\0\1\0AIFCFVER", "aiff"),
        (b"caff\0\1\0\0desc", "caf"),
        (W64, "w64"),
        (b".snd\0\0\0\x18\0\0\0\4\0\0\0\3", "au"),
        (ASF + bytes(20), "wma"),
        (b"wvpk" + bytes(28), "wv"),
        (EBML + b"\x42\x82\x84webm", "webm"),
    ],
)
def test_each_container_is_told_from_its_first_bytes(data: bytes, ext: str) -> None:
    assert kind_of(data) == ext


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\xef\xbb\xbf\r\n  <HTML lang=de>", "an HTML page"),
        ("<html><body>Anmeldung für Gäste".encode("latin-1"), "an HTML page"),
        ("<html>".encode("utf-16"), "an HTML page"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<html xmlns='x'>", "an HTML page"),
        (b'<?xml version="1.0"?><feed/>', "an XML document"),
        (b"<!---->" * 9000, "an XML document"),
        (b"<!---->" * 9000 + b"<html>", "an HTML page"),
        (b'<playlist version="1" xmlns="http://xspf.org/ns/0/">', "a playlist (XSPF)"),
        (b'{"error": "no such track"}', "a JSON document"),
        (b'[{"error": 1}]', "a JSON document"),
        (b"#EXTM3U\n#EXT-X-VERSION:3", "a playlist (M3U)"),
        (b"[playlist]\nNumberOfEntries=1", "a playlist (PLS)"),
        (b"Not found", "a plain text"),
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"\x1f\x8b\x08\0", "a GZIP archive"),
        (b"\x89PNG\r\n\x1a\n", "an image (PNG)"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "an image (JPEG)"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "an image (WebP)"),
        (b"RIFF\0\0\0\0AVI LIST", "a RIFF file that is no WAVE"),
        (ISO + b"avif\0\0\0\0", "an image (HEIF)"),
        (ISO + b"qt  \0\0\0\0", "a video"),
        (EBML + b"\x42\x82\x88matroska", "a Matroska video"),
        (ogg_page(b"\x80theora" + bytes(35)), "an Ogg stream without Vorbis, Opus or FLAC"),
        (id3(300), "an ID3 tag without audio behind it"),
        (id3(300)[:200], "an ID3 tag without audio behind it"),
        (b"\xff\xfb\x90\x64", "unknown bytes (ff fb 90 64)"),
        (MPEG1[:-1], "unknown bytes (ff fb 90 64 00 00 00 00)"),
        (b"\xff\xfb\x90\x64" + bytes(1000), "unknown bytes (ff fb 90 64 00 00 00 00)"),
        (b"\xff\xff\xff\xff" * 500, "unknown bytes (ff ff ff ff ff ff ff ff)"),
        (bytes(70_000), "unknown bytes (00 00 00 00 00 00 00 00)"),
    ],
)
def test_what_is_no_audio_is_refused_by_what_it_looks_like(tmp_path: Path, data: bytes, looks: str) -> None:
    assert refusal(tmp_path, data) == f"Opus: the server sent {looks} instead of audio"


def test_recognizing_does_not_ask_for_a_whole_file(library: Mapping[str, Sample], tmp_path: Path) -> None:
    path = library["wav"].copy_to(tmp_path, "cut")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Truncated):
        identify(path, TRACK)
    assert recognize(path) == Media("wav", "audio/wav")
    path.write_bytes(b"<html>")
    assert recognize(path) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(data=st.one_of(st.binary(max_size=300), st.binary(max_size=100).map(lambda tail: id3(5) + tail)))
def test_any_bytes_are_either_a_known_container_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "body"
    path.write_bytes(data)
    with suppress(NotAudio, Truncated):
        assert identify(path, TRACK).ext in MEDIA_TYPES
