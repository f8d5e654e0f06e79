"""What a source says back of the credentials that it asks with: a plugin need not have looked for that."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from cachestore.errors import ConfigError, TrackError
from cachestore.text import is_echo, without_secrets

if TYPE_CHECKING:
    from collections.abc import Collection

    from cachestore.sources.base import Description

_OURS = "cachestore.errors."


def without_echoes(said: Description, secrets: Collection[str]) -> Description:
    """Return what was `said`, without each text that says one of the `secrets` back."""
    title, artist, album = ("" if is_echo(text, secrets) else text for text in (said.title, said.artist, said.album))
    version = None if said.version and is_echo(said.version.value, secrets) else said.version
    return replace(said, title=title, artist=artist, album=album, version=version)


def without_secrets_of(error: BaseException, secrets: Collection[str]) -> BaseException:
    """Return the TrackError or ConfigError that a plugin raised, without the `secrets`.

    One of another class becomes one of ours: it may have sentences of its own.
    """
    kind = next(kind for kind in type(error).__mro__ if kind.__module__.startswith(_OURS))
    if isinstance(error, TrackError):
        error.reason = without_secrets(error.reason, secrets)
        error.provider_code = without_secrets(error.provider_code, secrets)
    elif isinstance(error, ConfigError):
        error.where, error.problem = (without_secrets(text, secrets) for text in (error.where, error.problem))
    return error if type(error) is kind else _rebuilt(error, kind)


def _rebuilt(error: BaseException, kind: type[BaseException]) -> BaseException:
    values = {field.name: getattr(error, field.name) for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**values)
