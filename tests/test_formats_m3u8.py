"""The playlist of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cachestore.errors import NotFound
from cachestore.track import Track
from exporter_plugin.formats import render_all
from exporter_plugin.formats.m3u8 import render
from exporter_plugin.formats.view import BundleView
from exporter_plugin.manifest import OwnedFile
from exporter_plugin.mix import read_mix
from exporter_plugin.outcome import Hole, Outcome, Placed
from exporter_plugin.row import Row
from tests.library import make_wave

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.library import Sample


def written(*outcomes: Outcome, name: str = "Friday") -> str:
    return render(BundleView(name, outcomes)).decode()


def placed(row: Row, file: str) -> Placed:
    return Placed(row, OwnedFile(file, 0, 0, ""))


def hole(track: Track, reason: str) -> Hole:
    return Hole(Row(track), NotFound(track.address, track.label, reason))


def test_a_playlist_has_relative_paths_durations_and_visible_holes(tmp_path: Path) -> None:
    rows: list[Outcome] = [
        placed(Row(Track("s", "1", title="Opus", artist="E.P."), duration=312.4), "media/01 - E.P. - Opus.flac"),
        placed(Row(Track("file", "x.wav", title="x"), Path("x.wav")), "media/02 - x.wav"),
        hole(Track("s", "3", title="Gone"), "the server has no such track"),
    ]
    assert written(*rows) == (
        "#EXTM3U\n"
        "#PLAYLIST:Friday\n"
        "#EXTINF:312,E.P. - Opus\n"
        "media/01 - E.P. - Opus.flac\n"
        "#EXTINF:-1,x\n"
        "media/02 - x.wav\n"
        "# MISSING: Gone (the server has no such track)\n"
    )


def test_a_playlist_says_how_long_the_files_are(tmp_path: Path, library: Mapping[str, Sample]) -> None:
    """Not how long they play, and 0 would stand for "unknown"."""
    media = tmp_path / "media"
    library["flac"].copy_to(media, "1.flac")
    (media / "2.wav").write_bytes(make_wave(9000))
    rows = [Row(Track("s", "1", title="A"), duration=0.2, offset=0.5), Row(Track("s", "2", title="B"))]
    files = ["media/1.flac", "media/2.wav"]
    outcomes = [placed(*both) for both in zip(rows, files, strict=True)]
    lines = render(BundleView("Friday", outcomes, tmp_path.joinpath)).decode().splitlines()
    assert [line for line in lines if line.startswith("#EXTINF")] == ["#EXTINF:1,A", "#EXTINF:1,B"]


def test_no_text_of_a_mix_can_add_a_line() -> None:
    evil = "A\nhttp://evil.example/\r\n\x85\u2028#EXTINF:1,B"
    rows: list[Outcome] = [placed(Row(Track("s", "1", title=evil)), "media/1.wav"), hole(Track("s", "2"), evil)]
    assert len(written(*rows, name=evil).splitlines()) == 5


def test_no_text_of_a_mix_steers_a_terminal_or_is_no_text() -> None:
    evil = "A\x1b[31m\udc80B"
    text = written(placed(Row(Track("s", "1", title=evil)), "media/1.wav"), name=evil)
    assert text.count("A[31m\ufffdB") == 2


def test_the_file_has_a_safe_form_of_the_name() -> None:
    rendered = render_all(BundleView("../Fri:day", ()), lambda _: None)
    assert list(rendered.files) == ["_Fri_day.m3u8"]


def test_what_is_written_can_be_read_as_a_mix(tmp_path: Path) -> None:
    row = Row(Track("s", "1", title="Ünï", artist="A"), duration=3.0)
    playlist = written(placed(row, "media/01 - A - Ünï 100%25.wav"))
    (tmp_path / "Friday.m3u8").write_text(playlist, encoding="utf-8", newline="")
    [read] = read_mix(tmp_path / "Friday.m3u8").rows
    assert (read.track.title, read.track.artist, read.file_length) == ("Ünï", "A", 3.0)
    assert read.path == tmp_path / "media/01 - A - Ünï 100%25.wav"
