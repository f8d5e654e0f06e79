"""What became of the rows of a mix: each has its file in the bundle, or is a hole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from exporter_plugin.manifest import TrackRecord

if TYPE_CHECKING:
    from cachestore.entry import Entry
    from cachestore.errors import TrackError
    from cachestore.events import Provenance
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
        """Return the row as bundle.json has it. A file that somebody edited has none of the facts of a newer entry."""
        own, entry = self.owned, self.entry
        record = TrackRecord(index, self.row.address, self.row.label, "done", own.file, own.size, own.link_mode)
        if entry is None or entry.digest != own.content:
            return record
        return replace(
            record,
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
