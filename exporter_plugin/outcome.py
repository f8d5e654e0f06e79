"""What became of the rows of a mix: each has its file in the bundle, or is a hole; and all of it in figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from cachestore.errors import TracksFailed
from cachestore.events import Provenance
from cachestore.links import LinkMode
from exporter_plugin.manifest import TrackRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cachestore.entry import Entry
    from cachestore.errors import TrackError
    from exporter_plugin.manifest import OwnedFile
    from exporter_plugin.row import Row


@dataclass(frozen=True, slots=True)
class Placed:
    """A row that has its file in the bundle; a local track has no `entry`."""

    row: Row
    owned: OwnedFile
    origin: Provenance | None = None
    entry: Entry | None = None
    stale: bool = False

    @property
    def file(self) -> str:
        """Return the file, relative to the bundle, with ``/``."""
        return self.owned.file

    def record(self, index: int) -> TrackRecord:
        """Return the row as bundle.json has it. A file that somebody edited has none of the facts of an entry."""
        own, entry = self.owned, self.entry
        if own.is_edited:
            return TrackRecord(index, self.row.address, self.row.label, "done", own.file, edited=True)
        named = partial(TrackRecord, index, self.row.address, self.row.label)
        record = partial(named, "done", own.file, own.size, own.link_mode)
        if entry is None or entry.digest != own.content:
            return record()
        return record(
            key=entry.key,
            validator=entry.version.value,
            validator_kind=entry.version.kind,
            place=entry.place,
            digest=entry.digest,
            freshness="stale" if self.stale else "fresh",
        )


@dataclass(frozen=True, slots=True)
class Hole:
    """A row that failed."""

    row: Row
    error: TrackError

    def record(self, index: int) -> TrackRecord:
        """Return the row as bundle.json has it."""
        error = {"code": self.error.code, "message": self.error.reason}
        return TrackRecord(index, self.row.address, self.row.label, "skipped", error=error)


Outcome = Placed | Hole


@dataclass(eq=False)
class ExportFailed(TracksFailed):
    """Tracks failed, so nothing was published; of `cloud` rows of cloud tracks, `kept` are in the cache."""

    cloud: int = 0
    kept: int = 0

    def __str__(self) -> str:
        failures = "; ".join(str(error) for error in self.failures)
        return f"nothing was published, {len(self.failures)} of {self.rows} tracks failed: {failures}"


@dataclass(frozen=True, slots=True)
class Report:
    """What an export did.

    `total`, `cloud`, `downloaded`, `cached`, `local`, `failed` and `stale` count rows of the mix; `linked` (hard
    links), `copied` (reflinks too), `edited` (neither, since somebody changed them) and `bytes` count the audio files
    of the bundle. It took `seconds`. Where rows failed, `kept` says of how many `cloud` rows the cache has the bytes
    now, which the next export need not download.
    """

    dest: Path
    name: str
    total: int
    cloud: int
    downloaded: int
    cached: int
    local: int
    failed: int
    stale: int
    kept: int | None
    bytes: int
    linked: int
    copied: int
    edited: int
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


def report_of(dest: Path, name: str, outcomes: Sequence[Outcome], kept: int | None, seconds: float) -> Report:
    """Return the report of the bundle `name` at `dest`."""
    errors = tuple(outcome.error for outcome in outcomes if isinstance(outcome, Hole))
    placed = [outcome for outcome in outcomes if isinstance(outcome, Placed)]
    origins = Counter(outcome.origin for outcome in placed)
    files = {outcome.owned.file: outcome.owned for outcome in placed}.values()
    edited = [own for own in files if own.is_edited]
    ours = [own for own in files if not own.is_edited]
    linked = sum(own.link_mode is LinkMode.HARDLINK for own in ours)
    return Report(
        dest=dest,
        name=name,
        total=len(outcomes),
        cloud=sum(outcome.row.path is None for outcome in outcomes),
        downloaded=origins[Provenance.NETWORK],
        cached=origins[Provenance.CACHE],
        local=origins[Provenance.LOCAL],
        failed=len(errors),
        stale=sum(outcome.stale for outcome in placed),
        kept=kept,
        bytes=sum(own.size for own in ours) + sum(_size(dest / own.file) for own in edited),
        linked=linked,
        copied=len(ours) - linked,
        edited=len(edited),
        seconds=seconds,
        errors=errors,
    )


def _size(path: Path) -> int:
    """Return the bytes of a file that somebody edits, and may remove at any time."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0
