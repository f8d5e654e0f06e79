"""A music cloud whose every byte is known: hand a `Cloud` to the `raw_server` fixture."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.downloads import answer, rest, unchanged
from tests.invariants import digest_of
from tests.neighbours import requested
from tests.raw_servers import Drip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.raw_servers import Answer


class Cloud:
    """Tracks by id, each with its bodies: the first one is served, and after `update()` the last one.

    Those that are `slow` come in five pieces, so many seconds apart. `asked` is how often each track was asked for.
    """

    def __init__(self, bodies: Mapping[str, Sequence[bytes]]) -> None:
        self.bodies = {track: [*several] for track, several in bodies.items()}
        self.slow: dict[str, float] = {}
        self.asked: Counter[str] = Counter()
        self._version = 0

    @property
    def served(self) -> dict[str, list[bytes]]:
        """Return by address all bodies that a track ever has."""
        return {f"open:{track}": several for track, several in self.bodies.items()}

    def current(self, track: str) -> bytes:
        """Return what is served now."""
        return self.bodies[track][self._version if self._version < len(self.bodies[track]) else -1]

    def update(self) -> None:
        """Serve the next bodies from now on."""
        self._version += 1

    def __call__(self, head: bytes) -> Answer:
        if not head:  # its client was killed before it could ask
            return b""
        track = requested(head)
        self.asked[track] += 1
        answered = self._answer(head, self.current(track))
        return Drip(answered, self.slow[track], -(-len(answered) // 5)) if track in self.slow else answered

    def _answer(self, head: bytes, body: bytes) -> bytes:
        etag = f'"{digest_of(body)[-8:]}"'
        lines = [line.partition(": ") for line in head.decode("latin-1").lower().split("\r\n")]
        fields = {name: value for name, _, value in lines}
        if etag in fields.get("if-none-match", ""):
            return unchanged(f"ETag: {etag}")
        start = int(fields.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        return rest(body, start, f"ETag: {etag}") if start else answer(body, f"ETag: {etag}")
