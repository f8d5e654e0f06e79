"""Whether the bytes of a body come fast enough: one that drips would otherwise never end, and never time out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SLOWEST = 500  # bytes a second: less than the slowest mobile network


@dataclass(slots=True)
class Pace:
    """The pace of one body, from its first bytes on; `window` in seconds, `clock` counts them."""

    window: float
    clock: Callable[[], float]
    _since: float = field(default=0.0, init=False)
    _before: int | None = field(default=None, init=False)

    def is_kept(self, received: int) -> bool:
        """Return whether the window that ends now, if one does, brought at least `SLOWEST` bytes a second."""
        now = self.clock()
        if self._before is None:
            self._since, self._before = now, received
        if now - self._since < self.window:
            return True
        came, took = received - self._before, now - self._since
        self._since, self._before = now, received
        return came >= SLOWEST * took
