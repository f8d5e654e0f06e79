"""What can be wrong with a store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ProblemKind(StrEnum):
    """What can be wrong; UNINDEXED alone harms nobody: bytes that are whole, and that no track is known for."""

    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    FOREIGN = "foreign"
    UNINDEXED = "unindexed"
    DAMAGED_ROW = "damaged-row"
    MISCOUNTED = "miscounted"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `key` is an entry's key, an index row's or a file's path, `bundles` share the file.

    `row` is the number of a row that cannot be read: its key may be none.
    """

    kind: ProblemKind
    key: str
    label: str = ""
    digest: str = ""
    bundles: tuple[str, ...] = ()
    row: int = 0
