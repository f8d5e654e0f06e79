"""What an export did, in figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cachestore.events import Provenance
from cachestore.links import LinkMode
from exporter_plugin.outcome import Hole, Placed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cachestore.errors import TrackError
    from exporter_plugin.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """What an export did.

    `total`, `downloaded`, `cached`, `local`, `failed` and `stale` count rows of the mix; `linked` (hard links),
    `copied` (reflinks too) and `bytes` count the audio files of the bundle. It took `seconds`.
    """

    dest: Path
    name: str
    total: int
    downloaded: int
    cached: int
    local: int
    failed: int
    stale: int
    bytes: int
    linked: int
    copied: int
    seconds: float
    errors: tuple[TrackError, ...]

    @property
    def result(self) -> Literal["ok", "partial"]:
        """Return "partial" for a bundle with holes."""
        return "partial" if self.errors else "ok"

    @property
    def exit_code(self) -> int:
        """Return what the command line answers: 0, or 3 for a bundle with holes."""
        return 3 if self.errors else 0


def report_of(dest: Path, name: str, outcomes: Sequence[Outcome], seconds: float) -> Report:
    """Return the report of the bundle `name` at `dest`."""
    errors = tuple(outcome.error for outcome in outcomes if isinstance(outcome, Hole))
    placed = [outcome for outcome in outcomes if isinstance(outcome, Placed)]
    origins = Counter(outcome.origin for outcome in placed)
    files = {outcome.owned for outcome in placed}
    linked = sum(own.link_mode is LinkMode.HARDLINK for own in files)
    return Report(
        dest=dest,
        name=name,
        total=len(outcomes),
        downloaded=origins[Provenance.NETWORK],
        cached=origins[Provenance.CACHE],
        local=origins[Provenance.LOCAL],
        failed=len(errors),
        stale=sum(outcome.stale for outcome in placed),
        bytes=sum(own.size for own in files),
        linked=linked,
        copied=len(files) - linked,
        seconds=seconds,
        errors=errors,
    )
