"""cachestore.media with files that real programs wrote: whole, tagged, and cut anywhere."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cachestore.errors import NotAudio, Truncated
from cachestore.media import identify
from cachestore.track import Track
from tests.library import make_wave
from tests.servers import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TRACK = Track("studio", "t1", title="Opus")
NOISE = "anoisesrc=sample_rate=44100:color=pink:amplitude=0.5:duration=0.4:seed=7"
BITEXACT = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact"]

# How ffmpeg makes each; what is said to be written to a pipe has no sizes that were filled in afterwards.
FFMPEG = {
    "wave": ["-f", "wav"],
    "wave, odd": ["-f", "wav", "-c:a", "pcm_u8", "-frames:a", "1", "-af", "atrim=end_sample=1001"],
    "rf64": ["-f", "wav", "-rf64", "always"],
    "w64": ["-f", "w64"],
    "w64, odd": ["-f", "w64", "-c:a", "pcm_u8", "-frames:a", "1", "-af", "atrim=end_sample=1001"],
    "au": ["-f", "au"],
    "aiff": ["-f", "aiff"],
    "caf": ["-f", "caf"],
    "caf with a packet table": ["-f", "caf", "-c:a", "alac"],
    "wavpack": ["-f", "wv", *BITEXACT],
    "wavpack, six channels": ["-f", "wv", "-ac", "6", *BITEXACT],
    "flac": ["-f", "flac"],
    "flac, 24 bits": ["-f", "flac", "-sample_fmt", "s32", "-ac", "2", "-ar", "96000"],
    "flac of short frames": ["-f", "flac", "-frame_size", "256", "-af", "volume=0"],
    "mp4, index last": ["-f", "mp4"],
    "mp4, index first": ["-f", "mp4", "-movflags", "+faststart"],
    "mp4, alac": ["-f", "mp4", "-c:a", "alac"],
    "mp4 in fragments": ["-f", "mp4", "-movflags", "+frag_every_frame+empty_moov"],
    "mp4 in listed fragments": ["-f", "mp4", "-movflags", "+frag_keyframe+empty_moov+global_sidx"],
    "vorbis": ["-f", "ogg", "-c:a", "libvorbis"],
    "opus": ["-f", "opus"],
    "flac in ogg": ["-f", "ogg", "-c:a", "flac"],
    "mp3": ["-f", "mp3", "-b:a", "320k", "-ac", "2"],
    "mp3, variable": ["-f", "mp3", "-q:a", "0"],
    "adts": ["-f", "adts"],
    "asf": ["-f", "asf", "-c:a", "wmav2"],
    "webm": ["-f", "webm"],
}
PIPED = {
    "wave to a pipe": ["-f", "wav"],
    "rf64 to a pipe": ["-f", "wav", "-rf64", "always"],
    "aiff to a pipe": ["-f", "aiff"],
    "w64 to a pipe": ["-f", "w64"],
    "au to a pipe": ["-f", "au"],
    "caf to a pipe": ["-f", "caf"],
    "wavpack to a pipe": ["-f", "wv"],
    "flac to a pipe": ["-f", "flac"],
    "webm to a pipe": ["-f", "webm"],
    "asf to a pipe": ["-f", "asf", "-c:a", "wmav2"],
    "mp3 to a pipe": ["-f", "mp3"],
}
SOX = {
    "sox wave": ["-t", "wav"],
    "sox aiff": ["-t", "aiff"],
    "sox au": ["-t", "au"],
    "sox flac": ["-t", "flac"],
    "sox flac, fast": ["-t", "flac", "-C", "0"],
    "sox vorbis": ["-t", "ogg"],
    "sox mp3": ["-t", "mp3"],
    "sox caf": ["-t", "caf"],
    "sox wavpack": ["-t", "wv"],
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Return what makes the file of a name, once."""
    folder = tmp_path_factory.mktemp("made")
    kept: dict[str, bytes] = {}

    def make(name: str) -> bytes:
        if name not in kept:
            kept[name] = _make(name, folder / name)
        return kept[name]

    return make


def _make(name: str, path: Path) -> bytes:
    if name in SOX:
        noise = ["-n", "-r", "44100", "-c", "2", "-b", "16", *SOX[name]]
        command = [program("sox"), "-R", "-V1", *noise, "-", "synth", "0.4", "pinknoise"]
        return subprocess.run(command, check=True, capture_output=True).stdout
    to = ["-"] if name in PIPED else [str(path)]
    options = (FFMPEG | PIPED)[name]
    command = [program("ffmpeg"), "-nostdin", "-v", "error", "-f", "lavfi", "-i", NOISE, *options, *to]
    piped = subprocess.run(command, check=True, capture_output=True).stdout
    return piped or path.read_bytes()


def ext_of(folder: Path, data: bytes) -> str:
    path = folder / "body"
    path.write_bytes(data)
    return identify(path, TRACK).ext


def is_refused(folder: Path, data: bytes) -> bool:
    try:
        ext_of(folder, data)
    except (Truncated, NotAudio):
        return True
    return False


@pytest.mark.parametrize("name", [*FFMPEG, *PIPED, *SOX])
def test_a_whole_file_is_accepted(made: Callable[[str], bytes], tmp_path: Path, name: str) -> None:
    assert ext_of(tmp_path, made(name))


# Cuts that leave a whole file behind, as far as its header tells.


