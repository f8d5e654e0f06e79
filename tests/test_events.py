"""cachestore.cli.ndjson: the event protocol of DESIGN §9, as a program reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cachestore.cli.context import Settings
from cachestore.cli.ndjson import EventStream
from cachestore.cli.progress import reporter
from cachestore.errors import (
    BadStatus,
    Busy,
    CacheStoreError,
    Cancelled,
    MixError,
    TrackError,
    Unauthorized,
)
from cachestore.events import Event, Provenance, State, TrackEvent, WarningEvent

SCHEMA = Draft202012Validator(json.loads((Path(__file__).parent.parent / "docs" / "events.schema.json").read_text()))


def objects(written: bytes) -> list[dict[str, Any]]:
    assert written.endswith(b"\n")
    told = [json.loads(line) for line in written.decode().splitlines()]
    for one in told:
        SCHEMA.validate(one)
    return told


def stream_of(*events: Event, leaving: BaseException | None = None) -> list[dict[str, Any]]:
    out = BytesIO()
    with (
        pytest.raises(type(leaving)) if leaving is not None else nullcontext(),
        EventStream(out, threading.Event()) as stream,
    ):
        stream.start(len(events))
        for event in events:
            stream(event)
        if leaving is not None:
            raise leaving
    return objects(out.getvalue())


def progress(index: int, received: int) -> TrackEvent:
    return TrackEvent(index, f"demo:t{index}", "Low Tide", State.DOWNLOADING, Provenance.NETWORK, received, 100)


def test_every_object_has_version_sequence_time_and_type() -> None:
    told = stream_of(progress(0, 10), WarningEvent("stale", "the server is away"))
    assert [one["type"] for one in told] == ["start", "track", "warning", "end"]
    assert [one["seq"] for one in told] == [0, 1, 2, 3]
    assert {one["v"] for one in told} == {1}
    for one in told:
        assert one["ts"].endswith("Z")
        datetime.fromisoformat(one["ts"])


def test_a_track_event_has_its_row_state_origin_and_bytes() -> None:
    track = stream_of(TrackEvent(7, "demo:t1", "Anna Lind - Low Tide", State.DONE, Provenance.CACHE, 5, 5))[1]
    del track["ts"], track["seq"], track["v"], track["type"]
    assert track == {
        "index": 7,
        "track": "demo:t1",
        "label": "Anna Lind - Low Tide",
        "state": "done",
        "origin": "cache",
        "bytes": 5,
        "total": 5,
    }


def test_what_is_not_known_is_not_there() -> None:
    track = stream_of(TrackEvent(0, "demo:t1", "Low Tide", State.QUEUED))[1]
    assert set(track) == {"v", "seq", "ts", "type", "index", "track", "label", "state"}


def test_what_another_process_downloads_is_marked() -> None:
    theirs, ours = stream_of(replace(progress(0, 10), elsewhere=True), progress(1, 10))[1:3]
    assert (theirs["elsewhere"], theirs["bytes"], theirs["total"]) == (True, 10, 100)
    assert "elsewhere" not in ours


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (Unauthorized("demo:t1", "Low Tide", "the token was refused (401)"), "unauthorized", False),
        (BadStatus("demo:t1", "Low Tide", "the server failed (503)", status=503), "bad_status", True),
    ],
)
def test_a_failure_has_code_retryable_and_message(error: TrackError, code: str, retryable: bool) -> None:
    track = stream_of(TrackEvent(0, "demo:t1", "Low Tide", State.FAILED, error=error))[1]
    assert (track["code"], track["retryable"], track["message"]) == (code, retryable, str(error))


def test_progress_of_one_track_comes_at_most_five_times_a_second_and_its_other_states_always() -> None:
    out = BytesIO()
    ticks = iter(range(1000))
    stream = EventStream(out, threading.Event(), clock=lambda: next(ticks) / 100)
    for received in range(100):  # one second
        stream(progress(0, received))
    stream(TrackEvent(0, "demo:t0", "Low Tide", State.VERIFYING))
    states = [one["state"] for one in objects(out.getvalue())]
    assert states == ["downloading"] * 5 + ["verifying"]


def test_the_progress_of_one_track_does_not_silence_another() -> None:
    out = BytesIO()
    stream = EventStream(out, threading.Event(), clock=lambda: 0.0)
    stream(progress(0, 1))
    stream(progress(1, 1))
    assert [one["index"] for one in objects(out.getvalue())] == [0, 1]


@pytest.mark.parametrize(
    ("leaving", "result", "exit_code"),
    [
        (None, "ok", 0),
        (Cancelled(), "cancelled", 130),
        (Busy("the store"), "failed", 75),
        (CacheStoreError("all is lost"), "failed", 1),
        (click.exceptions.Exit(3), "partial", 3),
        (click.UsageError("no"), "failed", 2),
        (KeyboardInterrupt(), "cancelled", 130),
        (ZeroDivisionError(), "failed", 1),
    ],
)
def test_end_always_comes_with_result_and_exit_code(leaving: BaseException | None, result: str, exit_code: int) -> None:
    end = stream_of(leaving=leaving)[-1]
    assert (end["type"], end["result"], end["exit_code"]) == ("end", result, exit_code)


def test_the_end_of_a_failure_says_what_the_command_says() -> None:
    error = MixError("mix.json", "line 3, column 1", "this is no JSON")
    assert stream_of(leaving=error)[-1]["message"] == str(error)


def test_a_mix_with_a_hole_ends_partial() -> None:
    error = BadStatus("demo:t1", "Low Tide", "the server failed (500)", status=500)
    end = stream_of(TrackEvent(0, "demo:t1", "Low Tide", State.SKIPPED, error=error))[-1]
    assert (end["result"], end["exit_code"]) == ("partial", 3)


@given(st.text(min_size=1))
@example(os.fsdecode(b"not utf-8 \xff.wav"))
@example("one\u2028line")
def test_any_name_survives_on_one_line(name: str) -> None:
    told = stream_of(TrackEvent(0, name, name, State.DONE, Provenance.LOCAL))
    assert (told[1]["track"], told[1]["label"]) == (name, name)


def test_every_line_is_flushed_at_once() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as writer:
        stream = EventStream(writer, threading.Event())
        stream.start(1)
        assert json.loads(reader.readline())["type"] == "start"
        stream(progress(0, 1))
        assert json.loads(reader.readline())["type"] == "track"


def test_a_program_gets_events_only_on_stdout(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with reporter(Settings(), threading.Event(), rows=1, events="ndjson") as tell:
        tell(progress(0, 1))
    captured = capfdbinary.readouterr()
    assert [one["type"] for one in objects(captured.out)] == ["start", "track", "end"]
    assert captured.err == b""


LEFT_ALONE = """
from threading import Event
from cachestore.cli.context import Settings
from cachestore.cli.progress import reporter
from cachestore.errors import Cancelled
from cachestore.events import WarningEvent
import sys
try:
    with reporter(Settings(), Event(), rows=1, events="ndjson") as tell:
        sys.stdin.read()
        try:
            tell(WarningEvent("stale", "nobody hears this"))
        finally:
            tell(WarningEvent("stale", "nor this"))
