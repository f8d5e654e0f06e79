"""What the store has of the tracks of a run: looked up, leased for as long as it is needed, given up for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.fetching.decide import Hit, candidates
from cachestore.fetching.mishaps import is_of_blob, unusable
from cachestore.fetching.wanted import stored_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachestore.entry import Entry
    from cachestore.errors import TrackError
    from cachestore.fetching.telling import Teller
    from cachestore.fetching.wanted import Wanted
    from cachestore.store.writer import Store


class Holdings:
    """The leases of one run, on what may serve its tracks."""

    def __init__(self, store: Store, run_id: str, teller: Teller) -> None:
        self._store = store
        self._run_id = run_id
        self._tell = teller

    def look_up(self, several: Sequence[Wanted]) -> None:
        """Find what is kept of tracks, lease it, and see whether it is whole; what is damaged is retired."""
        kept = self._store.kept(wanted.track for wanted in several)
        ended = [digest for wanted in several for digest in wanted.leased]
        for wanted in several:
            entries_of_track = kept.get(wanted.track.address, [])
            wanted.stored = stored_of(entries_of_track)
            wanted.whole, wanted.gave_way = candidates(wanted.track, entries_of_track), False
        entries = {entry.key: entry for wanted in several for entry in wanted.whole}
        self._store.lease(self._run_id, [entry.digest for wanted in several for entry in wanted.whole])
        refused: dict[str, TrackError] = {}
        whole = self._whole([*entries.values()], refused)
        for entry in (entry for key, entry in entries.items() if not (key in whole or key in refused)):
            self._put_away(entry, refused)
        for wanted in several:
            wanted.refused = refused.get(wanted.whole[0].key) if wanted.whole else None
            ended += [entry.digest for entry in wanted.whole if entry.key not in whole]
            wanted.whole = [entry for entry in wanted.whole if entry.key in whole]
        self._store.unlease(self._run_id, ended)

    def _whole(self, entries: Sequence[Entry], refused: dict[str, TrackError]) -> set[str]:
        """Return the keys of the entries that are whole; the error of one that cannot be read is `refused`."""
        try:
            return {entry.key for entry in self._store.whole(entries)}
        except OSError as error:
            if len(entries) > 1:
                return set().union(*(self._whole([entry], refused) for entry in entries))
            [entry] = entries
            remedy = f"mend that, or have it downloaded again: cachestore rm {entry.key}"
            refused[entry.key] = self._refusal(entry, error, "cannot be read", remedy)
            return set()

    def _put_away(self, entry: Entry, refused: dict[str, TrackError]) -> None:
        try:
            self._tell.damaged(entry, self._store.retire(entry.digest))
        except OSError as error:
            refused[entry.key] = self._refusal(entry, error, "was changed and cannot be put away", "unlock it")

    def _refusal(self, entry: Entry, error: OSError, what: str, remedy: str) -> TrackError:
        """Return the failure of a track whose file a disk or a lock keeps from us. Raise what is not of that file."""
        if not is_of_blob(error, self._store.blobs.path(entry.digest)):
            raise error
        return unusable(entry, error, f"its file in the cache {what}", remedy)

    def settle(self, wanted: Wanted, outcome: Hit | TrackError) -> None:
        """Give a track its outcome, and end the leases on what it is not about."""
        if not wanted.gave_way:
            chosen = outcome.entry.key if isinstance(outcome, Hit) and not wanted.downloaded else None
            self._store.unlease(self._run_id, [entry.digest for entry in wanted.whole if entry.key != chosen])
        wanted.outcome = outcome
        # Publishing has leased what was downloaded, and a failure needs nothing that could be gone.
        wanted.gave_way = wanted.gave_way and isinstance(outcome, Hit) and not wanted.downloaded

    def give_way(self, all_wanted: Sequence[Wanted], number: int) -> bool:
        """End leases, so that a track can have their room, and return whether there were any.

        First those of the tracks behind it, and of those that a row has had already, though another one is to have them
        again; then its own.
        """
        had = [wanted for wanted in all_wanted[:number] if wanted.delivered]
        some = self._give_up([*all_wanted[number + 1 :], *had]) or self._give_up(all_wanted[number : number + 1])
        self._store.write_notes()  # a plan reads what is written
        return some

    def _give_up(self, several: Sequence[Wanted]) -> bool:
        leased = [wanted for wanted in several if wanted.leased]
        for wanted in leased:
            self._store.unlease(self._run_id, wanted.leased)
            wanted.gave_way = True
        return bool(leased)

    def reclaim(self, wanted: Wanted) -> None:
        """Lease again what a track gave up; it has no outcome any more if that is gone."""
        before, wanted.outcome = wanted.outcome, None
        wanted.downloaded = wanted.downloaded and not wanted.gave_way
        self.look_up([wanted])
        if isinstance(before, Hit) and any(entry.key == before.entry.key for entry in wanted.whole):
            self.settle(wanted, before)

    def still_whole(self, wanted: Wanted) -> list[Entry]:
        """Return what may stand in for a track whose download fails; what gave way may be gone."""
        if wanted.gave_way:
            self.look_up([wanted])
        return wanted.whole

    def let_go(self, wanted: Wanted) -> None:
        """End the lease on what a track's result was about, which its last row has had."""
        self._give_up([wanted])
