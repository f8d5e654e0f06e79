"""Reading the options of a source, with errors that say what was expected; values may be secret and are never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.config import nearest
from cachestore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def check_names(where: str, options: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise ConfigError if there is an option that is not `known`."""
    names = list(known)
    for name in options:
        if name not in names:
            raise ConfigError(f"{where}.{name}", f"there is no such option{nearest(name, names)}")


def text(where: str, options: Mapping[str, object], name: str) -> str:
    """Return an option that must be there. Raise ConfigError."""
    value = options.get(name)
    if isinstance(value, str):
        return value
    raise ConfigError(f"{where}.{name}", "expected a text" if name in options else "the option is missing")


def table_of_texts(where: str, options: Mapping[str, object], name: str) -> dict[str, str]:
    """Return an option that is a table of texts, empty by default. Raise ConfigError."""
    value = options.get(name, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{where}.{name}", 'expected a table such as { Authorization = "Bearer ${TOKEN}" }')
    for key, inner in value.items():
        if not isinstance(inner, str):
            raise ConfigError(f"{where}.{name}.{key}", "expected a text")
    return value


def program(where: str, options: Mapping[str, object], name: str) -> list[str]:
    """Return an option that is a program and its arguments, empty by default. Raise ConfigError."""
    if name not in options:
        return []
    value = options[name]
    if isinstance(value, list) and all(isinstance(part, str) for part in value) and value and value[0]:
        return value
    expected = 'expected a program and its arguments as a list of texts, such as ["pass", "show", "studio"]'
    raise ConfigError(f"{where}.{name}", expected)
