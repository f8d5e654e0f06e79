"""JSON pointers (RFC 6901) and what stands where they lead."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cachestore.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from cachestore.track import Track

_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Pointer:
    """The JSON pointer `text` of the option at `where`."""

    where: str
    text: str

    @classmethod
    def parse(cls, where: str, text: str) -> Self:
        """Return the pointer in the option at `where`. Raise ConfigError."""
        from jsonpointer import JsonPointer, JsonPointerException

        try:
            JsonPointer(text)
        except JsonPointerException:
            expected = "expected a JSON pointer such as /stream/url (within a name, ~1 is a / and ~0 a ~)"
            raise ConfigError(where, expected) from None
        return cls(where, text)

    def value(self, document: object) -> object:
        """Return what stands here in a JSON `document`, or an object that is no JSON if there is nothing."""
        from jsonpointer import resolve_pointer

        return resolve_pointer(document, self.text, _NOTHING)

    def mistake(self, track: Track, value: object, expected: str) -> SourceError:
        """Return the error of a `value` that cannot be used; the value itself may be secret and is not in it."""
        found = f"the document of this track has {_kind(value)} at {self.text or 'its top'}"
        return SourceError(track.address, track.label, f"{self.where}: {found}; expected {expected}")


def _kind(value: object) -> str:
    match value:
        case None | True | False:
            return json.dumps(value)
        case str():
            return "another text" if value else "an empty text"
        case int() | float():
            return "a number"
        case dict():
            return "an object"
        case list():
            return "a list"
    return "nothing"
