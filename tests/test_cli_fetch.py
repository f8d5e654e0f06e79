"""``cachestore fetch``: from a real server into the cache, with the exit codes and events of every outcome."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from cachestore.cli.main import run
from tests.downloads import answer
from tests.library import make_colliding_waves, make_wave
from tests.servers import TOKEN, Stall, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.conftest import StartNginx, StartRawServer
    from tests.library import Sample
    from tests.servers import Nginx
    from tests.stranger import Stranger

    Fetch = Callable[..., str]


@pytest.fixture
def server(nginx: StartNginx, library: Mapping[str, Sample], tmp_path: Path) -> Nginx:
    """Serve two tracks."""
    library["flac"].copy_to(tmp_path / "music", "t1")
    library["mp3"].copy_to(tmp_path / "music", "t2")
    return nginx(tmp_path / "music")


@pytest.fixture
def fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fetch:
    """Fetch into a store of the test's own and return stdout."""
    config = tmp_path / "config.toml"

    def call(*args: str, code: int = 0, url: str = "http://127.0.0.1:9") -> str:
        config.write_text(
            f'root = "store"\nmin_free = 0\nretries = 0\n[sources.studio]\nkind = "http"\nurl = "{url}/auth/{{id}}"\n'
            f'headers = {{ Authorization = "Bearer {TOKEN}" }}\n'
        )
        assert run(["--config", str(config), "fetch", *args]) == code
        return capsys.readouterr().out

    return call


def test_a_track_is_downloaded_once(fetch: Fetch, server: Nginx) -> None:
    assert fetch("studio:t1", "studio:t2", url=server.url) == "2 tracks: 2 downloaded\n"
    assert fetch("studio:t1", "studio:t2", url=server.url) == "2 tracks: 2 cached\n"
    assert [request.status for request in server.requests("/auth/")] == [200, 200, 304, 304]


def test_refresh_downloads_again(fetch: Fetch, server: Nginx) -> None:
    fetch("studio:t1", url=server.url)
    assert fetch("studio:t1", "--refresh", url=server.url) == "1 track: 1 downloaded\n"


