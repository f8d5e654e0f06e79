"""Signals, and the end of standard input: they cancel a run, and the exit code says which signal it was."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING

import pytest

from cachestore.cli.signals import Cancel, cancel_on_signals
from cachestore.errors import Cancelled
from tests.downloads import come_true
from tests.raw_servers import Stall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.conftest import StartRawServer
    from tests.library import Sample
    from tests.servers import Nginx
    from tests.stranger import Stranger


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_and_gives_the_exit_code(number: signal.Signals, code: int) -> None:
    def work() -> None:
        with cancel_on_signals() as cancel:
            signal.raise_signal(number)
            assert cancel.wait(10)
            raise Cancelled

    with pytest.raises(Cancelled) as caught:
        work()
    assert caught.value.exit_code == code


def test_the_first_signal_counts() -> None:
    with cancel_on_signals() as cancel:
        signal.raise_signal(signal.SIGTERM)
        assert cancel.wait(10)
        signal.raise_signal(signal.SIGHUP)
    assert cancel.exit_code == 143


def test_the_handlers_before_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with cancel_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_nothing_is_cancelled_without_a_signal() -> None:
    with cancel_on_signals() as cancel:
        pass
    assert not cancel.is_set()


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with cancel_on_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_thread_other_than_the_main_one_catches_no_signal() -> None:
    seen: list[tuple[Cancel, object]] = []

    def work() -> None:
        with cancel_on_signals() as cancel:
            seen.append((cancel, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen[0][1] is before


def test_a_signal_that_meets_the_main_thread_inside_the_event_does_not_lock_it_up() -> None:
    with cancel_on_signals() as cancel, cancel._cond:  # type: ignore[attr-defined]  # where Event.wait is for a moment
        signal.raise_signal(signal.SIGTERM)
    assert cancel.wait(10)


# Its main thread hears of no signal while it reads, as if that had come right before the call.
_STUBBORN = """
import signal, sys
from cachestore.cli.signals import cancel_on_signals
with cancel_on_signals() as cancel:
    print("ready", flush=True)
    cancel.wait()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    print("cancelled", flush=True)
    sys.stdin.read()
"""


def _interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


def test_a_second_interrupt_ends_a_process_that_does_not_come_to_an_end() -> None:
    command = [sys.executable, "-c", _STUBBORN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        expect: Callable[[], str] = process.stdout.readline
        assert expect() == "ready\n"
        _interrupt(process)
        assert expect() == "cancelled\n"
        _interrupt(process)
        assert process.wait(10) == -signal.SIGINT


# Who does not read

_TALKATIVE = """
import sys
from threading import Thread
from cachestore.cli.signals import cancel_on_signals
def talk():
    while not cancel.is_set():
        print("x" * 1000, file=sys.OUT, flush=True)
with cancel_on_signals(stdin_eof=True) as cancel:
    if "WHO" == "another":
        drawing = Thread(target=talk)
        drawing.start()
        drawing.join()
    else:
        talk()
print("cancelled", file=sys.OUT, flush=True)
raise SystemExit(cancel.exit_code)
"""


@pytest.mark.parametrize(("who", "out"), [("main", "stdout"), ("main", "stderr"), ("another", "stderr")])
@pytest.mark.parametrize(("how", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("stdin", 130)])
def test_a_cancel_is_heard_though_nobody_reads_what_a_thread_writes(who: str, out: str, how: str, code: int) -> None:
    command = [sys.executable, "-c", _TALKATIVE.replace("OUT", out).replace("WHO", who)]
    silent, room = os.pipe()
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, **{out: room}) as process,  # type: ignore[call-overload]
        os.fdopen(silent, "rb"),
    ):
        os.close(room)
        come_true(lambda: is_full(silent))
        began = time.monotonic()
        process.stdin.close() if how == "stdin" else process.send_signal(getattr(signal, how))
        assert process.wait(10) == code
        assert time.monotonic() - began < 3


def test_who_reads_slowly_hears_all_after_a_cancel() -> None:
    command = [sys.executable, "-c", _TALKATIVE.replace("OUT", "stderr")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        come_true(lambda: is_full(process.stderr.fileno()))  # type: ignore[union-attr]
        process.terminate()
        *_, last = process.stderr
        assert last == "cancelled\n"


def is_full(pipe: int) -> bool:
    """Return whether little more goes into a pipe; what is in it stays there."""
    [held] = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return bool(held > 55_000)


# The end of standard input

_WATCHING = """
import sys
from cachestore.cli.signals import cancel_on_signals
with cancel_on_signals(stdin_eof=True) as cancel:
    print("ready", flush=True)
    print("cancelled" if cancel.wait(20) else "waited in vain", cancel.exit_code, flush=True)
"""
_DONE_WATCHING = """
import sys
from cachestore.cli.signals import cancel_on_signals
with cancel_on_signals(stdin_eof=True) as cancel:
    pass
