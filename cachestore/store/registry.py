"""The bundles that the store knows, and the holders of its blobs: brought up to date in small transactions.

What a look saw is written last. So a crash in the middle is mended by the next look, and two looks at once do no harm.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cachestore.rows import BLOBS, BUNDLES, StampsRow, batches
from cachestore.store.looking import Sight, changed, digests_of, is_deleted, look_at
from cachestore.store.pauses import in_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cachestore.rows import BlobRow, Bundle, Known
    from cachestore.store.ledger import Ledger, Transact
    from cachestore.store.reader import StoreReader

_BLOBS_PER_TRANSACTION = 200


class Registry:
    """The bundles of one store, open for writing."""

    def __init__(
        self, store: StoreReader, transact: Transact, write_noted: Callable[[Ledger, Mapping[str, BlobRow]], None]
    ) -> None:
        """Take who writes what is noted of blobs whose rows are written anyway."""
        self._store = store
        self._transact = transact
        self._write_noted = write_noted

    def register(self, bundle: Bundle) -> None:
        """Record an exported folder, replacing what was known of the same destination, and look at it."""
        former = set(self._held_by(bundle.id))
        with self._transact() as ledger:
            known = ledger.stamps(bundle.id)
            turn = known.turn + 1 if known else 0
            before = ledger.bundle(bundle.id)
            former.update(digests_of(before, known) if before else ())
            ledger.put_bundle(bundle)
            ledger.put_stamps(bundle.id, StampsRow(bundle.dest, turn, former=tuple(sorted(former))))
        self._look(bundle)

    def _held_by(self, bundle_id: str) -> Iterator[str]:
        """Yield the digests that name a bundle as their holder, if its row, which lists them, cannot be read."""
        if self._store.bundle(bundle_id) is None and self._store.existing(BUNDLES, [bundle_id]):
            yield from (digest for digest, row in self._store.blob_rows() if bundle_id in row.holders)

    def look(self) -> None:
        """Look at all bundles whose folders changed, and forget those that are deleted."""
        for bundle_id in changed(self._store):
            if bundle := self._store.bundle(bundle_id):
                self._look(bundle)
            self._forget_deleted(bundle_id)

    def forget(self, bundle_id: str) -> None:
        """Drop a bundle, whatever lies there: from now on it holds nothing."""
        bundle = self._store.bundle(bundle_id)
        if bundle is not None:
            self._hold(bundle, Sight({}, {}), self._begin(bundle).turn)
        with self._transact() as ledger:
            ledger.drop_bundle(bundle_id)

    def _look(self, bundle: Bundle) -> None:
        looks = self._store.meta().looks
        turn = self._begin(bundle).turn
        now = time.time()
        sight = look_at(bundle, self._store.root.device)
        if self._hold(bundle, sight, turn):
            stamps = sight.stamps if sight.is_proof(now) else None
            with self._transact() as ledger:
                if _is_turn(ledger, bundle.id, turn):
                    ledger.put_stamps(bundle.id, StampsRow(bundle.dest, turn, stamps, looks))

    def _forget_deleted(self, bundle_id: str) -> None:
        """Drop a bundle that holds nothing any more, since it was deleted or moved."""
        known = self._store.stamps(bundle_id)
        if known is not None and known.is_lost and is_deleted(known.dest):
            with self._transact() as ledger:
                if ledger.stamps(bundle_id) == known:
                    ledger.drop_bundle(bundle_id)

    def _begin(self, bundle: Bundle) -> StampsRow:
        """Return what is known of a bundle; where there is nothing yet, write that, so that others may change it."""
        known = self._store.stamps(bundle.id)
        if known is not None:
            return known
        with self._transact() as ledger:
            known = ledger.stamps(bundle.id) or StampsRow(bundle.dest, 0)
            ledger.put_stamps(bundle.id, known)
        return known

    def _hold(self, bundle: Bundle, sight: Sight, turn: int) -> bool:
        """Name the bundle as holder of just what it was seen to hold; False when it was registered anew meanwhile."""
        known, bundle_id = self._store.stamps(bundle.id), bundle.id
        differing = self._differing(bundle_id, sight, digests_of(bundle, known))
        for piece in in_pieces(differing, _BLOBS_PER_TRANSACTION):
            with self._transact() as ledger:
                if not _is_turn(ledger, bundle_id, turn):
                    return False
                ledger.read_known(BLOBS, dict(piece.items))
                rows = {digest: row for digest, _ in piece if (row := ledger.blob(digest))}
                for digest, row in rows.items():
                    ledger.put_blob(digest, row.held_by(bundle_id, holds=sight.holds(digest, row)))
                self._write_noted(ledger, rows)
        return True

    def _differing(self, bundle_id: str, sight: Sight, digests: list[str]) -> Iterator[tuple[str, Known[BlobRow]]]:
        for batch in batches(digests):
            for digest, known in self._store.known(BLOBS, batch):
                if sight.holds(digest, known.value) != (bundle_id in known.value.holders):
                    yield digest, known


def _is_turn(ledger: Ledger, bundle_id: str, turn: int) -> bool:
    known = ledger.stamps(bundle_id)
    return known is not None and known.turn == turn