def test_a_url_needs_no_configuration(server: Nginx, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fetch", f"{server.url}/plain/t1", "--root", str(tmp_path / "store")]) == 0
    captured = capsys.readouterr()
    assert captured.out == "1 track: 1 downloaded\n"
    assert captured.err.startswith("[1/1] downloaded  ")


def test_quiet_says_nothing(fetch: Fetch, server: Nginx, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("-q", "studio:t1", url=server.url) == ""
    assert capsys.readouterr().err == ""


def test_json_has_a_row_for_each_track_in_input_order(
    fetch: Fetch, server: Nginx, library: Mapping[str, Sample]
) -> None:
    rows: list[dict[str, Any]] = json.loads(
        fetch("studio:t9", "studio:t1", "studio:t1", "--json", url=server.url, code=1)
    )
    missing, first, second = rows
    assert missing == {
        "track": "studio:t9",
        "key": None,
        "label": "studio:t9",
        "size": None,
        "origin": None,
        "stale": False,
        "error": {
            "code": "not_found",
            "retryable": False,
            "message": "studio:t9: the server has no such track (404 Not Found)",
        },
    }
    assert first.pop("key").startswith("studio:t1@")
    assert first == {
        "track": "studio:t1",
        "label": "studio:t1",
        "size": len(library["flac"].data),
        "origin": "network",
        "stale": False,
        "error": None,
    }
    assert second["origin"] == "cache"


def test_a_changed_file_arrives_as_a_new_version(
    fetch: Fetch, server: Nginx, library: Mapping[str, Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch("studio:t1", url=server.url)
    replace(tmp_path / "music/t1", library["ogg"].data)
    fetch("studio:t1", url=server.url)
    assert run(["--config", str(tmp_path / "config.toml"), "show", "studio:t1", "--json"]) == 0
    assert [version["ext"] for version in json.loads(capsys.readouterr().out)] == ["ogg", "flac"]


@pytest.mark.parametrize(
    ("path", "code", "event_code"),
    [
        ("status/401/x", 77, "unauthorized"),
        ("status/403/x", 77, "forbidden"),
        ("status/404/x", 1, "not_found"),
        ("status/500/x", 75, "bad_status"),
        ("html/x", 1, "not_audio"),
    ],
)
def test_every_failure_has_its_exit_code_and_its_event(
    fetch: Fetch, server: Nginx, path: str, code: int, event_code: str
) -> None:
    events = [json.loads(line) for line in fetch(f"{server.url}/{path}", "--events", "ndjson", code=code).splitlines()]
    assert [event["type"] for event in (events[0], events[-1])] == ["start", "end"]
    [failed] = [event for event in events if event.get("state") == "failed"]
    assert failed["code"] == event_code
    assert (events[-1]["result"], events[-1]["exit_code"]) == ("failed", code)


@pytest.mark.parametrize(
    ("tracks", "room", "summary", "told"),
    [
        (["t-wav"], 300_000, "2 tracks: 1 downloaded, 1 failed", ", the others are in the cache"),
        (
            ["t-wav", "t-flac"],
            220_000,
            "3 tracks: 2 downloaded, 1 failed, 1 evicted again for want of room",
            ", 1 of the other 2 is in the cache",
        ),
        (["t-none"], 300_000, "2 tracks: 2 failed", ""),
    ],
)
def test_how_many_of_the_others_are_in_the_cache_is_told_as_it_is(
    stranger: Stranger, cloud: Nginx, tracks: list[str], room: int, summary: str, told: str
) -> None:
    stranger.configure(cloud.url, max_size=room)
    ran = stranger.run("fetch", *(f"open:{track}" for track in tracks), "open:x", "--jobs", "1", code=1)
    assert ran.out == f"{summary}\n"
    failed, all_of_them = summary.count("2 failed") + 1, len(tracks) + 1
    assert ran.err.splitlines()[-1] == (
        f"cachestore: {failed} of {all_of_them} tracks could not be fetched{told}; see above"
    )
    assert len(stranger.run("ls", "--json").facts) == (0 if not told else 1)


def test_failures_of_different_kinds_are_exit_1(
    fetch: Fetch, server: Nginx, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = [f"{server.url}/status/401/x", f"{server.url}/status/500/x"]
    fetch(*urls, code=1)
    assert run(["--config", str(tmp_path / "config.toml"), "fetch", *urls]) == 1
    err = capsys.readouterr().err.splitlines()
    assert len([line for line in err if "failed" in line]) == 2
    assert err[-1].startswith("cachestore: 2 of 2 tracks could not be fetched")


def test_a_refused_connection_is_temporary(fetch: Fetch, closed_port: int) -> None:
    fetch(f"http://127.0.0.1:{closed_port}/x", code=75)


@pytest.mark.parametrize("root", ["/sys/cachestore", "file/store"])
def test_a_root_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: str
) -> None:
    if root.startswith("/sys") and not sys.platform.startswith("linux"):
        pytest.skip("only Linux has a /sys where nobody, root included, can make a folder")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert run(["fetch", "http://127.0.0.1:9/x", "--root", root]) == 4
    err = capsys.readouterr().err
    assert err.startswith(f"cachestore: the store at {tmp_path / root} cannot be used: it cannot be written (")
    assert err.endswith("); mend its permissions or name another with --root\n")


def test_an_unknown_source_is_one_sentence(fetch: Fetch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch("studo:t1", code=2)
    assert run(["--config", str(tmp_path / "config.toml"), "fetch", "studo:t1"]) == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith("cachestore: ")
    assert sentence.count("\n") == 1
    assert "studio" in sentence


@pytest.mark.parametrize("name", ["Friday", "Friday Night"])
def test_a_playlist_is_told_to_be_exported(
    fetch: Fetch, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"home:playlist/{name}"
    fetch("studio:t1", address, code=2)
    assert run(["--config", str(tmp_path / "config.toml"), "fetch", "studio:t1", address]) == 2
    captured = capsys.readouterr()
    ways = f"exported (cachestore export {shlex.quote(address)} DEST) or fetched with --mix"
    sentence = f"it names a playlist, which is {ways}; expected "
    assert captured.err.startswith(f"cachestore: '{address}' is no track address: {sentence}")
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_within_three_seconds_and_keeps_what_was_finished(
    server: Nginx, raw_server: StartRawServer, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    stalled = raw_server(Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nfLaC"))
    args = [f"{server.url}/plain/t1", f"{stalled.url}/x", "--events", "ndjson", "--root", str(tmp_path / "store")]
    command = [sys.executable, "-m", "cachestore", "fetch", *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        events: list[dict[str, Any]] = []
        # Both must have come as far as they can: the one is done, the other has its first bytes and waits.
        while not {(0, "done"), (1, "downloading")} <= {(e.get("index"), e.get("state")) for e in events}:
            events.append(json.loads(process.stdout.readline()))
        started = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        took = time.monotonic() - started
    events += [json.loads(line) for line in out.splitlines()]
    assert took < 3
    assert process.returncode == code
    assert err == "cachestore: cancelled; what was finished stays in the cache\n"
    assert [event["state"] for event in events if event.get("index") == 1][-1] == "cancelled"
    assert (events[-1]["type"], events[-1]["result"], events[-1]["exit_code"]) == ("end", "cancelled", code)
    assert run(["show", f"{server.url}/plain/t1", "--root", str(tmp_path / "store")]) == 0


def test_bodies_that_were_made_to_collide_fail_but_one_and_the_run_ends(
    stranger: Stranger, raw_server: StartRawServer
) -> None:
    one, other = make_colliding_waves()
    bodies = {b"1": one, b"2": other, b"3": make_wave(1000), b"4": one}
    server = raw_server(lambda head: answer(bodies[head.split()[1][-1:]]))
    stranger.configure(server.url)
    ran = stranger.run("fetch", *(f"{server.url}/{number}" for number in range(1, 5)), code=1)
    assert ran.err.count("other bytes with the digest") in {1, 2}, ran.err
    kept = {blob.read_bytes() for blob in stranger.blobs()}
    assert bodies[b"3"] in kept
    assert len(kept & {one, other}) == 1
    assert len(kept) == 2
