"""The words of the suite: a row is one piece of work, done by contenders, each of which is a peer or ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.measure import Command

By = Literal["wall", "cpu", "inner"]
# A bare tool shows what the system can do; it is no cache and does less than a peer.
Kind = Literal["ours", "peer", "bare"]


class Peer(Protocol):
    """A program that contends: its name, and its version once it is there."""

    @property
    def name(self) -> str:
        """What people call it."""

    def missing(self) -> str:
        """Install what is not there; return why it cannot be had, else nothing."""

    def version(self) -> str:
        """Return the version that runs."""


@dataclass(frozen=True, slots=True)
class Contender:
    """`start` prepares, untimed, in a new folder, and returns what is timed."""

    name: str
    peer: Peer
    start: Callable[[Path], Command]
    leaves_out: str = ""  # what of the work it does not do, or does on top
    kind: Kind = "peer"


@dataclass(frozen=True, slots=True)
class Row:
    """One piece of work: `files` and `size` bytes in all; figures are compared with those of `base`, `by` one of them.

    `limit` is the goal for the ratio of the first of ours, at most; `goal` says what no ratio can.
    """

    title: str
    base: str
    contenders: tuple[Contender, ...]
    files: int
    size: int = 0
    by: By = "wall"
    limit: float | None = None
    goal: str = ""
