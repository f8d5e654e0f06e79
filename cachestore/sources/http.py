"""The kind ``http``: a URL template and headers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cachestore.config import expand
from cachestore.errors import ConfigError
from cachestore.sources.options import check_names, table_of_texts, text
from cachestore.sources.template import Template
from cachestore.track import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cachestore.config import SourceConfig
    from cachestore.track import Track

_OPTIONS = ("url", "headers")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?")


class HttpSource:
    """Tracks whose URL follows from their id. Raise ConfigError for options that cannot be used."""

    def __init__(self, config: SourceConfig, environ: Mapping[str, str]) -> None:
        where = f"sources.{config.name}"
        check_names(where, config.options, _OPTIONS)
        self._template = Template.parse(f"{where}.url", text(where, config.options, "url"), environ)
        self._headers = table_of_texts(where, config.options, "headers")
        self._where = f"{where}.headers"
        self._environ = environ

    def resolve(self, track: Track) -> Origin:
        """Return the URL of the track and the headers."""
        return Origin(self._template.fill(track), self.headers())

    def headers(self) -> dict[str, str]:
        """Return the headers, their variables expanded. Raise ConfigError, never with a value in it."""
        return {name: self._value(f"{self._where}.{name}", name, raw) for name, raw in self._headers.items()}

    def _value(self, where: str, name: str, raw: str) -> str:
        value = expand(raw, where, self._environ)
        if _HEADER_NAME.fullmatch(name) is None:
            raise ConfigError(where, "this cannot be the name of a header")
        if _HEADER_VALUE.fullmatch(value) is None:
            raise ConfigError(where, "the value is empty, ends in a space, or has a line break or the like in it")
        return value