def unseen(name: str, data: bytes) -> Iterator[int]:
    """Yield the sizes to which a file can be cut without anybody seeing it."""
    if "flac" in name and "ogg" not in name:
        yield from range(len(data.rstrip(b"\0")), len(data))  # a checksum holds without zeros behind it
    if name == "wave, odd":
        yield len(data) - 1  # padding
    if name == "flac to a pipe":
        yield from (at for at in range(len(data)) if data[at : at + 2] == b"\xff\xf8")  # between frames
    if name == "wavpack to a pipe":
        yield data.find(b"APETAGEX")  # the sound without its tag
    if name == "mp4 in fragments":
        yield from box_starts(data, b"moof", b"mfra")
    if name == "mp4 in listed fragments":
        yield from box_starts(data, b"mfra")
    if name == "adts":
        yield from adts_frames(data)


def box_starts(data: bytes, *names: bytes) -> Iterator[int]:
    """Yield the places of boxes, and of the zeros that their sizes start with: those could be padding."""
    starts = [at - 4 for at in range(len(data)) if data[at : at + 4] in names]
    for start in starts:
        yield from range(start, start + len(data[start : start + 4]) - len(data[start : start + 4].lstrip(b"\0")) + 1)


def adts_frames(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        at += (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        yield at


PROMISING = [*FFMPEG, "flac to a pipe", "wavpack to a pipe", "webm to a pipe"]


@pytest.mark.parametrize("name", PROMISING)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@example(missing=1)
@example(missing=2)
@example(missing=500)
@example(missing=1500)
@given(missing=st.integers(1, 3000) | st.integers(1, 1 << 20))
def test_a_cut_file_is_refused(made: Callable[[str], bytes], tmp_path: Path, name: str, missing: int) -> None:
    data = made(name)
    size = max(0, len(data) - missing)
    assert is_refused(tmp_path, data[:size]) != (size in set(unseen(name, data)))


@pytest.mark.parametrize("name", ["wave to a pipe", "rf64 to a pipe", "aiff to a pipe", "caf to a pipe"])
def test_a_file_that_was_written_to_a_pipe_promises_its_header_only(
    made: Callable[[str], bytes], tmp_path: Path, name: str
) -> None:
    data = made(name)
    assert ext_of(tmp_path, data[:-100])
    assert is_refused(tmp_path, data[:40])


def test_a_cut_is_told_with_its_facts(made: Callable[[str], bytes], tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(make_wave(5678)[:1234])
    with pytest.raises(Truncated) as caught:
        identify(path, TRACK)
    assert str(caught.value) == "Opus: the WAVE file ends after 1234 of 5678 bytes that its header announces"
    assert (caught.value.track, caught.value.label) == ("studio:t1", "Opus")
    path.write_bytes(made("flac")[:-1])
    with pytest.raises(Truncated, match=rf"the last frame of the FLAC file, which ends after {path.stat().st_size} by"):
        identify(path, TRACK)


# What programs append.


def id3v1() -> bytes:
    return b"TAG" + b"TAG TEAM".ljust(30, b"\0") + bytes(94) + b"\x0c"


def id3v2(*, footer: bool = False) -> bytes:
    head = b"\4\0" + (b"\x10" if footer else b"\0") + b"\0\0\7\x68"
    return b"ID3" + head + b"TIT2".ljust(1000, b"\0") + (b"3DI" + head if footer else b"")


def ape(*, header: bool = True) -> bytes:
    item = b"\5\0\0\0\0\0\0\0Title\0Stab."
    mark = b"APETAGEX" + (2000).to_bytes(4, "little") + (len(item) + 32).to_bytes(4, "little") + b"\1\0\0\0"
    return (
        (mark + b"\0\0\0\xa0" + bytes(8) if header else b"")
        + item
        + mark
        + b"\0\0\0"
        + bytes([128 * header])
        + bytes(8)
    )


TAILS = [id3v1(), id3v2(), id3v2(footer=True), ape(), ape(header=False), bytes(1), bytes(3000)]
FRAMES = [
    "flac",
    "flac, 24 bits",
    "flac of short frames",
    "flac to a pipe",
    "sox flac",
    "wavpack",
    "vorbis",
    "opus",
    "adts",
]


@pytest.mark.parametrize("name", FRAMES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@example(tails=[ape(), id3v1()])
@example(tails=[ape(), bytes(3000)])
@example(tails=[bytes(3000), id3v1(), bytes(1)])
@given(tails=st.lists(st.sampled_from(TAILS), max_size=5))
def test_ordinary_tags_and_zeros_behind_the_sound_are_no_cut_and_hide_none(
    made: Callable[[str], bytes], tmp_path: Path, name: str, tails: list[bytes]
) -> None:
    data, tail = made(name).rstrip(b"\0"), b"".join(tails)
    assert ext_of(tmp_path, id3v2() + data + tail)
    if not (tail.startswith(b"\0") and name in {"wavpack", "adts"}):  # these have no checksum of what they hold
        assert is_refused(tmp_path, id3v2() + data[:-1] + tail)


@pytest.mark.parametrize("name", ["flac", "flac, 24 bits", "flac to a pipe", "vorbis", "opus"])
def test_a_file_of_the_right_size_that_ends_in_zeros_is_cut(
    made: Callable[[str], bytes], tmp_path: Path, name: str
) -> None:
    data = made(name)
    assert is_refused(tmp_path, data[:-2000] + bytes(2000))


@pytest.mark.parametrize("name", ["wave", "aiff", "caf", "mp4, index last", "mp4, index first", "mp4 in fragments"])
@pytest.mark.parametrize("tail", TAILS)
def test_tags_and_zeros_behind_a_container_are_no_cut(
    made: Callable[[str], bytes], tmp_path: Path, name: str, tail: bytes
) -> None:
    assert ext_of(tmp_path, made(name) + tail)