except Cancelled:
    print("cancelled", file=sys.stderr)
print("of a plugin")
"""


def test_a_reader_that_leaves_cancels_the_run_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LEFT_ALONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        assert b'"start"' in child.stdout.readline()
        child.stdout.close()
        child.stdin.close()
        assert child.stderr.read() == b"cancelled\nof a plugin\n"
    assert child.returncode == 0


def test_a_reader_that_leaves_before_the_end_undoes_nothing() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as writer:
        with EventStream(writer, threading.Event()) as stream:
            stream.start(0)
            os.close(read_end)
        assert os.fstat(writer.fileno()).st_rdev == Path(os.devnull).stat().st_rdev


LONG = WarningEvent("stale", "x" * 200_000)


def test_a_reader_that_reads_nothing_is_waited_for_until_a_cancel() -> None:
    read_end, write_end = os.pipe()
    cancel = threading.Event()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as writer:
        asking = threading.Timer(0.3, cancel.set)
        asking.start()
        with EventStream(writer, cancel) as stream:
            stream.start(1)
            stream(LONG)  # no pipe takes it all
            assert cancel.is_set()
            stream(progress(0, 1))
        writer.close()
        lines = reader.readlines()
    asking.join()
    assert json.loads(lines[0])["type"] == "start"
    assert len(lines) == 2
    assert not lines[1].endswith(b"\n")


def test_a_reader_that_reads_on_hears_all_after_a_cancel() -> None:
    read_end, write_end = os.pipe()
    cancel = threading.Event()
    cancel.set()
    heard: list[bytes] = []
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as writer:
        reading = threading.Thread(target=lambda: heard.extend(reader.readlines()))
        reading.start()
        with EventStream(writer, cancel) as stream:
            stream.start(1)
            stream(LONG)
        writer.close()
        reading.join()
    assert [one["type"] for one in objects(b"".join(heard))] == ["start", "warning", "end"]
    assert objects(b"".join(heard))[1]["message"] == LONG.message
