"""What a server promised of the bytes of a body: kept with them, since a later run may get the rest."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Promise:
    """The digest of the bytes `start` to `end` of a file, both included; without an `end`, to the end of the file.

    `field` (the header field that gave it) and `algorithm` are written for people.
    """

    field: str
    algorithm: str
    value: bytes
    start: int = 0
    end: int | None = None

    def to_row(self) -> list[object]:
        """Return the promise as JSON has it."""
        return [self.field, self.algorithm, b64encode(self.value).decode(), self.start, self.end]

    @classmethod
    def from_row(cls, row: Any) -> Self:  # noqa: ANN401 - whatever JSON holds
        """Return the promise of a row. Raise ValueError or TypeError for one that is none."""
        field, algorithm, value, start, end = row
        if not (isinstance(field, str) and isinstance(algorithm, str) and type(start) is int):
            raise TypeError
        if end is not None and type(end) is not int:
            raise TypeError
        if start < 0 or (end is not None and end < start):
            raise ValueError
        return cls(field, algorithm, b64decode(value, validate=True), start, end)
