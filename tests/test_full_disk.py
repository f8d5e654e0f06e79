"""A disk that is nearly full, at every command: one sentence, the right exit code, nothing lost, and prune works."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.clouds import Cloud
from tests.crashes import IN_FULL
from tests.small_disk import BODIES, COMMANDS
from tests.test_bad_places import with_mounts_of_its_own

if TYPE_CHECKING:
    from tests.conftest import StartRawServer
    from tests.stranger import Stranger

_ALL = range(40)


@pytest.mark.long
def test_a_disk_that_is_nearly_full_costs_nothing_that_was_there(
    stranger: Stranger, raw_server: StartRawServer
) -> None:
    url = raw_server(Cloud({track: [body] for track, body in BODIES.items()})).url
    lefts = [str(left) for left in (_ALL if IN_FULL else [0, 1, *random.sample(_ALL[2:], 2)])]
    done = subprocess.run(
        [*with_mounts_of_its_own(), sys.executable, "-m", "tests.small_disk", str(stranger.home), url, *lefts],
        cwd=Path(__file__).parents[1],
        env=os.environ | stranger.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    attempts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(attempts) == len(COMMANDS) * len(lefts), done.stderr
    wrong = [json.dumps(attempt) for attempt in attempts if not is_right(attempt)]
    assert not wrong, "\n".join(wrong)


def is_right(attempt: dict[str, Any]) -> bool:
    """Return whether a command and the prune after it worked, or said in one sentence what is missing."""
    both = (attempt["code"], attempt["told"]), attempt["prune"]
    return all(says_it_is_full(code, told) for code, told in both) and attempt["wrong"] == []


def says_it_is_full(code: int, told: str) -> bool:
    """Return whether a command is done, or says in one sentence that there is no room."""
    errors = [line for line in told.splitlines() if line.startswith("cachestore: ")]
    is_said = len(errors) == 1 and ("is full" in told or "cannot be reached" in told)
    return "Traceback" not in told and (code == 0 or (code == 4 and is_said))
