"""What a person may set, read once from a TOML file into frozen values; opens nothing else."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachestore.errors import ConfigError, QuantityError
from cachestore.links import LINK_MODES
from cachestore.quantities import parse_age, parse_size
from cachestore.text import is_url
from cachestore.track import RESERVED_SOURCES, is_source_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ON_ERROR = ("fail", "skip")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One ``[sources.NAME]`` table of the file `path`, if it is from one.

    `options` is raw: every ``${VAR}`` still stands, and values may be secret.
    """

    name: str
    kind: str
    options: Mapping[str, object] = field(repr=False)
    path: Path | None = None

    @property
    def where(self) -> str:
        """Return what an error says of the table's place."""
        table = f"sources.{self.name}"
        return f"{self.path}: {table}" if self.path else table

    def variables(self) -> list[str]:
        """Return the names of the environment variables that this source needs, sorted."""
        return sorted({name for text in texts(self.options) for name in VARIABLE.findall(text)})


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set. Sizes in bytes, times in seconds; `path` is the file read, None without one."""

    root: Path
    max_size: int = 20 * 10**9
    min_free: int = 2 * 10**9
    min_age: float = 3600.0
    max_age: float | None = None
    link_mode: str = "auto"
    editable: bool = False
    template: str = "{index:02d} - {artist} - {title}"
    jobs: int = 4
    on_error: str = "fail"
    fresh_for: float = 0.0
    stale_if_error: float = 7 * 86400.0
    max_track_size: int = 4 * 10**9
    connect_timeout: float = 10.0
    stall_timeout: float = 30.0
    total_timeout: float = 3 * 3600.0
    retries: int = 5
    sources: Mapping[str, SourceConfig] = field(default_factory=dict)
    path: Path | None = None


def load_config(
    path: Path | None = None, *, root: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Config:
    """Return the configuration: arguments before the environment, before the file, before the defaults.

    The file is `path`, ``CACHESTORE_CONFIG`` or the platform's place, where it may be missing. Raise ConfigError.
    """
    file = _named_file(path, environ) or _default_file()
    document = _read(file) if file else {}
    values = {key: _value(f"{file}: {key}", key, value) for key, value in document.items() if key != "sources"}
    sources = _sources(file, document.get("sources", {}))
    configured = values.pop("root", None)
    return Config(root=_root(root, environ, configured, file), sources=sources, path=file, **values)


def default_config_path() -> Path:
    """Return where the configuration file is looked for when none is named."""
    from platformdirs import user_config_path

    return user_config_path("cachestore", appauthor=False) / "config.toml"


def expand(value: str, where: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return `value` with every ``${VAR}`` replaced. Raise ConfigError, naming `where` and the variable, no values."""
    for name in VARIABLE.findall(value):
        if name not in environ:
            raise ConfigError(where, f"the environment variable {name} is not set; export it and run again")
    if "${" in VARIABLE.sub("", value):
        raise ConfigError(where, "a ${ is not followed by the name of a variable and a }; expected ${NAME}")
    return VARIABLE.sub(lambda match: environ[match[1]], value)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown word: what was meant, or what is known."""
    from difflib import get_close_matches

    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f" (known: {', '.join(names) or 'none'})"


def _named_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return _absolute(path, "--config")
    named = environ.get("CACHESTORE_CONFIG")
    return _absolute(Path(named), "CACHESTORE_CONFIG") if named else None


def _default_file() -> Path | None:
    path = default_config_path()
    return path if path.exists() else None


def _root(argument: Path | None, environ: Mapping[str, str], configured: str | None, file: Path | None) -> Path:
    if argument is not None:
        return _absolute(argument, "--root")
    if environ.get("CACHESTORE_ROOT"):
        return _absolute(Path(environ["CACHESTORE_ROOT"]), "CACHESTORE_ROOT")
    if configured is not None and file is not None:
        # Beside the file, not in the current folder: cron and a person must mean the same store.
        return _absolute(Path(configured), f"{file}: root", base=file.parent)
    from platformdirs import user_cache_path

    return user_cache_path("cachestore", appauthor=False)


def _absolute(path: Path, where: str, base: Path | None = None) -> Path:
    if is_url(str(path)):
        raise ConfigError(where, "a URL is no path; expected one on this machine")
    try:
        return base / path.expanduser() if base else path.expanduser().absolute()
    except RuntimeError:
        raise ConfigError(where, f"the home folder of {path.parts[0]} is not known; write the whole path") from None
    except FileNotFoundError:
        raise ConfigError(where, "the current folder has been removed; write the whole path") from None


def _read(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(str(file), "there is no such configuration file") from None
    except OSError as error:
        raise ConfigError(str(file), f"the configuration file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), f"the configuration file is not UTF-8 (byte {error.start})") from None
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(str(file), f"not valid TOML: {_placed(str(error), text)}") from None


def _placed(problem: str, text: str) -> str:
    """Return a sentence of tomllib with the line and column that it leaves out at the end of a document."""
    lines = text.split("\n")
    return problem.replace(
        "at end of document", f"at line {len(lines)}, column {len(lines[-1]) + 1}, the end of the file"
    )


def _value(where: str, key: str, value: object) -> Any:  # noqa: ANN401 - what a key holds is known to Config only
    if key not in _KEYS:
        raise ConfigError(where, f"there is no such key{nearest(key, [*_KEYS, 'sources'])}")
    read, expected = _KEYS[key]
    try:
        return read(value)
    except (ValueError, QuantityError):
        raise ConfigError(where, f"{_shown(value)} is not accepted; expected {expected}") from None


def _sources(file: Path | None, tables: object) -> dict[str, SourceConfig]:
    if not isinstance(tables, dict):
        raise ConfigError(f"{file}: sources", "expected tables such as [sources.studio]")
    return {name: _source(file, name, table) for name, table in tables.items()}


def _source(file: Path | None, name: str, table: object) -> SourceConfig:
    where = f"{file}: sources.{name}"
    if name in RESERVED_SOURCES:
        raise ConfigError(where, f"the name is reserved ({', '.join(sorted(RESERVED_SOURCES))}); choose another")
    if not is_source_name(name):
        raise ConfigError(where, "a source is named with a-z, 0-9, _ and - only")
    if not isinstance(table, dict):
        raise ConfigError(where, f"expected a table [sources.{name}]")
    options = dict(table)
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or not kind:
        raise ConfigError(where, 'the key kind is missing or no text; expected, for example, kind = "http"')
    return SourceConfig(name, kind, options, file)


def _shown(value: object) -> str:
    """Return a rejected value as it stands in TOML; never the inside of a table, which may hold secrets."""
    if not isinstance(value, str | bool | int | float):
        return f"a value of type {type(value).__name__}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def texts(value: object) -> Iterator[str]:
    """Yield every text inside tables and arrays."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return value


