"""Text from outside, such as titles: how it can be shown, and whether it can be part of an id."""

from __future__ import annotations

import unicodedata


def shown(text: str) -> str:
    """Return `text` on one line, without control characters and halves of surrogate pairs."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(c for c in " ".join(whole.split()) if unicodedata.category(c) != "Cc")


def is_steady(text: str) -> bool:
    """Return whether `text` can be part of an id, a path or a URL: Unicode without control characters."""
    return not any(unicodedata.category(c) in {"Cc", "Cs"} for c in text)
