"""What a source's metadata says back of the credentials that it asks with: a plugin need not have looked for that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachestore.text import is_echo

if TYPE_CHECKING:
    from collections.abc import Collection

    from cachestore.sources.base import Description


def without_echoes(said: Description, secrets: Collection[str]) -> Description:
    """Return what was `said`, without each text that says one of the `secrets` back."""
    title, artist, album = ("" if is_echo(text, secrets) else text for text in (said.title, said.artist, said.album))
    version = None if said.version and is_echo(said.version.value, secrets) else said.version
    return replace(said, title=title, artist=artist, album=album, version=version)