def _size(value: object) -> int:
    if isinstance(value, str):
        return parse_size(value)
    return _integer(value, 0, None)


def _age(value: object) -> float:
    if isinstance(value, str):
        return parse_age(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError
    return float(value)


def _max_age(value: object) -> float | None:
    return None if value == "off" else _age(value)


def _timeout(value: object) -> float:
    seconds = _age(value)
    if seconds == 0:
        raise ValueError
    return seconds


def _integer(value: object, least: int, most: int | None) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        raise ValueError
    return value


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - as all readers of values
    return value


def _choice(value: object, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValueError
    return value


_SIZE = 'a size such as "20 GB" or "512 MiB", or a number of bytes'
_AGE = 'a duration such as "90 s", "1 h" or "7 days", or a number of seconds'
_TIMEOUT = f"{_AGE}, more than 0"
# Each key of the file: how its value is read (raising ValueError or QuantityError) and what is expected.
_KEYS: Mapping[str, tuple[Callable[[object], object], str]] = {
    "root": (_text, "the path of a folder"),
    "max_size": (_size, _SIZE),
    "min_free": (_size, _SIZE),
    "min_age": (_age, _AGE),
    "max_age": (_max_age, f'"off" or {_AGE}'),
    "link_mode": (lambda value: _choice(value, LINK_MODES), f"one of {', '.join(LINK_MODES)}"),
    "editable": (_switch, "true or false"),
    "template": (_text, 'a text with fields, such as "{index:02d} - {artist} - {title}"'),
    "jobs": (lambda value: _integer(value, 1, 64), "an integer from 1 to 64"),
    "on_error": (lambda value: _choice(value, ON_ERROR), f"one of {', '.join(ON_ERROR)}"),
    "fresh_for": (_age, _AGE),
    "stale_if_error": (_age, _AGE),
    "max_track_size": (_size, _SIZE),
    "connect_timeout": (_timeout, _TIMEOUT),
    "stall_timeout": (_timeout, _TIMEOUT),
    "total_timeout": (_timeout, _TIMEOUT),
    "retries": (lambda value: _integer(value, 0, None), "an integer, 0 or more"),
}
