"""What people and programs read: tables, JSON, times."""

from __future__ import annotations

import json
import os
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import click

from cachestore.quantities import format_age

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ROWS_PER_PAGE = 200
_PIECES_PER_WRITE = 500
_encoded = json.JSONEncoder(ensure_ascii=False).encode
_RFC3339 = "%04d-%02d-%02dT%02d:%02d:%02dZ"  # a third less than by `format`, for three times an entry


def print_json(value: object) -> None:
    """Print `value` as indented JSON; an iterator is a list, whose items are printed as they come, one a line."""
    _print_pieces(_json_pieces(value, "\n"))


def print_json_object(fields: Iterable[tuple[str, object]]) -> None:
    """Print a JSON object as `print_json` does, asking for a field when those before it are printed."""
    _print_pieces(_json_fields(fields))


def discard(out: IO[Any]) -> None:
    """Let what is still to be written to `out` go nowhere: its reader has left, and the interpreter would complain."""
    with suppress(OSError, ValueError):
        void = os.open(os.devnull, os.O_WRONLY)
        os.dup2(void, out.fileno())
        os.close(void)


@contextmanager
def while_read(out: IO[Any]) -> Iterator[None]:
    """Print to `out` in the block, if anybody still reads: what was done is done, and the exit code says what."""
    try:
        yield
        out.flush()
    except BrokenPipeError:
        discard(out)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> None:
    """Print aligned columns under `header`, page by page as the rows come; nothing without any.

    The columns with the indexes in `right` are aligned to the right. A page may be wider than the one before.
    """
    coming, above, widths = iter(rows), [header], [0] * len(header)
    while page := list(islice(coming, _ROWS_PER_PAGE)):
        lines = [[plain(cell) for cell in row] for row in (*above, *page)]
        widths = [max(width, *map(_width, column)) for width, *column in zip(widths, *lines, strict=True)]
        padded = [[_pad(cell, widths[n], right=n in right) for n, cell in enumerate(line)] for line in lines]
        click.echo("\n".join("  ".join(cells).rstrip() for cells in padded))
        above = []


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print one "name  value" a line, the values aligned."""
    width = max(_width(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{_pad(name, width, right=False)}  {plain(value)}".rstrip())


def plain(text: str) -> str:
    """Return `text` without control characters: a title must not steer the terminal or break a line."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if _steers(c) else c for c in text)


def rfc3339(seconds: float | None) -> str | None:
    """Return a Unix time as ``2026-01-31T12:00:00Z`` (RFC 3339, UTC), None for None."""
    if seconds is None:
        return None
    return _RFC3339 % time.gmtime(seconds)[:6]


def ago(seconds: float, now: float | None = None) -> str:
    """Return how long before `now` a Unix time was, for a person: ``3 h ago``."""
    elapsed = (time.time() if now is None else now) - seconds
    return "just now" if elapsed < 60 else f"{format_age(elapsed)} ago"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 track``, ``2 tracks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _print_pieces(pieces: Iterator[str]) -> None:
    """Print text that comes in pieces, many at a time: each printing is a system call."""
    while text := "".join(islice(pieces, _PIECES_PER_WRITE)):
        click.echo(text, nl=False)
    click.echo()


def _json_pieces(value: object, newline: str) -> Iterator[str]:
    if isinstance(value, Iterator):
        yield from _json_lines(value, newline)
    else:
        yield json.dumps(value, indent=2, ensure_ascii=False).replace("\n", newline)


def _json_lines(items: Iterator[object], newline: str) -> Iterator[str]:
    """Yield a list with an item a line, since Python's encoder is ten times slower where it has to indent."""
    separator = f"[{newline}  "
    for item in items:
        yield separator + _encoded(item)
        separator = f",{newline}  "
    yield "[]" if separator[0] == "[" else f"{newline}]"


def _json_fields(fields: Iterable[tuple[str, object]]) -> Iterator[str]:
    before = "{"
    for name, value in fields:
        yield f"{before}\n  {_encoded(name)}: "
        yield from _json_pieces(value, "\n  ")
        before = ","
    yield "{}" if before == "{" else "\n}"


# Control characters, line and paragraph separators; and what turns the direction of writing.
_STEERING = frozenset({"Cc", "Zl", "Zp"})
_TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def _steers(character: str) -> bool:
    return unicodedata.category(character) in _STEERING or unicodedata.bidirectional(character) in _TURNING


def _width(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int, *, right: bool) -> str:
    padding = " " * (width - _width(text))
    return padding + text if right else text + padding
