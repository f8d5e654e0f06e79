"""Several processes on one store, and the server that both ask.

`Street(stranger)` starts commands that tell what happens as NDJSON: `street.fetch("open:t")` is a `Neighbour` at once.
`neighbour.until(is_waiting)` reads on until an event is so, `neighbour.end()` reads all and returns the exit code;
`neighbour.kill()` leaves it no time for anything. `fetch(..., patch=CODE)` runs Python code in the process first.
`stored(stranger)` is what the store has in the end, when nothing else is left.

`Held(data)` is a server's answer that stops in the middle until it is opened, and `ranged(data)` one that gives the
rest that it is asked for: ``raw_server(Held(data), ranged(data))`` can be resumed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.downloads import answer, rest, unchanged
from tests.raw_servers import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.stranger import Stranger

    Event = dict[str, Any]

ETAG = 'ETag: "1"'
_PATIENCE = 60.0
_BUFFER = 8192  # what a killed process had not given to its file yet, at most
_RUN = "\nimport sys\nfrom cachestore.__main__ import main\nsys.exit(main())"


def is_downloading(event: Event) -> bool:
    """Return whether the process that tells the event has begun to receive the body."""
    return event.get("state") == "downloading" and "elsewhere" not in event


def is_waiting(event: Event) -> bool:
    """Return whether the process that tells the event waits for another one."""
    return "elsewhere" in event


def has_seen(received: int) -> Callable[[Event], bool]:
    """Return whether an event tells that another process has received so much, as far as a file can show it."""
    return lambda event: is_waiting(event) and bool(event["bytes"] > received - _BUFFER)


class Neighbour:
    """A running command that writes events."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.events: list[Event] = []
        self._process = process
        self._watchdog = threading.Timer(_PATIENCE, process.kill)
        self._watchdog.start()

    def until(self, is_so: Callable[[Event], bool]) -> Event:
        """Read on until an event is so, and return it."""
        for event in self._read():
            if is_so(event):
                return event
        pytest.fail(f"it ended without the event:\n{self._told()}")

    def end(self) -> int:
        """Read on to the end and return the exit code."""
        for _ in self._read():
            pass
        told = self._told()
        code = self._process.wait()
        assert "Traceback" not in told, told
        assert "internal error" not in told, told
        return code

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self, *, after: float = 0.0) -> None:
        """Kill it after so many seconds; more than once does no harm."""
        self._watchdog.cancel()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(after)
        self._process.kill()
        with self._process:
            pass  # closes the pipes and waits

    def origin(self, index: int = 0) -> str | None:
        """Return where the bytes of a row came from in the end."""
        ends = [event for event in self.events if event.get("index") == index and event["state"] == "done"]
        assert len(ends) == 1, self.events
        found: str | None = ends[0]["origin"]
        return found

    def _read(self) -> Iterator[Event]:
        assert self._process.stdout
        for line in self._process.stdout:
            self.events.append(json.loads(line))
            yield self.events[-1]

    def _told(self) -> str:
        assert self._process.stderr
        return f"{self.events}\n{self._process.stderr.read()}"


class Street:
    """Neighbours with one store; a context manager that lets none of them outlive the test."""

    def __init__(self, stranger: Stranger) -> None:
        self._stranger = stranger
        self._neighbours: list[Neighbour] = []

    def fetch(self, *arguments: str, patch: str = "") -> Neighbour:
        """Start a fetch, after the Python code `patch`."""
        return self.start("fetch", *arguments, patch=patch)

    def start(self, *arguments: str, patch: str = "") -> Neighbour:
        """Start a command that has ``--events``, after the Python code `patch`."""
        program = ["-c", f"{patch}{_RUN}"] if patch else ["-m", "cachestore"]
        process = subprocess.Popen(
            [sys.executable, *program, *arguments, "--events", "ndjson"],
            cwd=self._stranger.home,
            env=os.environ | self._stranger.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._neighbours.append(Neighbour(process))
        return self._neighbours[-1]

    def partials(self) -> dict[str, Path]:
        """Return what lies among the partials, by suffix."""
        return {path.suffix: path for path in (self._stranger.root / "partials-v1").iterdir()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for neighbour in self._neighbours:
            neighbour.kill()


def requested(head: bytes) -> str:
    """Return the track that a request is for."""
    return head.decode("latin-1").split()[1].rpartition("/")[2]


def stored(stranger: Stranger) -> list[bytes]:
    """Return the bytes of the blobs, once a prune has left no partial, and index and blobs fit together."""
    stranger.run("prune")
    stranger.run("verify")
    assert list((stranger.root / "partials-v1").iterdir()) == []
    blobs = [path.read_bytes() for path in stranger.blobs()]
    assert len(blobs) == len(stranger.run("ls", "--json").facts)
    return blobs


class Held(Gate):
    """An answer that stops after half of its body until it is opened, and is cut after `sent` bytes, if given."""

    def __init__(self, data: bytes, *, sent: int | None = None) -> None:
        whole = answer(data, ETAG)
        head, middle = len(whole) - len(data), len(data) // 2
        super().__init__(whole[: head + middle], data[middle:sent])


def ranged(data: bytes) -> Callable[[bytes], bytes]:
    """Return how a good server answers: with the whole, the rest that is asked for, or that nothing has changed."""

    def respond(head: bytes) -> bytes:
        lines = head.decode("latin-1").lower().split("\r\n")
        fields = {name: value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if '"1"' in fields.get("if-none-match", ""):
            return unchanged(ETAG)
        start = int(fields.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        return rest(data, start, ETAG) if start else answer(data, ETAG)

    return respond
