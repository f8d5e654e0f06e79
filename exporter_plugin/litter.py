"""What is in a folder and nobody's work: what systems put there, and what a dead run of ours has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.runs import staging_suffix

if TYPE_CHECKING:
    from pathlib import Path

# What systems put into folders and at the top of volumes, in lower case.
_LITTER = frozenset(
    {
        *("lost+found", ".ds_store", ".localized", ".spotlight-v100", ".fseventsd", ".trashes", ".temporaryitems"),
        *(".documentrevisions-v100", ".volumeicon.icns", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin"),
        *("system volume information", ".directory"),
    }
)
_LITTER_OF_USERS = (".trash-", "._")  # with the number of a user; what macOS keeps of a file where it cannot


def is_nobodys(path: Path) -> bool:
    """Return whether nobody has put this here: a system has, or a dead run of ours."""
    name = path.name.lower()
    is_staging = name.startswith(".") and staging_suffix("") in name
    return is_staging or name in _LITTER or name.startswith(_LITTER_OF_USERS)
