"""A source without manners, as a package of somebody else in a real process: the command stays what it promises."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.packages import build_wheel, install

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.stranger import Stranger

_POINTS = '[project.entry-points."cachestore.sources"]\nrude = "my_package:Rude"\n'
# Each does one thing that no source should, and shows by a file that it has begun.
_MODULE = """
import multiprocessing, os, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cachestore import Origin


def begin():
    Path("begun").touch()


def hang():
    begin()
    time.sleep(60)


def pool(source):
    return ThreadPoolExecutor().submit(hang).result()


def thread(source):
    threading.Thread(target=hang).start()


def child(source):
    multiprocessing.get_context("spawn").Process(target=hang).start()
    begin()
    time.sleep(60)


def exit_hook(source):
    import atexit
    atexit.register(hang)


def prints(source):
    print("from the source")
    os.write(1, b"past Python\\n")
    subprocess.run(["echo", "from a child"])
    raise ValueError


class Rude:
    def __init__(self, config, environ, web):
        self.does = config.options["does"]
        if self.does == "init":
            pool(self)

    def resolve(self, track):
        globals()[self.does](self)
        return Origin("http://127.0.0.1:9/x")
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed in."""
    folder = tmp_path_factory.mktemp("rude")
    return install(build_wheel(folder, {"my_package.py": _MODULE}, _POINTS), folder / "installed")


@pytest.fixture
def rude(stranger: Stranger, installed: Path) -> Stranger:
    stranger.environment["PYTHONPATH"] = str(installed)
    return stranger


def configure(stranger: Stranger, does: str, **settings: float) -> None:
    source = f'[sources.rude]\nkind = "rude"\ndoes = "{does}"\n'
    stranger.configure("http://127.0.0.1:9", sources=source, **settings)


def wait_until_begun(stranger: Stranger, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not (stranger.home / "begun").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def told(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    """Return what a process says, which has to come to its end before its plugin does."""
    out, err = process.communicate(timeout=30)
    return out, err, process.returncode


@pytest.mark.long
@pytest.mark.parametrize("does", ["pool", "init", "child"])
def test_what_a_plugin_left_running_keeps_no_cancelled_command(rude: Stranger, does: str) -> None:
    configure(rude, does)
    with rude.start("fetch", "rude:1") as process:
        wait_until_begun(rude, process)
        process.send_signal(signal.SIGINT)
        ended = told(process)
    assert ended == ("", "cachestore: cancelled; what was finished stays in the cache\n", 130)


@pytest.mark.long
@pytest.mark.parametrize("does", ["thread", "exit_hook"])
def test_what_a_plugin_left_running_keeps_no_command_that_is_done(rude: Stranger, does: str) -> None:
    configure(rude, does)
    with rude.start("fetch", "rude:1") as process:
        out, err, code = told(process)
    assert (out, code) == ("1 track: 1 failed\n", 75)
    assert "Traceback" not in err


@pytest.mark.long
def test_a_plugin_that_outlasts_total_timeout_keeps_no_command(rude: Stranger) -> None:
    configure(rude, "pool", total_timeout=1)
    with rude.start("fetch", "rude:1", "--events", "ndjson") as process:
        out, err, code = told(process)
    assert '"type":"end","result":"failed","exit_code":75' in out.splitlines()[-1]
    assert err == "cachestore: rude:1: the source rude did not return within total_timeout\n"
    assert code == 75


@pytest.mark.long
def test_more_interrupts_end_the_process_without_a_word_of_python(rude: Stranger) -> None:
    configure(rude, "pool")
    with rude.start("fetch", "rude:1", "--events", "ndjson") as process:
        wait_until_begun(rude, process)
        process.send_signal(signal.SIGINT)
        assert process.stdout
        assert any('"end"' in line for line in process.stdout)
        for _ in range(20):
            if process.poll() is None:
                os.kill(process.pid, signal.SIGINT)
            time.sleep(0.01)
        out, err, exit_code = told(process)
    # The second one ends the process at once, if that has not told its exit code yet.
    assert (out, exit_code) in {("", 130), ("", -signal.SIGINT)}
    assert err in {"", "cachestore: cancelled; what was finished stays in the cache\n"}


def test_what_a_plugin_prints_is_no_event(rude: Stranger) -> None:
    configure(rude, "prints")
    ran = rude.run("fetch", "rude:1", "--events", "ndjson", code=1)
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert [event["type"] for event in events[:1] + events[-1:]] == ["start", "end"]
    for words in ("from the source", "past Python", "from a child"):
        assert words in ran.err.splitlines()
