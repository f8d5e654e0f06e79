"""The root of the error tree."""

from __future__ import annotations


class CacheStoreError(Exception):
    """Base of all errors that this project raises on purpose."""

    exit_code: int = 1
