"""Which file each track has in a bundle, and what becomes of the file that is there."""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cachestore.links import LinkMode
from exporter_plugin.destination import FileState
from exporter_plugin.manifest import MEDIA
from exporter_plugin.naming import fold
from exporter_plugin.template import Named, track_stems

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Sequence

    from exporter_plugin.destination import Destination
    from exporter_plugin.manifest import OwnedFile
    from exporter_plugin.options import Wishes
    from exporter_plugin.row import Row


class Fate(StrEnum):
    """What an export does with a file of a bundle; EDITED is kept, since somebody changed it."""

    ADD = "add"
    KEEP = "keep"
    REPLACE = "replace"
    REMOVE = "remove"
    EDITED = "edited"


class Layout:
    """The files of the tracks of `rows` at `destination`. Raise DestinationError when one is among them already.

    `is_blob` says whether the file with a stat is the blob of a digest, which has its bytes for sure.
    """

    def __init__(
        self,
        destination: Destination,
        rows: Sequence[Row],
        wishes: Wishes,
        is_blob: Callable[[str, os.stat_result], bool] = lambda *_: False,
    ) -> None:
        destination.refuse_own_files([row.path for row in rows if row.path is not None])
        self._destination = destination
        self._rows = len(rows)
        self._wishes = wishes
        self._is_blob = is_blob
        renamed = destination.untouched() if wishes.renumber else ()
        self._stems = destination.published_stems(renamed)
        self._occupied = {fold(stem) for stem in destination.taken_stems(renamed)}
        self._named = _unpublished(rows, self._stems)
        self._late: set[str] = set()
        self._name([*self._named.values()])

    def file_of(self, row: Row, ext: str) -> str:
        """Return the file of a row's track: as planned, or by the title that the service gave for one without."""
        named = self._named.get(row.identity)
        if named is not None and named.row.track.title != row.track.title:
            self._named[row.identity] = Named(named.index, row)
            self._late.add(row.identity)
            self._name_again([row.identity])
        return self.file(row.identity, ext)

    def file(self, identity: str, ext: str) -> str:
        """Return the file of a track, as it is called by now."""
        return f"{MEDIA}/{self._stems[identity]}.{ext}"

    def playlist(self, file: str) -> str:
        """Return the file of a playlist or project: where somebody changed one of its name in other letters, that one.

        It stays in any case, and filesystems without case cannot have both.
        """
        others = (other for other in self._destination.alike(file) if other != file)
        return next((other for other in others if not self._destination.is_untouched(other)), file)

    def settle(self, made: Iterable[str], reserved: Iterable[str]) -> None:
        """Give those of the tracks `made` other names that are in the way of the files `reserved`.

        Those that were named as they arrived are named again, all at once: which came first must not be seen.
        """
        there = {fold(PurePosixPath(file).stem) for file in reserved}
        again = [one for one in made if one in self._named and (one in self._late or fold(self._stems[one]) in there)]
        self._name_again(again, there)

    def is_right(self, identity: str | None, content: str | None) -> Callable[[OwnedFile], bool]:
        """Return what says whether a published file is the one that a track with these bytes has to have."""
        return lambda own: (own.identity, own.content) == (identity, content) and self._is_linked_right(own)

    def fate(self, file: str, is_right: Callable[[OwnedFile], bool]) -> tuple[Fate, OwnedFile | None]:
        """Return what becomes of `file`, and the record of the published one, if there is one.

        Its bytes are hashed where it would be replaced: programs that write tags may restore all that is looked at. So
        are those of a hard link to another file than the blob: who edited the blob through it had another one made.
        Raise DestinationError where something is in the way.
        """
        info = self._destination.stat(file)
        state, owned = self._destination.judge(file, info)
        if info is None or state is FileState.ABSENT:
            return Fate.ADD, None
        overwrites = self._wishes.overwrite_edited
        self._destination.refuse_in_the_way(file, state, overwrites=overwrites)
        if owned and state is FileState.OURS:
            is_called_so = owned.file == file  # else by its own name in other letters
            if is_called_so and is_right(owned) and not overwrites and self._is_linked(owned, info):
                return Fate.KEEP, owned
            if self._destination.has_bytes(owned):
                owned = self._linked_as_now(owned, info)
                return Fate.KEEP if is_called_so and is_right(owned) else Fate.REPLACE, owned
        return Fate.REPLACE if overwrites else Fate.EDITED, owned

    def is_to_be_made(self, file: str, is_right: Callable[[OwnedFile], bool]) -> bool:
        """Return whether `file` is missing or has other contents now, at a look."""
        state, owned = self._destination.look_at(file)
        return state is FileState.ABSENT or (state is FileState.OURS and owned is not None and not is_right(owned))

    def _is_linked(self, own: OwnedFile, info: os.stat_result) -> bool:
        """Return whether a file that is recorded as a hard link to a blob is one; others need not be."""
        return own.link_mode is not LinkMode.HARDLINK or own.content is None or self._is_blob(own.content, info)

    def _linked_as_now(self, own: OwnedFile, info: os.stat_result) -> OwnedFile:
        """Return the record of a file with our bytes; one that is no link to the blob any more is as good as a copy."""
        return own if self._is_linked(own, info) else own.unlinked(info)

    def _is_linked_right(self, own: OwnedFile) -> bool:
        mode = self._wishes.link_mode
        if own.is_local or mode is LinkMode.AUTO:
            return True
        if mode is LinkMode.EDITABLE:
            return own.link_mode is not LinkMode.HARDLINK and self._destination.is_writable(own.file)
        return own.link_mode is mode and (mode is not LinkMode.COPY or self._destination.is_writable(own.file))

    def _name_again(self, identities: Collection[str], occupied: Collection[str] = ()) -> None:
        self._occupied.difference_update([fold(self._stems[identity]) for identity in identities])
        self._occupied.update(occupied)
        self._name([self._named[identity] for identity in identities])

    def _name(self, named: Sequence[Named]) -> None:
        stems = track_stems(named, self._wishes.template, self._rows, self._occupied)
        self._occupied.update(map(fold, stems.values()))
        self._stems |= stems


def _unpublished(rows: Sequence[Row], published: Collection[str]) -> dict[str, Named]:
    """Return by identity what the names of the tracks are made of that have none yet; their first row counts."""
    firsts: dict[str, Named] = {}
    for index, row in enumerate(rows, 1):
        identity = row.identity
        if identity not in firsts and identity not in published:
            firsts[identity] = Named(index, row)
    return firsts
