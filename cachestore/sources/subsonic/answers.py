"""What a Subsonic server answers: refusals in JSON or XML, and JSON that may have any shape."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachestore.errors import BadResponse
from cachestore.media.envelopes import envelope, failure
from cachestore.text import is_echo, is_steady, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cachestore.track import Track


_LARGEST_NUMBER = 10**15  # beyond it nothing is counted
_LONGEST_ID = 1000


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON object of an answer; what is not as the API says is a BadResponse of `subject`.

    A text that says one of the `secrets` back, with which it was asked for, is empty, and an id a misfit.
    """

    subject: Track
    fields: Mapping[str, object] = field(repr=False)
    secrets: Collection[str] = field(repr=False)

    def record(self, name: str) -> Record:
        """Return the object in a field that must be there."""
        value = self.fields.get(name)
        if not isinstance(value, dict):
            raise self._misfit(name)
        return Record(self.subject, value, self.secrets)

    def records(self, name: str) -> list[Record]:
        """Return the objects in a list; servers leave an empty one out, or write null."""
        values = self.fields.get(name)
        if values is None:
            return []
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise self._misfit(name)
        return [Record(self.subject, value, self.secrets) for value in values]

    def id(self) -> str:
        """Return the id, which some servers write as a number."""
        value = self.fields.get("id")
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID or not is_steady(value):
            raise self._misfit("id")
        if is_echo(value, self.secrets):
            raise self._misfit("id")
        return value

    def text(self, name: str) -> str:
        """Return a field as it can be shown, empty if it is not there; a number is a text, too: "1979" is a title."""
        value = self.fields.get(name)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._misfit(name)
        return "" if is_echo(str(value), self.secrets) else shown(str(value))

    def number(self, name: str) -> float | None:
        """Return a number that is neither negative nor too large, None if the field holds none."""
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST_NUMBER:
            return None
        return value

    def _misfit(self, name: str) -> BadResponse:
        reason = f'the server\'s answer does not fit the Subsonic API ("{name}" is missing or wrong)'
        return BadResponse(self.subject.address, self.subject.label, reason)


def read_answer(subject: Track, content: bytes, secrets: Collection[str]) -> Record:
    """Return the ``subsonic-response`` of a success to a question that held the `secrets`.

    Raise Unauthorized, Forbidden, NotFound or BadResponse.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):  # some servers tell failures in XML, whatever was asked for
        document = None
    response = document.get("subsonic-response") if isinstance(document, dict) else None
    if isinstance(response, dict) and response.get("status") == "ok" and "error" not in response:
        return Record(subject, response, secrets)
    refused = envelope(content)
    if refused is not None and refused.kind == "subsonic":
        raise failure(refused, subject, otherwise=BadResponse)
    reason = "the server answered with something that is no Subsonic response; check the url of the source"
    raise BadResponse(subject.address, subject.label, reason)
