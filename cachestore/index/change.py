"""What is to become of a row that was read before the lock was had."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cachestore.index.reader import Tag


class Change(NamedTuple):
    """What a row that is `before` becomes, as texts; it `is_filed` when it has its tag already."""

    key: str
    before: str
    after: str
    tag: Tag
    is_filed: bool
