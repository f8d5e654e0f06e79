"""MP3 files of real encoders: whole ones are accepted, with what is appended, and what lacks a byte of sound is not."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from cachestore.errors import NotAudio, Truncated
from cachestore.media import identify
from cachestore.track import Track
from tests.servers import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRACK = Track("studio", "t42", title="Opus")
NOISE = "anoisesrc=d=0.6:r=44100:a=0.3:seed=1"
FFMPEG = {
    **{f"constant, {rate}": ["-b:a", rate] for rate in ("32k", "64k", "96k", "128k", "192k", "320k")},
    **{f"variable, {quality}": ["-q:a", quality] for quality in ("0", "2", "4", "6", "9")},
    "average": ["-abr", "1", "-b:a", "160k"],
    "mono": ["-ac", "1", "-b:a", "64k"],
    "48 kHz": ["-ar", "48000", "-q:a", "3"],
    "22 kHz": ["-ar", "22050", "-b:a", "24k"],
    "16 kHz": ["-ar", "16000", "-q:a", "5"],
    "8 kHz": ["-ar", "8000", "-b:a", "8k"],
    "without a reservoir": ["-reservoir", "0", "-b:a", "128k"],
    "with ID3v1": ["-write_id3v1", "1", "-metadata", "title=Opus", "-q:a", "4"],
    "with ID3v2.3": ["-id3v2_version", "3", "-metadata", "title=Opus", "-b:a", "128k"],
    "without ID3": ["-id3v2_version", "0", "-q:a", "4"],
    "of another encoder": ["-c:a", "libshine", "-b:a", "128k"],
    "with CRCs": ["-joint_stereo", "0", "-b:a", "256k"],
}
SOX = {f"sox, {quality}": ["-C", quality] for quality in ("-0.2", "-4.2", "-9.9")}
ID3V1 = b"TAG" + bytes(124) + b"\xff"
APE = b"APETAGEX" + bytes.fromhex("d0070000 20000000 00000000 00000000") + bytes(8)
APPENDED = {
    "nothing": b"",
    "ID3v1": ID3V1,
    "APEv2": APE,
    "APEv2 and ID3v1": APE + ID3V1,
    "ID3v2.4": b"ID3\4\0\0\0\0\0\x20" + bytes(32),
    "zeros": bytes(2000),
    "what nobody knows": b"LYRICSBEGIN" + b"la " * 700 + b"LYRICS200",
}
NAMES = [*FFMPEG, *SOX]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Return what makes the file of a name, once."""
    folder = tmp_path_factory.mktemp("mp3")
    kept: dict[str, bytes] = {}

    def make(name: str) -> bytes:
        if name not in kept:
            path = folder / "made.mp3"
            command = [program("ffmpeg"), "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", NOISE]
            command += [*FFMPEG.get(name, []), str(path)]
            if name in SOX:
                sound = ["-n", "-r", "44100", "-c", "2", *SOX[name], str(path), "synth", "0.6", "pinknoise"]
                command = [program("sox"), "-R", "-V1", *sound]
            subprocess.run(command, check=True)
            kept[name] = path.read_bytes()
        return kept[name]

    return make


def is_whole(folder: Path, data: bytes) -> bool:
    path = folder / "body"
    path.write_bytes(data)
    try:
        return identify(path, TRACK).ext == "mp3"
    except (Truncated, NotAudio):  # the latter of what has no second frame any more
        return False


def sound_of(data: bytes) -> bytes:
    return data[:-128] if data[-128:-125] == b"TAG" else data


def tag(data: bytes) -> int:
    return max(data.find(b"Xing"), data.find(b"Info"))


def retold(data: bytes, *, frames: int = 0, length: int = 0, writer: bytes = b"") -> bytes:
    """Return a file whose tag tells of so many frames and bytes more, by another writer."""
    at = tag(data)
    told = [int.from_bytes(data[at + place : at + place + 4], "big") for place in (8, 12)]
    numbers = b"".join((was + more).to_bytes(4, "big") for was, more in zip(told, (frames, length), strict=True))
    named = data[: at + 8] + numbers + data[at + 16 :]
    return named[: at + 120] + (writer or named[at + 120 : at + 124]) + named[at + 124 :]


@pytest.mark.parametrize("appended", APPENDED)
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_file_is_accepted_whatever_is_behind_its_sound(
    made: Callable[[str], bytes], tmp_path: Path, name: str, appended: str
) -> None:
    assert is_whole(tmp_path, made(name) + APPENDED[appended])


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_lacks_up_to_some_frames_is_cut(made: Callable[[str], bytes], tmp_path: Path, name: str) -> None:
    sound = sound_of(made(name))
    passed = [lack for lack in [*range(1, 60), *range(60, 3000, 13)] if is_whole(tmp_path, sound[:-lack])]
    assert passed == []


@pytest.mark.parametrize("name", ["constant, 128k", "variable, 4", "sox, -4.2"])
def test_encoders_that_count_otherwise_are_right_too(made: Callable[[str], bytes], tmp_path: Path, name: str) -> None:
    sound = sound_of(made(name))
    mark = b"\xff\xfb"
    own = sound.find(mark, tag(sound)) - sound.rfind(mark, 0, tag(sound))  # the length of the frame with the tag
    other = retold(sound, length=-own, writer=b"Mine")
    assert is_whole(tmp_path, other)
    assert not is_whole(tmp_path, other[:-1])
    assert is_whole(tmp_path, retold(sound, length=-own, frames=1, writer=b"Mine"))
    with_its_tag = retold(sound, length=128)
    assert is_whole(tmp_path, with_its_tag + ID3V1)
    assert is_whole(tmp_path, with_its_tag)  # which somebody has taken away
    assert not is_whole(tmp_path, with_its_tag[:-1])
