"""How a stranger's export ends: with events, at most so many downloads at once, by a signal, or with failed tracks."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.library import make_wave
from tests.servers import most_at_once
from tests.stranger import manifest, row, snapshot

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from tests.library import Sample
    from tests.servers import Nginx
    from tests.stranger import Row, Stranger


@pytest.mark.long
def test_no_more_downloads_run_at_once_than_jobs_says(stranger: Stranger, cloud: Nginx, music: Path) -> None:
    for number in range(5):
        (music / f"s{number}").write_bytes(make_wave(124_000, str(number)))
    stranger.export(*(row(f"s{number}", "slow") for number in range(5)), options=("--jobs", "2"))
    assert most_at_once(cloud.requests("/slow/")) == 2


def test_events_tell_every_row_to_its_end(stranger: Stranger, cloud: Nginx, cloud_rows: list[Row]) -> None:
    lines = stranger.export(*cloud_rows, options=("--events", "ndjson")).out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert (events[0]["type"], events[-1]["type"]) == ("start", "end")
    assert (events[-1]["result"], events[-1]["exit_code"]) == ("ok", 0)
    ends = [e["index"] for e in events if e.get("state") in {"done", "failed", "skipped", "cancelled"}]
    assert sorted(ends) == [0, 1, 2, 3, 4]


def wait_for(process: subprocess.Popen[str], *wanted: tuple[int, str]) -> None:
    """Read events until each row of `wanted` was in its state."""
    missing = set(wanted)
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        missing.discard((event.get("index"), event.get("state")))
        if not missing:
            return
    pytest.fail(f"the events ended without {missing}")


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_an_export_within_three_seconds_and_keeps_what_is_finished(
    number: signal.Signals, stranger: Stranger, cloud: Nginx, music: Path, library: Mapping[str, Sample]
) -> None:
    (music / "endless").write_bytes(library["wav"].data * 20)
    mix = stranger.mix(row("t-flac"), row("endless", "slow"))
    with stranger.start("export", mix, "DEST", "--events", "ndjson") as process:
        wait_for(process, (0, "done"), (1, "downloading"))
        process.send_signal(number)
        sent = time.monotonic()
        rest, told = process.communicate(timeout=20)
        took = time.monotonic() - sent
    assert process.returncode == 128 + number
    assert took < 3
    assert json.loads(rest.splitlines()[-1])["result"] == "cancelled"
    assert "Traceback" not in told
    assert stranger.has_no_bundle()
    assert [entry["id"] for entry in stranger.run("ls", "--json").facts] == ["t-flac"]


def wait_until_signals_cancel(process: subprocess.Popen[str]) -> None:
    """Wait until the process catches SIGTERM, which Linux tells in /proc."""
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
    pytest.fail("the command ended before it caught signals")


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc to see when signals are caught")
@pytest.mark.parametrize("command", ["fetch", "export", "repair"])
def test_a_signal_ends_a_command_that_waits_for_the_index_from_its_beginning(
    command: str, stranger: Stranger, cloud: Nginx
) -> None:
    stranger.export(row("t-flac"), dest="FIRST")
    arguments = {"fetch": ["open:t-mp3"], "export": [stranger.mix(row("t-mp3")), "DEST"], "repair": []}[command]
    with closing(sqlite3.connect(stranger.root / "index-v1" / "cache.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with stranger.start(command, *arguments) as process:
            wait_until_signals_cancel(process)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=3) == 143
            assert process.stderr is not None
            assert "Traceback" not in process.stderr.read()


@pytest.mark.long
def test_a_signal_ends_an_export_also_when_another_command_took_the_index_meanwhile(
    stranger: Stranger, cloud: Nginx, music: Path, library: Mapping[str, Sample]
) -> None:
    (music / "endless").write_bytes(library["wav"].data * 20)
    mix = stranger.mix(row("endless", "slow"))
    with stranger.start("export", mix, "DEST", "--events", "ndjson") as process:
        wait_for(process, (0, "downloading"))
        with closing(sqlite3.connect(stranger.root / "index-v1" / "cache.db", isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=3)
    assert process.returncode == 130
    assert json.loads(rest.splitlines()[-1])["result"] == "cancelled"
    stranger.run("prune")
    assert stranger.has_no_bundle()


@pytest.mark.long
def test_what_a_signal_cut_off_is_resumed(
    stranger: Stranger, cloud: Nginx, music: Path, library: Mapping[str, Sample]
) -> None:
    (music / "long").write_bytes(library["wav"].data + bytes(200_000))
    with stranger.start("export", stranger.mix(row("long", "slow")), "DEST", "--events", "ndjson") as process:
        wait_for(process, (0, "downloading"))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    stranger.export(row("long", "slow"))
    [first, *_, last] = cloud.requests("/slow/")
    assert (first.range, last.status) == ("", 206)
    assert first.sent + last.sent <= 1.2 * (music / "long").stat().st_size
    assert stranger.media()[0].read_bytes() == (music / "long").read_bytes()


@pytest.mark.long
def test_a_kill_leaves_nothing_that_the_next_command_does_not_mend(
    stranger: Stranger, cloud: Nginx, music: Path, library: Mapping[str, Sample]
) -> None:
    (music / "endless").write_bytes(library["wav"].data * 20)
    mix = stranger.mix(row("t-flac"), row("endless", "slow"))
    with stranger.start("export", mix, "DEST", "--events", "ndjson") as process:
        wait_for(process, (0, "done"), (1, "downloading"))
        process.kill()
    assert stranger.run("verify", "--json").facts["problems"] == []
    stranger.run("prune")
    assert stranger.has_no_bundle()
    assert stranger.export(row("t-flac"), options=("--json",)).facts["downloaded"] <= 1
    assert len(stranger.media()) == 1


@pytest.mark.long
def test_two_exports_of_one_mix_at_once_both_succeed(stranger: Stranger, cloud: Nginx, cloud_rows: list[Row]) -> None:
    mix = stranger.mix(*cloud_rows)
    running = [stranger.start("export", mix, dest) for dest in ("ONE", "TWO", "THREE")]
    told = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], told
    assert len(stranger.blobs()) == 5
    assert stranger.run("verify", "--json").facts["problems"] == []


# --- failures


def failing(cloud: Nginx, code: int, title: str) -> Row:
    return {"url": f"{cloud.url}/status/{code}/{title}", "title": title}


@pytest.mark.parametrize(("statuses", "code"), [((404, 401), 1), ((401, 403), 77), ((503, 500), 75)])
def test_one_failed_track_publishes_nothing_and_every_failure_is_named(
    statuses: tuple[int, int], code: int, stranger: Stranger, cloud: Nginx
) -> None:
    rows = [row("t-flac"), *(failing(cloud, status, f"Song {status}") for status in statuses)]
    failed = stranger.export(*rows, code=code)
    for status in statuses:
        assert f"Song {status}: " in failed.err
        assert str(status) in failed.err
    assert not (stranger.home / "DEST").exists()
    assert stranger.has_no_bundle()


def test_the_last_line_of_a_failed_export_is_the_command_to_run_again(
    stranger: Stranger, cloud: Nginx, music: Path, library: Mapping[str, Sample]
) -> None:
    failed = stranger.export(row("t-flac"), row("late"), code=1)
    last = failed.err.splitlines()[-1]
    assert "1 of 2 is cached" in last
    library["mp3"].copy_to(music, "late")
    command = last.partition("run again: ")[2].split()
    assert command[0] == "cachestore"
    stranger.run(*command[1:])
    assert len(stranger.media()) == 2


def test_skip_publishes_the_others_and_shows_the_hole(stranger: Stranger, cloud: Nginx) -> None:
    rows = [row("t-flac"), failing(cloud, 404, "Gone"), row("t-mp3")]
    done = stranger.export(*rows, options=("--on-error", "skip"), code=3)
    assert "Gone" in done.err
    assert [path.name for path in stranger.media()] == ["01 - t-flac.flac", "03 - t-mp3.mp3"]
    dest = stranger.home / "DEST"
    [missing] = [x for x in (dest / "Friday Warm-up.m3u8").read_text().splitlines() if "# MISSING" in x]
    assert "Gone" in missing
    assert [track["status"] for track in manifest(dest)["tracks"]] == ["done", "skipped", "done"]


def test_skip_publishes_nothing_when_nothing_is_usable(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(failing(cloud, 404, "Gone"), options=("--on-error", "skip"), code=1)
    assert not (stranger.home / "DEST").exists()


def test_a_failed_export_leaves_an_older_bundle_as_it_was(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"))
    before = snapshot(stranger.home / "DEST")
    stranger.export(row("t-mp3"), failing(cloud, 404, "Gone"), code=1)
    assert snapshot(stranger.home / "DEST") == before
