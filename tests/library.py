"""Real, tagged audio files for the tests, made with ffmpeg; take them with the `library` fixture.

`library["flac"]` is a `Sample`: FLAC, MP3 (``mp3``), Ogg Vorbis (``ogg``), AAC in MP4 (``m4a``) and ``wav``, each one
second of noise of its own, with tags that are awkward as file names. All tests share the samples:
`sample.copy_to(folder, "t1")` gives a copy, under any name, that may be changed.

`make_wave(1000)` is a whole WAVE file of that many bytes, for tests that need any audio, much of it, or a size.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.servers import program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TAGS = {
    "flac": ("Ada Sine", "Café Ünïcode ♫"),
    "mp3": ("Bob Noise", "What's Up & Down #1"),
    "ogg": ("Cy Vorbis", "AC/DC: Live?"),
    "m4a": ("Dee Wave", "Stab."),
    "wav": ("Eve Pulse", "Four to the Floor"),
}
_ENCODERS = {"flac": "flac", "mp3": "libmp3lame", "ogg": "libvorbis", "m4a": "aac", "wav": "pcm_s16le"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One audio file and what its tags say."""

    path: Path
    ext: str
    artist: str
    title: str

    @property
    def data(self) -> bytes:
        """Return the bytes of the file."""
        return self.path.read_bytes()

    def copy_to(self, folder: Path, name: str) -> Path:
        """Return a copy of the file as ``folder/name``, making `folder` if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        return shutil.copyfile(self.path, folder / name)


def make_wave(size: int, seed: str = "") -> bytes:
    """Return a whole WAVE file of exactly `size` bytes, 44 or more: mono noise in CD quality, other for other seeds."""
    sound = Random(seed).randbytes(size - 44)
    header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", size - 8, b"WAVE", b"fmt ", 16, 1, 1, 44100, 88200, 2, 16)
    return header + struct.pack("<4sI", b"data", len(sound)) + sound


def make_colliding_waves() -> tuple[bytes, bytes]:
    """Return two WAVE files of one length that have one xxh3-128 and not the same bytes.

    Where a lane of the input cancels its lane of the secret (the first 192 bytes of xxHash's), its other half alone
    counts, and only as a part of a sum.
    """

    def forged(one: int, other: int) -> bytes:
        body = bytearray(make_wave(300_000))
        body[2048:2056] = bytes.fromhex("b8fe6c39") + struct.pack("<I", one)
        body[2112:2120] = bytes.fromhex("7c01812c") + struct.pack("<I", other)
        return bytes(body)

    return forged(5, 7), forged(6, 6)


def make_library(folder: Path) -> Mapping[str, Sample]:
    """Return one sample of each format by its extension, made in `folder`."""
    ffmpeg = program("ffmpeg")
    samples = {ext: Sample(folder / f"sample.{ext}", ext, *tags) for ext, tags in _TAGS.items()}
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda sample: make_sample(ffmpeg, sample), samples.values()))
    return samples


def make_sample(ffmpeg: str, sample: Sample, *, seconds: float = 1) -> None:
    """Make `sample`: stereo pink noise in CD quality, other bytes for other titles."""
    seed = sum(sample.title.encode())
    noise = f"anoisesrc=sample_rate=44100:color=pink:amplitude=0.5:duration={seconds}:seed={seed}"
    tags = ["-metadata", f"artist={sample.artist}", "-metadata", f"title={sample.title}"]
    encode = ["-ac", "2", "-c:a", _ENCODERS[sample.ext], *tags, str(sample.path)]
    subprocess.run([ffmpeg, "-nostdin", "-v", "error", "-f", "lavfi", "-i", noise, *encode], check=True)