print(cancel.is_set(), flush=True)
print(sys.stdin.read(), flush=True)
"""


def watching(script: str, stdin: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script], stdin=stdin, stdout=subprocess.PIPE, text=True)


def test_the_end_of_standard_input_cancels_as_an_interrupt_does() -> None:
    with watching(_WATCHING) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("what is said does not matter\n" * 10_000)
        process.stdin.flush()
        process.stdin.close()
        assert process.stdout.read() == "cancelled 130\n"


def test_the_death_of_a_parent_cancels() -> None:
    child = "subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=subprocess.PIPE)"
    parent = f"import subprocess, sys; {child}.wait()"
    command = [sys.executable, "-c", parent, _WATCHING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.kill()
        assert process.stdout.read() == "cancelled 130\n"


def test_a_standard_input_that_has_ended_cancels_at_once() -> None:
    with watching(_WATCHING, stdin=subprocess.DEVNULL) as process:
        assert process.communicate()[0] == "ready\ncancelled 130\n"


def test_a_closed_standard_input_cancels_at_once() -> None:
    command = ["sh", "-c", f"exec \"{sys.executable}\" -c '{_WATCHING}' <&-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("ready\ncancelled 130\n", "")


def test_a_signal_cancels_while_standard_input_goes_on() -> None:
    with watching(_WATCHING) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "cancelled 143\n"
        assert process.wait(10) == 0  # though the pipe is still open


def test_what_comes_on_standard_input_afterwards_is_left_to_others() -> None:
    with watching(_DONE_WATCHING) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "False\n"
        process.stdin.write("for somebody else")
        process.stdin.close()
        assert process.stdout.read() == "for somebody else\n"


@pytest.mark.parametrize("ended", ["</dev/null", "<&-"])
def test_a_command_without_standard_input_is_cancelled_before_it_does_anything(
    ended: str, stranger: Stranger, library: Mapping[str, Sample]
) -> None:
    library["wav"].copy_to(stranger.home, "intro.wav")
    command = [sys.executable, "-m", "cachestore", "export", stranger.mix({"path": "intro.wav"}), "DEST"]
    stranger.configure("http://127.0.0.1:9")
    shell = f'exec "$@" --cancel-on-stdin-eof {ended}'
    environment = os.environ | stranger.environment
    done = subprocess.run(["sh", "-c", shell, "sh", *command], cwd=stranger.home, env=environment, check=False)
    assert done.returncode == 130
    assert not (stranger.home / "DEST").exists()


@pytest.mark.parametrize("command", ["fetch", "export"])
def test_the_end_of_standard_input_ends_a_command_within_three_seconds_while_a_server_stalls(
    command: str, stranger: Stranger, raw_server: StartRawServer
) -> None:
    asked = threading.Event()

    def stall(_: bytes) -> Stall:
        asked.set()
        return Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nfLaC")

    url = raw_server(stall).url
    stranger.configure(url)
    arguments = {"fetch": [f"{url}/x"], "export": [stranger.mix({"url": f"{url}/x"}), "DEST"]}[command]
    started = [sys.executable, "-m", "cachestore", command, *arguments, "--cancel-on-stdin-eof"]
    with subprocess.Popen(
        started,
        cwd=stranger.home,
        env=os.environ | stranger.environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stderr
        assert asked.wait(20)
        ended = time.monotonic()
        process.stdin.close()
        assert process.stderr.read() == "cachestore: cancelled; what was finished stays in the cache\n"
        assert process.wait(20) == 130
    assert time.monotonic() - ended < 3
    assert stranger.has_no_bundle()


def test_without_the_option_the_end_of_standard_input_means_nothing(stranger: Stranger, cloud: Nginx) -> None:
    stranger.run("fetch", "open:t-flac", stdin="")


def test_a_mix_on_standard_input_and_its_end_as_a_cancel_exclude_each_other(stranger: Stranger) -> None:
    told = stranger.run("export", "-", "DEST", "--cancel-on-stdin-eof", stdin='{"tracks": []}', code=2).err
    assert "--cancel-on-stdin-eof needs standard input for itself" in told


# The wait for a mix, or for the configuration, on a pipe that nobody writes to


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("wait", ["mix on stdin", "mix in a pipe", "configuration in a pipe"])
@pytest.mark.parametrize("command", ["fetch", "export"])
def test_a_signal_ends_the_wait_for_what_is_to_be_read_and_the_end_is_told(
    command: str, wait: str, number: signal.Signals, stranger: Stranger
) -> None:
    stranger.configure("http://127.0.0.1:9")
    pipe = stranger.home / "pipe"
    os.mkfifo(pipe)
    mix = {"mix on stdin": "-", "mix in a pipe": str(pipe)}.get(wait) or stranger.mix({"source": "open", "id": "1"})
    arguments = {"fetch": ["--mix", mix], "export": [mix, "DEST"]}[command]
    if wait == "configuration in a pipe":
        arguments += ["--config", str(pipe)]
    started = [sys.executable, "-m", "cachestore", command, *arguments, "--events", "ndjson"]
    environment = os.environ | stranger.environment | {"PYTHONPROFILEIMPORTTIME": "1"}
    with subprocess.Popen(
        started,
        cwd=stranger.home,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert any("cachestore.aside" in line for line in process.stderr)  # by which it is read
        process.send_signal(number)
        out, err = process.stdout.read(), process.stderr.read()  # while its stdin goes on
    [end] = [json.loads(line) for line in out.splitlines()]
    assert (end["type"], end["result"], end["exit_code"]) == ("end", "cancelled", 128 + number)
    assert process.returncode == 128 + number
    assert "cachestore: cancelled; what was finished stays in the cache" in err
    assert "Traceback" not in err
