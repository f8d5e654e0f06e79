"""The headers that a source asks with: those of the configuration, and those that a program prints."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING

from cachestore.config import expand
from cachestore.errors import ConfigError, SourceError
from cachestore.sources.command import CommandFailed, output_of
from cachestore.sources.options import program, table_of_texts
from cachestore.web.echoes import sent_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cachestore.config import SourceConfig
    from cachestore.track import Track
    from cachestore.web import Web

_TIMEOUT = 60.0
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?")
_BAD_NAME = "this cannot be the name of a header"
_BAD_VALUE = "the value is empty, ends in a space, or has a line break or the like in it"


class Credentials:
    """The headers of one source, for all threads; its program is run when they are first needed.

    A program that failed, or has nothing new after a refusal, is not run again: it may ask a person, or a service that
    counts. Raise ConfigError for options that cannot be used.
    """

    def __init__(self, config: SourceConfig, environ: Mapping[str, str], web: Web) -> None:
        self._where = config.where
        self._written = table_of_texts(self._where, config.options, "headers")
        self._command = program(self._where, config.options, "credential_command")
        self._environ = environ
        self._web = web
        self._lock = threading.Lock()
        self._current: dict[str, str] | None = None
        self._failure = ""
        self._exhausted = False

    def headers(self, track: Track) -> Mapping[str, str]:
        """Return the headers. Raise ConfigError, SourceError or TimedOut of `track`, or Cancelled, without a value."""
        with self._lock:
            return self._known(track)

    def renew(self, track: Track, refused: Mapping[str, str]) -> bool:
        """Return whether there are others than the `refused` headers; run the program if nobody has since then.

        Raise as `headers` does.
        """
        with self._lock:
            if self._known(track) != refused:
                return True
            if self._exhausted or not self._command:
                return False
            self._current = self._fresh(track)
            self._exhausted = self._current == refused
            return not self._exhausted

    def _known(self, track: Track) -> dict[str, str]:
        if self._failure:
            raise SourceError(track.address, track.label, self._failure)
        if self._current is None:
            self._current = self._fresh(track)
        return self._current

    def _fresh(self, track: Track) -> dict[str, str]:
        written = {name: self._value(name, raw) for name, raw in self._written.items()}
        if not self._command:
            return written
        try:
            printed = _parsed(self._output(track))
        except CommandFailed as error:
            problem = f"the program {self._command[0]} {error.reason}; run the command in a shell to see why"
            self._failure = f"{self._where}.credential_command: {problem}"
            raise SourceError(track.address, track.label, self._failure) from None
        self._web.hide(sent_secrets("", printed))
        replaced = {name.lower() for name in printed}
        return {name: value for name, value in written.items() if name.lower() not in replaced} | printed

    def _value(self, name: str, raw: str) -> str:
        where = f"{self._where}.headers.{name}"
        value = expand(raw, where, self._environ)
        problem = _problem(name, value)
        if problem:
            raise ConfigError(where, problem)
        return value

    def _output(self, track: Track) -> bytes:
        where = f"{self._where}.credential_command"
        arguments = [expand(argument, where, self._environ) for argument in self._command]

        def raise_if_over() -> None:
            self._web.raise_if_cancelled()
            reason = f"{where}: the program {self._command[0]} did not end within total_timeout"
            self._web.raise_if_late(track, reason)

        try:
            with self._web.one_deadline():
                return output_of(arguments, self._environ, timeout=_TIMEOUT, raise_if_over=raise_if_over)
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or "it cannot be called so").lower()
            expected = "expected a program on PATH or its whole path, without ~, since no shell reads it"
            raise ConfigError(where, f"{self._command[0]} does not start: {reason}; {expected}") from None


def _parsed(output: bytes) -> dict[str, str]:
    """Return the headers that a program printed. Raise CommandFailed, with nothing of the output in it."""
    try:
        headers = json.loads(output)
    except (ValueError, RecursionError):
        headers = None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise CommandFailed('printed something else than JSON such as {"Authorization": "Bearer ..."}')
    for name, value in headers.items():
        problem = _problem(name, value)
        if problem:
            raise CommandFailed(f"printed a header that cannot be sent: {problem}")
    return headers


def _problem(name: str, value: str) -> str:
    """Return why HTTP cannot carry a header (RFC 9110 §5), empty if it can."""
    if _HEADER_NAME.fullmatch(name) is None:
        return _BAD_NAME
    return "" if _HEADER_VALUE.fullmatch(value) else _BAD_VALUE
