"""``cachestore fetch --mix``: the cloud tracks of a mix come into the cache, and no bundle is made."""

from __future__ import annotations

import json
import os
import signal
from importlib.metadata import EntryPoint, EntryPoints
from typing import TYPE_CHECKING

import pytest

from cachestore.cli import mixes
from cachestore.cli.main import run
from tests.raw_servers import Stall
from tests.stranger import row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import StartRawServer, StartSubsonic
    from tests.library import Sample
    from tests.servers import Nginx
    from tests.stranger import Row, Stranger

LOCAL: Row = {"path": "Intro.wav", "title": "Intro"}


def test_the_cloud_tracks_of_a_mix_are_downloaded_once_and_its_local_ones_passed_over(
    stranger: Stranger, cloud: Nginx, cloud_rows: list[Row]
) -> None:
    mix = stranger.mix(*cloud_rows, LOCAL, row("t-flac"), row("t-flac"))
    told = stranger.run("fetch", "--mix", mix).out
    counts = f"1 cached, {len(cloud_rows) + 1} downloaded, 1 local track passed over"
    assert told == f"{len(cloud_rows) + 2} tracks: {counts}\n"
    assert stranger.has_no_bundle()
    facts = stranger.run("export", mix, "DEST", "--offline", "--on-error", "skip", "--json", code=3).facts
    assert [error["label"] for error in facts["errors"]] == ["Intro"]


def test_the_tracks_have_the_titles_of_the_mix(stranger: Stranger, cloud: Nginx) -> None:
    stranger.run("fetch", "--mix", stranger.mix(row("t-flac", artist="E.P.", title="Opus")))
    assert [entry["label"] for entry in stranger.run("ls", "--json").facts] == ["E.P. - Opus"]


def test_a_mix_without_cloud_tracks_asks_nobody(stranger: Stranger, cloud: Nginx) -> None:
    assert stranger.run("fetch", "--mix", stranger.mix(LOCAL)).out == "0 tracks: 1 local track passed over\n"
    assert stranger.run("fetch", "--mix", stranger.mix(LOCAL), "--json").facts == []
    assert cloud.requests() == []


def test_a_mix_is_read_from_standard_input(stranger: Stranger, cloud: Nginx) -> None:
    mix = json.dumps({"tracks": [row("t-flac")]})
    assert stranger.run("fetch", "--mix", "-", stdin=mix).out == "1 track: 1 downloaded\n"
    stranger.run("fetch", "--mix", "-", stdin=f"#EXTM3U\n{cloud.url}/plain/t-mp3\n")
    assert len(stranger.blobs()) == 2


def test_a_playlist_of_a_source_is_a_mix(
    subsonic: StartSubsonic, stranger: Stranger, library: Mapping[str, Sample]
) -> None:
    server = subsonic()
    server.create_playlist("Warm", [library["mp3"].title, library["flac"].title])
    login = f'user = "{server.user}"\npassword = "{server.password}"\n'
    stranger.configure(server.url, sources=f'[sources.home]\nkind = "subsonic"\nurl = "{server.url}"\n{login}')
    assert stranger.run("fetch", "--mix", "home:playlist/Warm").out == "2 tracks: 2 downloaded\n"
    assert {path.read_bytes() for path in stranger.blobs()} == {library["mp3"].data, library["flac"].data}


def test_events_and_exit_codes_are_those_of_tracks(stranger: Stranger, cloud: Nginx) -> None:
    mix = stranger.mix(LOCAL, row("t-flac"), row("nowhere"))
    told = stranger.run("fetch", "--mix", mix, "--events", "ndjson", code=1).out
    events = [json.loads(line) for line in told.splitlines()]
    assert (events[0]["type"], events[0]["rows"]) == ("start", 2)
    ends = {event["index"]: event["state"] for event in events if event["type"] == "track"}
    assert ends == {0: "done", 1: "failed"}
    assert (events[-1]["type"], events[-1]["exit_code"]) == ("end", 1)


def test_a_wrong_mix_is_one_sentence_and_the_end_of_the_events(stranger: Stranger, cloud: Nginx) -> None:
    assert "there is no such file" in stranger.run("fetch", "--mix", "none.json", code=2).sentence
    told = stranger.run("fetch", "--mix", "none.json", "--events", "ndjson", code=2).out
    [end] = [json.loads(line) for line in told.splitlines()]
    assert (end["type"], end["exit_code"]) == ("end", 2)
    assert not stranger.root.exists()


@pytest.mark.parametrize("arguments", [[], ["open:t-flac", "--mix", "mix.json"]])
def test_tracks_and_a_mix_exclude_each_other(stranger: Stranger, cloud: Nginx, arguments: list[str]) -> None:
    assert "expected either tracks or --mix" in stranger.run("fetch", *arguments, code=2).err


def test_the_end_of_standard_input_cannot_cancel_what_reads_it(stranger: Stranger, cloud: Nginx) -> None:
    told = stranger.run("fetch", "--mix", "-", "--cancel-on-stdin-eof", stdin='{"tracks": []}', code=2).err
    assert "--cancel-on-stdin-eof needs standard input for itself" in told


def test_an_interrupt_ends_the_wait_for_a_playlist(stranger: Stranger, raw_server: StartRawServer) -> None:
    server = raw_server(Stall())
    login = 'user = "me"\npassword = "pw-4e1f"\n'
    stranger.configure(server.url, sources=f'[sources.home]\nkind = "subsonic"\nurl = "{server.url}"\n{login}')
    with stranger.start("fetch", "--mix", "home:playlist/Warm") as process:
        while not server.received:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert (process.returncode, told) == (130, "cachestore: cancelled; what was finished stays in the cache\n")


def test_an_interrupt_ends_the_wait_for_a_pipe(stranger: Stranger, cloud: Nginx) -> None:
    os.mkfifo(stranger.home / "pipe")
    pipe = stranger.home / "pipe"
    with stranger.start("fetch", "--mix", "pipe") as process, pipe.open("wb"):  # both have it open, and nothing comes
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("value", "code", "sentence"),
    [
        (None, 2, "--mix needs a package that reads mixes, and none is installed"),
        ("nowhere:reader", 1, "the plugin broken (nowhere:reader) does not load: ModuleNotFoundError"),
    ],
)
def test_without_a_reader_of_mixes_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str | None, code: int, sentence: str
) -> None:
    points = EntryPoints([EntryPoint("broken", value, mixes.ENTRY_POINTS)] if value else [])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points.select(group=group))
    assert run(["fetch", "--mix", "mix.json"]) == code
    assert sentence in capsys.readouterr().err
