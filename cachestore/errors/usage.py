"""What was typed or configured is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from cachestore.errors.base import CacheStoreError
from cachestore.text import redacted


class UsageError(CacheStoreError):
    """What a person typed or configured cannot be used."""

    exit_code = 2


@dataclass(eq=False)
class ConfigError(UsageError):
    """A configuration file or value is wrong; `where` names the file and key."""

    where: str
    problem: str

    def __str__(self) -> str:
        return f"{redacted(self.where)}: {self.problem}"


@dataclass(eq=False)
class AddressError(UsageError):
    """A text is no address of a track; `text` is it without what may be secret in it."""

    text: str
    problem: str

    def __post_init__(self) -> None:
        self.text = redacted(self.text)
        self.args = (self.text, self.problem)  # or what Python keeps would show it

    def __str__(self) -> str:
        expected = "expected source:id, source:id@version or an http(s) URL"
        return f"{self.text!r} is no track address: {self.problem}; {expected}"


@dataclass(eq=False)
class QuantityError(UsageError):
    """A text is no size or duration."""

    text: str
    expected: str

    def __str__(self) -> str:
        return f"{self.text!r} does not parse: expected {self.expected}"


@dataclass(eq=False)
class MixError(UsageError):
    """A mix cannot be read; `place` is where in it (line and column, or the track's number), or empty.

    `file` is without what may be secret in it, if it is a URL by mistake.
    """

    file: str
    place: str
    problem: str

    def __post_init__(self) -> None:
        self.file = redacted(self.file)
        self.args = (self.file, self.place, self.problem)

    def __str__(self) -> str:
        where = f"{self.file}, {self.place}" if self.place else self.file
        return f"{where}: {self.problem}"
