"""Text from outside, such as titles: how it can be shown, and whether it can be part of an id."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORTEST_SECRET = 6  # what is shorter may be in a title by accident
_LONGEST = 1000  # characters; a title of megabytes would be in every line that names its track


def shown(text: str) -> str:
    """Return `text` on one line, without control characters and halves of surrogate pairs, and not without an end."""
    return _readable(text)[:_LONGEST]


def is_steady(text: str) -> bool:
    """Return whether `text` can be part of an id, a path or a URL: Unicode without control characters."""
    return not any(unicodedata.category(c) in {"Cc", "Cs"} for c in text)


def is_echo(text: str, secrets: Iterable[str]) -> bool:
    """Return whether a server says one of the `secrets` back to us in `text`, or as `text` is shown."""
    told = (text, _readable(text))
    return any(len(said) >= _SHORTEST_SECRET and said in one for said in secrets for one in told)


def _readable(text: str) -> str:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(c for c in " ".join(whole.split()) if unicodedata.category(c) != "Cc")
