"""cachestore.cli.progress, .lines and .bars: what a person sees of a run."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time

import pytest

from cachestore.cli.context import Settings
from cachestore.cli.lines import line
from cachestore.cli.progress import reporter
from cachestore.errors import NotFound
from cachestore.events import Event, Provenance, State, TrackEvent, WarningEvent


def settled(index: int, origin: Provenance | None, label: str = "Anna Lind - Low Tide") -> TrackEvent:
    return TrackEvent(index, f"demo:t{index}", label, State.DONE, origin, 4_200_000, 4_200_000)


def failed(index: int, state: State = State.FAILED) -> TrackEvent:
    error = NotFound("demo:t9", "Kobo - Last Stop", "the server has no such track (404)")
    return TrackEvent(index, "demo:t9", "Kobo - Last Stop", state, error=error)


def told(capsys: pytest.CaptureFixture[str], *events: Event, quiet: bool = False) -> list[str]:
    with reporter(Settings(quiet=quiet), rows=14) as tell:
        for event in events:
            tell(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_log_gets_one_line_for_each_settled_row_counted_in_the_order_they_settle(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told(
        capsys,
        TrackEvent(0, "demo:t0", "Anna Lind - Low Tide", State.QUEUED),
        TrackEvent(0, "demo:t0", "Anna Lind - Low Tide", State.DOWNLOADING, Provenance.NETWORK, 1, 2),
        settled(3, Provenance.NETWORK),
        settled(0, Provenance.CACHE),
        settled(1, Provenance.LOCAL),
        failed(2),
    ) == [
        "[ 1/14] downloaded  Anna Lind - Low Tide  4.2 MB",
        "[ 2/14] cached      Anna Lind - Low Tide  4.2 MB",
        "[ 3/14] local       Anna Lind - Low Tide  4.2 MB",
        "[ 4/14] failed      Kobo - Last Stop: the server has no such track (404)",
    ]


def test_quiet_leaves_only_failures_holes_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    warning = WarningEvent("stale", "the server is away")
    assert told(capsys, settled(0, Provenance.NETWORK), warning, failed(1), failed(2, State.SKIPPED), quiet=True) == [
        "warning: the server is away",
        "[ 2/14] failed      Kobo - Last Stop: the server has no such track (404)",
        "[ 3/14] skipped     Kobo - Last Stop: the server has no such track (404)",
    ]


def test_cancelled_rows_are_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, TrackEvent(0, "demo:t0", "Low Tide", State.CANCELLED)) == []


def test_a_row_of_unknown_size_has_none() -> None:
    assert line(TrackEvent(0, "Intro.wav", "Intro", State.DONE, Provenance.LOCAL)) == "local       Intro"


def test_a_title_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    (printed,) = told(capsys, settled(0, Provenance.NETWORK, "\x1b[2J[bold]Loud\r\nfaked line"))
    assert "\x1b" not in printed
    assert "[bold]Loud" in printed


def test_the_number_of_rows_may_come_later(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(Settings()) as tell:
        tell.start(3)
        tell(settled(0, Provenance.LOCAL))
    assert capsys.readouterr().err.startswith("[1/3] local")


PLAY = """
import sys
from cachestore.cli.context import Settings
from cachestore.cli.progress import reporter
from cachestore.errors import NotFound
from cachestore.events import Provenance, State, TrackEvent, WarningEvent

def event(index, state, label, **facts):
    return TrackEvent(index, f"demo:t{index}", label, state, **facts)

QUIET, KINDS = "-q" in sys.argv, (Provenance.NETWORK, Provenance.CACHE, Provenance.LOCAL)
with reporter(Settings(quiet=QUIET), rows=4) as tell:
    for index in range(4):
        tell(event(index, State.QUEUED, f"Row {index}"))
        tell(event(index, State.CHECKING, f"Row {index}"))
    for received in range(0, 5_000_000, 250_000):
        tell(event(0, State.DOWNLOADING, "[bold]Low Tide\\x1b[2J", received=received, total=5_000_000))
        if "--draw" in sys.argv:
            tell._live.refresh()
    tell(event(0, State.VERIFYING, "[bold]Low Tide", received=5_000_000, total=5_000_000))
    tell(event(0, State.DONE, "[bold]Low Tide\\x1b[2J", origin=KINDS[0], received=5_000_000, total=5_000_000))
    tell(event(1, State.DONE, "Cached Row", origin=KINDS[1]))
    tell(event(2, State.DONE, "Local Row", origin=KINDS[2]))
    tell(WarningEvent("stale", "a warning"))
    if "--draw" in sys.argv:
        tell._live.refresh()
    tell(event(3, State.FAILED, "Gone", error=NotFound("demo:t3", "Gone", "no such track")))
    print("the summary")
print("rich" in sys.modules)
"""


def play(*arguments: str, term: str = "xterm-256color") -> tuple[str, str]:
    """Run PLAY with stderr on a pseudo-terminal and return what that showed, and stdout."""
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as screen:
        child = subprocess.Popen(
            [sys.executable, "-c", PLAY, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=slave,
            env=os.environ | {"TERM": term, "COLUMNS": "100", "LINES": "24"},
        )
        os.close(slave)
        shown = b"".join(iter(lambda: _read(screen.fileno()), b""))
        out, _ = child.communicate()
    assert child.returncode == 0, shown.decode()
    return shown.decode(), out.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux answers EIO when the last writer is gone
        return b""


def without_escapes(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def test_a_terminal_shows_a_bar_for_the_track_in_flight_and_one_for_the_run() -> None:
    shown = without_escapes(play("--draw")[0])
    assert re.search(r"\[bold\]Low Tide\S* +━+.* 2\.5/5\.0 MB", shown)
    assert re.search(r"3/4 ━+.* 1 cached, 1 downloaded, 1 local", shown)


def test_downloads_failures_and_warnings_stay_on_the_screen_and_the_rest_does_not_scroll_by() -> None:
    text = without_escapes(play()[0])
    assert "downloaded  [bold]Low Tide" in text
    assert "failed      Gone: no such track" in text
    assert "warning: a warning" in text
    assert "Cached Row" not in text
    assert "Local Row" not in text


def test_bars_let_no_escape_of_a_title_through() -> None:
    assert "\x1b[2J" not in play("--draw")[0]


def test_bars_do_not_take_what_the_command_prints_elsewhere() -> None:
    shown, out = play()
    assert out == "the summary\nTrue\n"
    assert "the summary" not in shown


@pytest.mark.parametrize(("arguments", "term"), [(("-q",), "xterm"), ((), "dumb")])
def test_no_bars_when_quiet_or_where_none_can_be_drawn(arguments: tuple[str, ...], term: str) -> None:
    shown, out = play(*arguments, term=term)
    assert out == "the summary\nFalse\n", "rich was imported for nothing"
    assert "\x1b" not in shown
    assert "failed      Gone: no such track" in shown


def test_without_a_terminal_rich_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PLAY], capture_output=True, text=True, check=True)
    assert done.stdout == "the summary\nFalse\n"


def test_a_long_mix_is_told_in_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert len(told(capsys, *(settled(index, Provenance.NETWORK) for index in range(2000)))) == 2000
    assert time.monotonic() - began < 2
