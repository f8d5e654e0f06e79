"""exporter_plugin.demo.audio: the generated music is music."""

from __future__ import annotations

import struct
import subprocess
import wave
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from cachestore.track import Track
from exporter_plugin.demo.audio import CLOUD, LOCAL, RATE, Piece, render
from tests.servers import program

if TYPE_CHECKING:
    from pathlib import Path

PIECES = pytest.mark.parametrize("piece", CLOUD + LOCAL, ids=lambda piece: piece.id)


def test_the_cloud_has_twelve_different_tracks_two_of_one_title_in_two_formats() -> None:
    assert len(CLOUD) == len({piece.id for piece in CLOUD}) == 12
    assert len({piece.title for piece in CLOUD}) == 11
    assert {piece.ext for piece in CLOUD} == {"wav", "aiff"}
    assert len({render(piece) for piece in CLOUD + LOCAL[:1]}) == 13


@PIECES
def test_a_piece_is_small_lasts_one_to_three_seconds_and_is_always_the_same(piece: Piece) -> None:
    assert 1 <= piece.seconds <= 3
    assert len(render(piece)) < 200_000
    assert render(piece) == render(piece)


@PIECES
def test_a_piece_is_audio_in_the_format_it_says(piece: Piece, tmp_path: Path) -> None:
    from cachestore.media import identify

    file = tmp_path / "no-extension"
    file.write_bytes(render(piece))
    assert identify(file, Track("demo", piece.id)).ext == piece.ext


@PIECES
def test_a_piece_decodes_without_a_warning(piece: Piece, tmp_path: Path) -> None:
    file = tmp_path / f"{piece.id}.{piece.ext}"
    file.write_bytes(render(piece))
    done = subprocess.run([program("sox"), file, "-n", "stat"], capture_output=True, text=True, check=True)
    assert "WARN" not in done.stderr
    assert done.stderr.split()[:3] == ["Samples", "read:", str(int(piece.seconds * RATE))]


def test_wav_and_aiff_hold_the_same_samples_each_in_its_byte_order() -> None:
    piece = CLOUD[2]
    with wave.open(BytesIO(render(replace(piece, ext="wav")))) as file:
        samples = file.readframes(file.getnframes())
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
    aiff = render(piece)
    assert struct.unpack_from(">4sI4s", aiff) == (b"FORM", len(aiff) - 8, b"AIFF")
    count = len(samples) // 2
    assert struct.unpack(f">{count}h", aiff[-2 * count :]) == struct.unpack(f"<{count}h", samples)
