"""What the headers of files say: extension, duration, sample rate and channels of what real programs write."""

from __future__ import annotations

import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachestore.media import recognize
from exporter_plugin.facts import Facts, facts_of
from tests.servers import program

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 1.5
STEREO, MONO = 2, 1
NOISE = f"anoisesrc=sample_rate=44100:color=pink:amplitude=0.5:duration={SECONDS}:seed=7"
FLAT = ["-map_metadata", "-1", "-fflags", "+bitexact"]
FRAGMENTS = "+empty_moov+default_base_moof"
# What ffmpeg is told, and what is to be read: extension, channels. Lossy encoders add up to a tenth of a second.
FFMPEG = {
    "mp3": (["-f", "mp3", "-ac", "2"], "mp3", STEREO),
    "mp3 without tags or Xing": (["-f", "mp3", "-write_xing", "0", "-id3v2_version", "0", *FLAT], "mp3", MONO),
    "mp3 variable": (["-f", "mp3", "-q:a", "2"], "mp3", MONO),
    "flac": (["-f", "flac"], "flac", MONO),
    "flac 24 bits": (["-f", "flac", "-sample_fmt", "s32", "-ac", "2"], "flac", STEREO),
    "aac in m4a": (["-f", "ipod", "-c:a", "aac", "-ac", "2"], "m4a", STEREO),
    "mono aac in m4a": (["-f", "ipod", "-c:a", "aac"], "m4a", MONO),
    "six channels of aac in m4a": (["-f", "ipod", "-c:a", "aac", "-ac", "6"], "m4a", 6),
    "eight channels of aac in m4a": (["-f", "ipod", "-c:a", "aac", "-ac", "8"], "m4a", 8),
    "mono in fragments of m4a": (["-f", "mp4", "-movflags", f"+frag_keyframe{FRAGMENTS}"], "m4a", MONO),
    "mp3 in mp4": (["-f", "mp4", "-c:a", "libmp3lame", "-ac", "2"], "m4a", STEREO),
    "six channels of alac in m4a": (["-f", "ipod", "-c:a", "alac", "-ac", "6"], "m4a", 6),
    "alac in m4a": (["-f", "ipod", "-c:a", "alac"], "m4a", MONO),
    "fragments of m4a": (["-f", "mp4", "-movflags", f"+frag_keyframe{FRAGMENTS}", "-ac", "2"], "m4a", STEREO),
    "a fragment a frame": (["-f", "mp4", "-movflags", f"+frag_every_frame{FRAGMENTS}", "-ac", "2"], "m4a", STEREO),
    "dash": (["-f", "mp4", "-movflags", f"+dash+frag_keyframe{FRAGMENTS}", "-ac", "2"], "m4a", STEREO),
    "adts": (["-f", "adts", "-ac", "2"], "aac", STEREO),
    "vorbis": (["-f", "ogg", "-c:a", "libvorbis"], "ogg", MONO),
    "flac in ogg": (["-f", "ogg", "-c:a", "flac"], "oga", MONO),
    "wave": (["-f", "wav", "-ac", "2"], "wav", STEREO),
    "wave extensible": (["-f", "wav", "-ac", "6", "-c:a", "pcm_s24le"], "wav", 6),
    "wave of microsoft adpcm": (["-f", "wav", "-c:a", "adpcm_ms"], "wav", MONO),
    "wave of ima adpcm": (["-f", "wav", "-c:a", "adpcm_ima_wav", "-ac", "2"], "wav", STEREO),
    "wave of a-law": (["-f", "wav", "-c:a", "pcm_alaw"], "wav", MONO),
    "wave of mp3": (["-f", "wav", "-c:a", "libmp3lame"], "wav", MONO),
    "wave untagged": (["-f", "wav", *FLAT], "wav", MONO),
    "rf64": (["-f", "wav", "-rf64", "always"], "wav", MONO),
    "w64": (["-f", "w64", "-ac", "2"], "w64", STEREO),
    "w64 of ima adpcm": (["-f", "w64", "-c:a", "adpcm_ima_wav"], "w64", MONO),
    "au": (["-f", "au", "-ac", "2"], "au", STEREO),
    "au of µ-law": (["-f", "au", "-c:a", "pcm_mulaw"], "au", MONO),
    "aiff": (["-f", "aiff"], "aiff", MONO),
    "aiff-c, little endian": (["-f", "aiff", "-c:a", "pcm_s16le"], "aiff", MONO),
    "caf": (["-f", "caf"], "caf", MONO),
    "caf with a packet table": (["-f", "caf", "-c:a", "alac"], "caf", MONO),
    "wavpack": (["-f", "wv"], "wv", MONO),
    "wavpack of six channels": (["-f", "wv", "-ac", "6"], "wv", 6),
    "wma": (["-f", "asf", "-c:a", "wmav2"], "wma", MONO),
}
AT_48000 = {
    "opus": (["-f", "opus", "-c:a", "libopus"], "opus", MONO),
    "webm": (["-f", "webm", "-c:a", "libopus"], "webm", MONO),
}
# Nobody goes back to fill sizes in.
PIPED = {
    "wave to a pipe": (["-f", "wav"], "wav", MONO),
    "rf64 to a pipe": (["-f", "wav", "-rf64", "always"], "wav", MONO),
    "caf to a pipe": (["-f", "caf"], "caf", MONO),
    "w64 to a pipe": (["-f", "w64"], "w64", MONO),
    "au to a pipe": (["-f", "au"], "au", MONO),
}
# A header without a length is no lie: the mix has to say it.
ENDLESS = {
    "flac to a pipe": (["-f", "flac"], "flac", 44100),
    "webm to a pipe": (["-f", "webm", "-c:a", "libopus"], "webm", 48000),
    "wavpack to a pipe": (["-f", "wv"], "wv", 44100),
}
SOX = {
    "sox aiff-c": (["-t", "aiffc"], "aiff"),
    "sox wave": (["-t", "wav"], "wav"),
    "sox flac": (["-t", "flac"], "flac"),
    "sox caf": (["-t", "caf"], "caf"),
}
ID3 = {"flac behind id3": ("flac", "flac"), "mp3 behind big id3": ("mp3", "mp3"), "adts behind id3": ("adts", "aac")}
NO_AUDIO = {
    "empty": b"",
    "login page": b"<!DOCTYPE html><html><title>Log in</title></html>",
    "json error": b'{"subsonic-response": {"status": "failed"}}',
    "hls playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:8\nseg1.ts\n",
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Every sample, by its name, in a file without an extension."""
    folder, ffmpeg, sox = tmp_path_factory.mktemp("made"), program("ffmpeg"), program("sox")
    source = [ffmpeg, "-nostdin", "-v", "error", "-f", "lavfi", "-i", NOISE]
    pipes = {name: [*source, *options[0], "-"] for name, options in (PIPED | ENDLESS).items()}
    files = {name: [*source, *options, str(folder / name)] for name, (options, _, _) in (FFMPEG | AT_48000).items()}
    synth = ["-n", "-r", "44100", "-b", "16", "-c", "1"]
    files |= {n: [sox, *synth, *o, str(folder / n), "synth", str(SECONDS), "pinknoise"] for n, (o, _) in SOX.items()}

    def make(name: str) -> None:
        if name in pipes:
            (folder / name).write_bytes(subprocess.run(pipes[name], capture_output=True, check=True).stdout)
        else:
            subprocess.run(files[name], check=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, [*pipes, *files]))
    tag = b"ID3\x04\0\0" + bytes(1_500_000 >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(1_500_000)
    for name, (other, _) in ID3.items():
        (folder / name).write_bytes(tag + (folder / other).read_bytes())
    return {path.name: path for path in folder.iterdir()}


def facts(path: Path, folder: Path) -> tuple[str, Facts]:
    """Return what the bytes are, and what a file that is called so says."""
    media = recognize(path)
    assert media is not None
    return media.ext, facts_of(Path(shutil.copy(path, folder / f"audio.{media.ext}")))


EXPECTED = (
    {name: (ext, 44100, channels) for name, (_, ext, channels) in (FFMPEG | PIPED).items()}
    | {name: (ext, 48000, channels) for name, (_, ext, channels) in AT_48000.items()}
    | {name: (ext, 44100, MONO) for name, (_, ext) in SOX.items()}
    | {"flac behind id3": ("flac", 44100, MONO)}
    | {name: (ext, 44100, STEREO) for name, (_, ext) in ID3.items() if ext != "flac"}
)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_says_what_it_is_and_how_long_it_plays(made: Mapping[str, Path], tmp_path: Path, name: str) -> None:
    ext, said = facts(made[name], tmp_path)
    assert (ext, said.sample_rate, said.channels) == EXPECTED[name]
    assert said.duration is not None
    assert SECONDS - 0.001 < said.duration < SECONDS + 0.1


def test_a_length_is_known_of_m4a_also_where_its_decoder_is_told_nothing(
    made: Mapping[str, Path], tmp_path: Path
) -> None:
    content = bytearray(made["aac in m4a"].read_bytes())
    sound, told = content.index(b"stsd") - 4, content.index(b"esds") + 8
    end = sound + int.from_bytes(content[sound : sound + 4], "big")
    content[told:end] = b"\3".ljust(end - told, b"\x80")  # a size that never ends
    path = tmp_path / "audio"
    path.write_bytes(content)
    _, said = facts(path, tmp_path)
    assert said.duration is not None


@pytest.mark.parametrize("name", ENDLESS)
def test_a_header_without_a_length_says_none(made: Mapping[str, Path], tmp_path: Path, name: str) -> None:
    ext, said = facts(made[name], tmp_path)
    _, expected, rate = ENDLESS[name]
    assert (ext, said) == (expected, Facts(None, rate, MONO))


@pytest.mark.parametrize("name", NO_AUDIO)
def test_what_is_no_audio_is_not_taken_for_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "audio.mp3"
    path.write_bytes(NO_AUDIO[name])
    assert recognize(path) is None
    assert facts_of(path) == Facts()


def test_a_sum_of_many_wave_bytes_is_no_more_than_the_file_has(made: Mapping[str, Path], tmp_path: Path) -> None:
    content = bytearray(made["wave"].read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", 0x7FFFFFFF)
    (tmp_path / "audio.wav").write_bytes(content)
    said = facts_of(tmp_path / "audio.wav").duration
    assert said is not None
    assert SECONDS <= said < SECONDS + 0.1


def test_a_wave_whose_odd_chunk_is_not_padded_is_read_as_the_gate_reads_it(
    made: Mapping[str, Path], tmp_path: Path
) -> None:
    wave = made["wave"].read_bytes()
    unpadded = b"LIST" + (5).to_bytes(4, "little") + b"INFO~"
    (tmp_path / "audio.wav").write_bytes(wave[:12] + unpadded + wave[12:])
    assert facts_of(tmp_path / "audio.wav") == facts_of(made["wave"], "wav") != Facts()


def test_what_is_appended_to_a_caf_file_hides_nothing(made: Mapping[str, Path], tmp_path: Path) -> None:
    (tmp_path / "audio.caf").write_bytes(made["caf with a packet table"].read_bytes() + b"\xff" * 50)
    assert facts_of(tmp_path / "audio.caf") == facts_of(made["caf with a packet table"], "caf") != Facts()


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_recorder_that_crashed_left_what_is_there(made: Mapping[str, Path], tmp_path: Path, size: int) -> None:
    content = bytearray(made["wave untagged"].read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = struct.pack("<I", size)
    (tmp_path / "audio.wav").write_bytes(content)
    assert facts_of(tmp_path / "audio.wav") == Facts(SECONDS, 44100, MONO)


@pytest.mark.parametrize("name", ["vorbis", "opus", "flac in ogg"])
def test_a_chain_of_streams_is_as_long_as_all_of_them(made: Mapping[str, Path], tmp_path: Path, name: str) -> None:
    ext, alone = facts(made[name], tmp_path)
    streams = made[name].read_bytes(), with_serial(made[name].read_bytes(), 4711)
    (tmp_path / f"audio.{ext}").write_bytes(b"".join(streams))
    chained = facts_of(tmp_path / f"audio.{ext}")
    assert alone.duration == pytest.approx(SECONDS)
    assert chained.duration == pytest.approx(2 * SECONDS)
    assert (chained.sample_rate, chained.channels) == (alone.sample_rate, alone.channels)


def with_serial(content: bytes, serial: int) -> bytes:
    """Return Ogg with another number of its stream, as a second run of an encoder gives it. Checksums stay wrong."""
    pages = bytearray(content)
    place = 0
    while place < len(pages):
        pages[place + 14 : place + 18] = serial.to_bytes(4, "little")
        body = place + 27 + pages[place + 26]
        place = body + sum(pages[place + 27 : body])
    return bytes(pages)


@pytest.mark.parametrize("last", ["quiet", "loud"])
def test_an_mp3_of_varying_bit_rate_without_a_count_of_its_frames_is_counted(tmp_path: Path, last: str) -> None:
    """Its first minute says little of the second."""
    parts = {"quiet": "anullsrc=r=44100", "loud": "anoisesrc=r=44100:amplitude=0.9:seed=7"}
    inputs = [parts["loud" if last == "quiet" else "quiet"], parts[last]]
    sound = [word for each in inputs for word in ("-f", "lavfi", "-t", "40", "-i", each)]
    joined = ["-filter_complex", "[0]aformat=cl=mono[a];[1]aformat=cl=mono[b];[a][b]concat=v=0:a=1"]
    encoded = ["-q:a", "0", "-write_xing", "0", "-id3v2_version", "0", str(tmp_path / "audio.mp3")]
    subprocess.run([program("ffmpeg"), "-nostdin", "-v", "error", *sound, *joined, *encoded], check=True)
    with (tmp_path / "audio.mp3").open("ab") as file:
        file.write(b"TAG" + bytes(125))
    said = facts_of(tmp_path / "audio.mp3")
    assert said.duration == pytest.approx(80, abs=0.1)
    assert (said.sample_rate, said.channels) == (44100, MONO)


def test_a_file_that_is_gone_says_nothing(tmp_path: Path) -> None:
    assert facts_of(tmp_path / "gone.wav") == Facts()


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_a_damaged_header_says_something_plausible_or_nothing(
    made: Mapping[str, Path], tmp_path: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(EXPECTED)))
    head = bytearray(made[name].read_bytes()[:60_000])
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6)):
        head[place] = byte
    path = tmp_path / f"audio.{EXPECTED[name][0]}"
    path.write_bytes(head[: data.draw(st.integers(0, len(head)))])
    said = facts_of(path)
    assert said.duration is None or 0 < said.duration < 1e6
    assert said.sample_rate is None or said.sample_rate > 0
    assert said.channels is None or 0 < said.channels < 256
