"""What docs/operations.md has for cron, systemd and launchd is run as it stands there, in a bare environment."""

from __future__ import annotations

import configparser
import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cachestore.config import default_config_path, load_config
from cachestore.store.writer import Store
from tests.stores import put

if TYPE_CHECKING:
    from tests.stranger import Stranger

PAGE = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
SCRIPT = Path(sys.executable).with_name("cachestore")
NETWORK = ("httpx", "httpcore", "ssl", "http.client", "urllib.request")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def here(command: str) -> str:
    """Return a command of the page with the path of the program as it is on this machine."""
    return re.sub(r"/(home|Users)/dj/\.venv/bin/cachestore", shlex.quote(str(SCRIPT)), command)


def crontab() -> list[str]:
    """Return the commands of the crontab lines, as cron hands them to sh."""
    lines = [line for block in blocks("crontab") for line in block.splitlines()]
    return [re.fullmatch(r"(?:[\d*]+ ){5}(.*)", line)[1] for line in lines]  # type: ignore[index]  # or the test fails


def units() -> dict[str, configparser.ConfigParser]:
    found = {}
    for block in blocks("ini"):
        name = re.match(r"# ~/\.config/systemd/user/(\S+)\n", block)
        assert name, block
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
        parser.read_string(block)
        found[name[1]] = parser
    return found


def agent() -> dict[str, object]:
    [block] = blocks("xml")
    loaded: dict[str, object] = plistlib.loads(block.encode())
    return loaded


def bare(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as cron does: with a home and hardly anything else."""
    environment = {"HOME": str(home), "LOGNAME": "dj", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    return subprocess.run(
        command, cwd=home, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


WAYS = {
    "cron": lambda: ["/bin/sh", "-c", here(crontab()[0])],
    "verify by cron": lambda: ["/bin/sh", "-c", here(crontab()[1])],
    "systemd": lambda: shlex.split(here(units()["cachestore-prune.service"]["Service"]["ExecStart"])),
    "launchd": lambda: [here(argument) for argument in agent()["ProgramArguments"]],  # type: ignore[attr-defined]
}
EVERY_WAY = pytest.mark.parametrize("way", WAYS)
PRUNING = pytest.mark.parametrize("way", ["cron", "systemd", "launchd"])


@pytest.fixture
def home(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a home with a store, and a source whose token nobody has set."""
    monkeypatch.setenv("HOME", str(stranger.home))
    with Store.open(load_config().root) as store:
        put(store, "1", b"a" * 5000)
    configure("min_free = 0")
    return stranger.home


def configure(keys: str) -> None:
    source = '[sources.x]\nkind = "http"\nurl = "https://x.example/{id}"\nheaders = { A = "${NEVER_SET}" }\n'
    default_config_path().parent.mkdir(parents=True, exist_ok=True)
    default_config_path().write_text(f"{keys}\n{source}")


@EVERY_WAY
def test_when_all_is_well_nothing_is_said(way: str, home: Path) -> None:
    ran = bare(home, *WAYS[way]())
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@PRUNING
def test_what_is_over_the_bound_goes_without_a_word(way: str, home: Path) -> None:
    configure("min_free = 0\nmax_size = 0\nmin_age = 0")
    ran = bare(home, *WAYS[way]())
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    with Store.open(load_config().root) as store:
        assert list(store.entries()) == []


@PRUNING
def test_a_bound_that_cannot_be_reached_is_one_line(way: str, home: Path) -> None:
    configure("min_free = 0\nmax_size = 0")
    ran = bare(home, *WAYS[way]())
    assert (ran.returncode, ran.stdout) == (4, "")
    [line] = ran.stderr.splitlines()
    assert "8192 bytes are missing: 5.0 kB logical, 0 B freed, 8.2 kB younger than min_age;" in line


@EVERY_WAY
def test_where_no_store_is_one_line_says_so(way: str, stranger: Stranger) -> None:
    ran = bare(stranger.home, *WAYS[way]())
    assert (ran.returncode, ran.stdout) == (4, "")
    [line] = ran.stderr.splitlines()
    assert "no store at" in line


def test_pruning_opens_no_socket_and_imports_no_network(home: Path) -> None:
    script = f"""
import sys
sys.addaudithook(lambda event, _: event.startswith("socket.") and sys.exit(f"used: {{event}}"))
from cachestore.cli.main import run
assert run(["prune", "--quiet"]) == 0
sys.exit(" ".join(name for name in {NETWORK} if name in sys.modules))
"""
    ran = bare(home, sys.executable, "-c", script)
    assert ran.stderr.strip() == ""


def test_the_timer_starts_the_service_every_night_and_makes_up_for_a_missed_one() -> None:
    assert set(units()) == {"cachestore-prune.service", "cachestore-prune.timer"}
    timer = units()["cachestore-prune.timer"]
    assert dict(timer["Timer"]) == {"OnCalendar": "*-*-* 04:17:00", "Persistent": "true"}
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert units()["cachestore-prune.service"]["Service"]["Type"] == "oneshot"


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    if not (program := shutil.which("systemd-analyze")):
        pytest.skip("NOT RUN: no systemd-analyze here")
    for name, block in zip(units(), blocks("ini"), strict=True):
        (tmp_path / name).write_text(here(block))
    files = [str(tmp_path / name) for name in units()]
    ran = subprocess.run(
        [program, "verify", "--user", "--man=no", *files],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in ran.stderr.splitlines() if "cachestore-prune" in line] == []


def test_launchd_prunes_once_a_day() -> None:
    told = agent()
    assert (told["Label"], told["StartCalendarInterval"]) == ("cachestore.prune", {"Hour": 4, "Minute": 17})
