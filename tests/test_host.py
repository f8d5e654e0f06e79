"""A program in another language drives an export: it reads events, cancels by a signal, and sees `end` and exit code.

What it reads is held against docs/events.schema.json, and the transcript of docs/host-apps.md against what happens.
"""

from __future__ import annotations

import json
import re
import signal
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from cachestore.cli.ndjson import _facts
from cachestore.errors import NotFound
from cachestore.events import Provenance, State, TrackEvent
from tests.library import make_wave
from tests.stranger import row

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Iterator

    from tests.servers import Nginx
    from tests.stranger import Stranger

    Start = Callable[..., "Host"]

DOCS = Path(__file__).parent.parent / "docs"
SCHEMA: dict[str, Any] = json.loads((DOCS / "events.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
TERMINAL = {"done", "skipped", "failed", "cancelled"}
Told = dict[str, Any]


class Host:
    """What a host program does: it starts an export and reads its events as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.told: list[Told] = []

    def events(self) -> Iterator[Told]:
        """Yield the events; each has to be valid, in sequence, and the last one is `end`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            VALIDATOR.validate(event)
            assert event["seq"] == len(self.told)
            assert not self.told or self.told[-1]["type"] != "end"
            self.told.append(event)
            yield event

    def finish(self) -> int:
        """Read on to the end and return the exit code, which has to be that of `end`."""
        for _ in self.events():
            pass
        code = self.process.wait(60)
        assert self.told[-1]["type"] == "end"
        assert self.told[-1]["exit_code"] == code
        return code

    def states(self, index: int) -> list[str]:
        """Return the states that a row went through; repeated ones count once."""
        states = [event["state"] for event in self.told if event["type"] == "track" and event["index"] == index]
        return [state for state, _ in groupby(states)]


@pytest.fixture
def start(stranger: Stranger) -> Iterator[Start]:
    running: list[Host] = []

    def export(*arguments: str) -> Host:
        running.append(Host(stranger.start("export", *arguments, "--events", "ndjson")))
        return running[-1]

    yield export
    for host in running:
        host.process.kill()
        host.process.communicate()


def ends(told: Iterable[Told]) -> dict[int, list[str]]:
    """Return the terminal states of each row."""
    found: dict[int, list[str]] = {}
    for event in told:
        if event["type"] == "track" and event["state"] in TERMINAL:
            found.setdefault(event["index"], []).append(event["state"])
    return found


def test_a_host_sees_every_row_end_once(start: Start, stranger: Stranger, cloud: Nginx) -> None:
    host = start(stranger.mix(row("t-flac"), row("t-wav"), row("t-flac")), "DEST")
    assert host.finish() == 0
    assert host.told[0]["rows"] == 3
    assert ends(host.told) == {0: ["done"], 1: ["done"], 2: ["done"]}
    assert host.states(1) == ["queued", "checking", "downloading", "verifying", "linking", "done"]
    assert host.told[-1]["result"] == "ok"


def test_a_host_cancels_half_way(start: Start, stranger: Stranger, cloud: Nginx, music: Path) -> None:
    (music / "long").write_bytes(make_wave(6_000_000))
    mix = stranger.mix(row("t-flac"), row("long", source="slow"))
    host = start(mix, "DEST")
    for event in host.events():
        if event["type"] == "track" and event["index"] == 1 and event["state"] == "downloading" and event.get("bytes"):
            break
    host.process.send_signal(signal.SIGTERM)
    assert host.finish() == 143
    assert (host.told[-1]["result"], ends(host.told)[1]) == ("cancelled", ["cancelled"])
    assert not (stranger.home / "DEST").exists()
    again = start(stranger.mix(row("t-flac")), "DEST", "--offline")  # what was finished is kept
    assert again.finish() == 0


def test_a_host_that_is_given_no_mix_gets_an_end_with_the_sentence(
    start: Start, stranger: Stranger, cloud: Nginx
) -> None:
    host = start("none.json", "DEST")
    assert host.finish() == 2
    [end] = host.told
    assert (end["result"], "there is no such file" in end["message"]) == ("failed", True)


@pytest.mark.parametrize("option", ["--template={nope}", "--format=nope"])
def test_what_is_wrong_with_an_option_is_told_before_any_row_begins(
    start: Start, stranger: Stranger, cloud: Nginx, option: str
) -> None:
    host = start(stranger.mix(row("t1")), "DEST", option)
    assert host.finish() == 2
    assert [event["type"] for event in host.told] == ["end"]


def test_a_host_that_refuses_holes_gets_every_failure(start: Start, stranger: Stranger, cloud: Nginx) -> None:
    host = start(stranger.mix(row("t-none"), row("t-flac"), row("gone")), "DEST", "--on-error", "fail")
    assert host.finish() == 1
    assert ends(host.told) == {0: ["failed"], 1: ["done"], 2: ["failed"]}
    assert {event["code"] for event in host.told if event.get("state") == "failed"} == {"not_found"}


def transcript() -> list[Told]:
    [block] = re.findall(r"^```ndjson\n(.*?)^```$", (DOCS / "host-apps.md").read_text(), re.MULTILINE | re.DOTALL)
    return [json.loads(line) for line in block.splitlines()]


def lasting(told: list[Told]) -> list[Told]:
    """Return events without times, in the order of rows, and with progress once: downloads end in any order."""
    kept = [{k: v for k, v in event.items() if k not in {"ts", "seq"}} for event in told]
    kept = [event | ({"bytes": None} if event.get("state") == "downloading" else {}) for event in kept]
    by_row = sorted(kept, key=lambda event: event.get("index", -1 if event["type"] == "start" else 99))
    return [event for event, _ in groupby(by_row)]


def test_the_transcript_of_the_page_is_what_happens(
    start: Start, stranger: Stranger, cloud: Nginx, music: Path
) -> None:
    told = transcript()
    for number, event in enumerate(told):
        VALIDATOR.validate(event)
        assert event["seq"] == number
    (stranger.home / "Intro.wav").write_bytes(make_wave(30_044))
    (music / "t42").write_bytes(make_wave(1_000_044))
    tracks = [row("t42", "studio", title="Opus", artist="E.P."), row("t99", "studio", title="Unreleased")]
    host = start(stranger.mix(*tracks, {"path": "Intro.wav", "title": "Intro"}), "DEST", "--on-error", "skip")
    assert host.finish() == 3
    assert lasting(host.told) == lasting(told)


def test_the_schema_has_all_that_an_event_can_have() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    error = NotFound("s:1", "Opus", "gone")
    event = TrackEvent(0, "s:1", "Opus", State.FAILED, Provenance.CACHE, 1, 1, error, elsewhere=True, stale=True)
    track = SCHEMA["$defs"]["track"]["properties"]
    assert set(_facts(event)) == set(track) - {"type"}
    assert set(track["state"]["enum"]) == set(State)
    assert set(track["origin"]["enum"]) == set(Provenance)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "track", "index": 0, "track": "s:1", "label": "x", "state": "failed"},
        {"type": "track", "index": 0, "track": "s:1", "label": "x", "state": "done", "code": "x"},
        {"type": "track", "index": -1, "track": "s:1", "label": "x", "state": "done"},
        {"type": "end", "result": "ok"},
        {"type": "start"},
        {"type": "start", "rows": 1, "token": "x"},
        {"type": "else"},
    ],
)
def test_the_schema_refuses_what_is_no_event(wrong: Told) -> None:
    assert not VALIDATOR.is_valid({"v": 1, "seq": 0, "ts": "2026-01-31T12:00:00.000Z"} | wrong)
