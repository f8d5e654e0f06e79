"""cachestore.cli.progress, .lines and .bars: what a person sees of a run."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
import time

import pytest
from rich.console import Console

from cachestore.cli.bars import Bars
from cachestore.cli.context import Settings
from cachestore.cli.lines import Lines, elsewhere, line
from cachestore.cli.progress import reporter
from cachestore.errors import NotFound
from cachestore.events import Event, Provenance, State, TrackEvent, WarningEvent


def settled(index: int, origin: Provenance | None, label: str = "Anna Lind - Low Tide") -> TrackEvent:
    return TrackEvent(index, f"demo:t{index}", label, State.DONE, origin, 4_200_000, 4_200_000)


def failed(index: int, state: State = State.FAILED) -> TrackEvent:
    error = NotFound("demo:t9", "Kobo - Last Stop", "the server has no such track (404)")
    return TrackEvent(index, "demo:t9", "Kobo - Last Stop", state, error=error)


def told(capsys: pytest.CaptureFixture[str], *events: Event, quiet: bool = False) -> list[str]:
    with reporter(Settings(quiet=quiet), threading.Event(), rows=14) as tell:
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
    with reporter(Settings(), threading.Event()) as tell:
        tell.start(3)
        tell(settled(0, Provenance.LOCAL))
    assert capsys.readouterr().err.startswith("[1/3] local")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def downloading(received: int, total: int | None = 100_000_000, *, elsewhere: bool = False) -> TrackEvent:
    state = State.DOWNLOADING
    return TrackEvent(2, "demo:t2", "Kobo - Last Stop", state, None, received, total, elsewhere=elsewhere)


def told_in_time(capsys: pytest.CaptureFixture[str], *events: tuple[float, TrackEvent], quiet: bool = False) -> str:
    """Return what a log has of `events`, each so many seconds after the beginning."""
    clock = Clock()
    with Lines(quiet=quiet, clock=clock) as tell:
        tell.start(14)
        for seconds, event in events:
            clock.now = 1000.0 + seconds
            tell(event)
    return capsys.readouterr().err


def test_a_log_hears_of_a_long_download_after_half_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [(second, downloading(second * 1_000_000)) for second in range(10, 41)]
    assert told_in_time(capsys, *steps) == (
        "        downloading Kobo - Last Stop  40 %, 40.0 MB of 100 MB, 1.0 MB/s, 1 min left\n"
    )


def test_a_log_is_not_flooded_by_a_download_that_takes_hours(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [(second, downloading(second, 10_800)) for second in range(10_800)]
    lines = told_in_time(capsys, *steps).splitlines()
    assert len(lines) == 38  # after 30, 90, 210, 450 seconds, then every five minutes
    assert all(re.search(r"  \d+ %, .* of 10\.8 kB, 1 B/s, \d+ (s|min|h) left$", line) for line in lines)


def test_a_log_says_what_is_known_of_a_download_without_a_length(capsys: pytest.CaptureFixture[str]) -> None:
    told = told_in_time(capsys, (0, downloading(0, None)), (30, downloading(60_000_000, None)))
    assert told == "        downloading Kobo - Last Stop  60.0 MB, 2.0 MB/s\n"


def test_a_download_that_stands_or_began_again_has_no_speed(capsys: pytest.CaptureFixture[str]) -> None:
    told = told_in_time(capsys, (0, downloading(50_000_000)), (30, downloading(50_000_000)), (90, downloading(0)))
    assert told.splitlines() == [
        "        downloading Kobo - Last Stop  50 %, 50.0 MB of 100 MB",
        "        downloading Kobo - Last Stop  0 %, 0 B of 100 MB",
    ]


def test_a_log_hears_at_once_that_another_export_downloads_a_track(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = [(second, downloading(43_900_000 + second, elsewhere=True)) for second in range(29)]
    ours = [(29.5, downloading(60_000_000)), (59.5, downloading(90_000_000)), (61, settled(2, Provenance.NETWORK))]
    assert told_in_time(capsys, *theirs, *ours).splitlines() == [
        "        waiting     Kobo - Last Stop: another export is downloading this, 43 %",
        "        downloading Kobo - Last Stop  90 %, 90.0 MB of 100 MB, 1.0 MB/s, 10 s left",
        "[ 1/14] downloaded  Anna Lind - Low Tide  4.2 MB",
    ]


@pytest.mark.parametrize(
    ("received", "total", "words"),
    [
        (43, 100, ", 43 %"),
        (999, 1000, ", 99 %"),
        (120, 100, ", 100 %"),
        (2_500_000, None, ", 2.5 MB"),
        (None, None, ""),
    ],
)
def test_another_export_is_shown_with_percent_or_bytes(received: int | None, total: int | None, words: str) -> None:
    event = TrackEvent(0, "demo:t", "T", State.DOWNLOADING, None, received, total, elsewhere=True)
    assert elsewhere(event) == f"another export is downloading this{words}"


def test_quiet_leaves_out_how_downloads_go(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = downloading(1, elsewhere=True)
    assert told_in_time(capsys, (0, downloading(0)), (99, downloading(9)), (100, theirs), quiet=True) == ""


def drawn(bars: Bars) -> str:
    """Return the bars as a terminal of 100 columns would have them."""
    screen = io.StringIO()
    Console(file=screen, width=100).print(bars._live.get_renderable())
    return screen.getvalue()


def test_a_bar_has_bytes_speed_and_the_time_left() -> None:
    clock = Clock()
    bars = Bars(clock=clock)
    for second in range(11):
        clock.now = 1000.0 + second
        bars(downloading(40_000_000 + second * 2_000_000))
    assert re.search(r"^  Kobo - Last Stop +━+\S* +60\.0/100\.0 MB +2\.0 MB/s +00:20", drawn(bars), re.MULTILINE)


def test_a_bar_without_a_length_has_bytes_and_speed() -> None:
    clock = Clock()
    bars = Bars(clock=clock)
    for second in range(11):
        clock.now = 1000.0 + second
        bars(downloading(second * 2_000_000, None))
    assert re.search(r"^  Kobo - Last Stop .* 20\.0/\? MB +2\.0 MB/s *$", drawn(bars), re.MULTILINE)


def test_a_download_that_begins_again_is_a_new_bar() -> None:
    clock = Clock()
    bars = Bars(clock=clock)
    for received in (50_000_000, 100_000_000, 0):
        clock.now += 1
        bars(downloading(received))
    assert re.search(r" 0\.0/100\.0 MB +\? +--:--", drawn(bars))


def test_what_another_export_downloads_has_words_in_place_of_a_bar() -> None:
    bars = Bars()
    bars(downloading(43_900_000, elsewhere=True))
    theirs = drawn(bars)
    assert re.search(
        r"^  Kobo - Last Stop +another export is downloading this, 43 %$", theirs.rstrip("\n"), re.MULTILINE
    )
    assert "MB" not in theirs
    bars(downloading(50_000_000))
    assert "another export" not in drawn(bars)
    assert "50.0/100.0 MB" in drawn(bars)
    bars(settled(2, Provenance.NETWORK))


PLAY = """
import sys
from threading import Event
from cachestore.cli.context import Settings
from cachestore.cli.progress import reporter
from cachestore.errors import NotFound
from cachestore.events import Provenance, State, TrackEvent, WarningEvent

def event(index, state, label, **facts):
    return TrackEvent(index, f"demo:t{index}", label, state, **facts)

QUIET, KINDS = "-q" in sys.argv, (Provenance.NETWORK, Provenance.CACHE, Provenance.LOCAL)
with reporter(Settings(quiet=QUIET), Event(), rows=4) as tell:
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
