"""Answers in any order: whatever a server does that names its versions, a body is of one of them, and whole."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachestore.download import Body, NotModified
from cachestore.errors import TrackError
from tests.downloads import SMALL, Desk, answer, bare, rest, strong, unchanged, wave

if TYPE_CHECKING:
    from cachestore.version import Version
    from tests.conftest import StartRawServer

OTHER = wave(9000, seed=8)
BODIES = {'"a"': SMALL, '"b"': OTHER}
HOWS = [
    "whole",
    "cut",
    "cut, no length",
    "cut, no etag",
    "rest",
    "rest as asked",
    "rest, cut",
    "416",
    "304",
    "304, no etag",
    "503",
    "nothing",
]
Step = tuple[str, str, int]  # how it answers, with which version, from or up to where


@dataclass
class Script:
    """What a server answers to the next requests, in any way that tells the version by its ETag."""

    steps: list[Step] = field(default_factory=list)

    def next(self, head: bytes) -> bytes:
        how, tag, at = self.steps.pop(0) if self.steps else ("whole", '"a"', 0)
        body, etag = BODIES[tag], f"ETag: {tag}"
        asked_from = int(head.partition(b"Range: bytes=")[2].partition(b"-")[0] or 1)
        answers = {
            "whole": answer(body, etag),
            "cut": answer(body[:at], etag, length=9000),
            "cut, no length": bare(body[:at], etag),
            "cut, no etag": answer(body[:at], length=9000),
            "rest": rest(body, at, etag),
            "rest as asked": rest(body, asked_from, etag),
            "rest, cut": rest(body, asked_from, etag)[:-1],
            "416": answer(b"", status="416 Range Not Satisfiable"),
            "304": unchanged(etag),
            "304, no etag": unchanged(),
            "503": answer(b"", status="503 Service Unavailable"),
            "nothing": b"",
        }
        return answers[how]


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def scripted(raw_server: StartRawServer, script: Script) -> str:
    """The URL of a server that answers by the script."""
    return raw_server(script.next).url


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    steps=st.lists(st.tuples(st.sampled_from(HOWS), st.sampled_from(list(BODIES)), st.integers(1, 8999)), max_size=8),
    known=st.sampled_from([[], [strong('"a"')], [strong('"z"')]]),
)
def test_whatever_a_server_does_a_body_is_of_one_version_and_whole(
    desk: Desk, script: Script, scripted: str, steps: list[Step], known: list[Version]
) -> None:
    for left in desk.folder.iterdir():
        left.unlink()
    script.steps = list(steps)
    for _ in range(len(steps) + 1):
        with suppress(TrackError):
            outcome = desk.get(scripted, known, retries=2)
            if isinstance(outcome, Body):
                assert outcome.version is not None
                assert outcome.path.read_bytes() == BODIES[outcome.version.value]
                outcome.path.unlink()
            else:
                assert isinstance(outcome, NotModified)
                assert outcome.version in known
