"""The end of every help page: an example and the exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ALWAYS = {2: "wrong usage, configuration or address", 130: "interrupted"}
NO_STORE = {4: "there is no store, or it cannot be used"}
CHANGING = {**NO_STORE, 75: "busy with another command: try again"}


def epilog(examples: Sequence[str], exits: Mapping[int, str]) -> str:
    """Return the epilog of a command: `examples` as they are typed, and what its exit codes mean."""
    codes = sorted({0: "done", **_ALWAYS, **exits}.items())
    return _block("Example", examples) + "\n\n" + _block("Exit codes", [f"{code:<4} {word}" for code, word in codes])


def _block(title: str, lines: Sequence[str]) -> str:
    """Return a paragraph that click does not wrap."""
    return "\n".join(["\b", f"{title}:", *(f"  {line}" for line in lines)])
