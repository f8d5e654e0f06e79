"""The bundles that the store knows, and the holders of its blobs: brought up to date in small transactions.

What a look saw is written last, so a crash in the middle is mended by the next look. Of two looks at once the one that
has begun later goes on: the other one may have seen what is no more.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from cachestore.rows import BLOBS, BUNDLES, StampsRow, batches
from cachestore.store.looking import Sight, changed, digests_of, is_deleted, look_at
from cachestore.store.pauses import in_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cachestore.rows import BlobRow, Bundle, Known
    from cachestore.store.drafts import Draft
    from cachestore.store.ledger import Ledger, Transact
    from cachestore.store.reader import StoreReader
    from cachestore.store.values import Values

_BLOBS_PER_TRANSACTION = 400


class Registry:
    """The bundles of one store, open for writing."""

    def __init__(
        self, store: StoreReader, transact: Transact, noted: Callable[[Mapping[str, BlobRow]], Callable[[Values], None]]
    ) -> None:
        """Take who gives away what is noted of blobs whose rows are written anyway: what writes it."""
        self._store = store
        self._transact = transact
        self._noted = noted

    def register(self, bundle: Bundle) -> None:
        """Record an exported folder, replacing what was known of the same destination, and look at it."""
        former = set(self._held_by(bundle.id))
        with self._transact() as ledger:
            known, before = ledger.stamps(bundle.id), ledger.bundle(bundle.id)
            former.update(digests_of(before, known) if before else ())
            ledger.put_bundle(bundle)
            begun = StampsRow.begun(bundle.dest, former)
            ledger.put_stamps(bundle.id, begun)
        if not self._look(bundle, begun):
            self._look_anew(bundle.id)  # what is leased until then is let go next

    def _held_by(self, bundle_id: str) -> Iterator[str]:
        """Yield the digests that name a bundle as their holder, if its row, which lists them, cannot be read."""
        if self._store.bundle(bundle_id) is None and self._store.existing(BUNDLES, [bundle_id]):
            yield from (digest for digest, row in self._store.blob_rows() if bundle_id in row.holders)

    def look(self) -> None:
        """Look at all bundles whose folders changed, and forget those that are deleted."""
        for bundle_id in changed(self._store):
            self._look_anew(bundle_id)
            self._forget_deleted(bundle_id)

    def _look_anew(self, bundle_id: str) -> None:
        """Look at a bundle, unless somebody else has begun to since it was read."""
        known = self._store.stamps(bundle_id)  # before the bundle: who registers it changes both
        if (bundle := self._store.bundle(bundle_id)) is None:
            return
        begun = StampsRow.begun(bundle.dest, known.former if known else ())
        with self._transact() as ledger:
            if is_ours := ledger.stamps(bundle_id) == known:
                ledger.put_stamps(bundle_id, begun)
        if is_ours:
            self._look(bundle, begun)

    def _look(self, bundle: Bundle, begun: StampsRow) -> bool:
        """Write what is to be seen of a bundle; False when a later look has begun meanwhile, which sees more."""
        looks = self._store.meta().looks
        now = time.time()
        sight = look_at(bundle, self._store.root.device)
        if not self._hold(bundle, sight, begun):
            return False
        stamps = sight.stamps if sight.is_proof(now) else None
        with self._transact() as ledger:
            if is_turn := _is_turn(ledger, bundle.id, begun):
                ledger.put_stamps(bundle.id, StampsRow(bundle.dest, begun.turn, stamps, looks))
        return is_turn

    def _forget_deleted(self, bundle_id: str) -> None:
        """Drop a bundle that holds nothing any more, since it was deleted or moved."""
        known = self._store.stamps(bundle_id)
        if known is not None and known.is_lost and is_deleted(known.dest):
            with self._transact() as ledger:
                if ledger.stamps(bundle_id) == known:
                    ledger.drop_bundle(bundle_id)

    def _hold(self, bundle: Bundle, sight: Sight, begun: StampsRow) -> bool:
        """Name the bundle as holder of just what it was seen to hold; False when a later look has begun meanwhile."""
        bundle_id = bundle.id
        differing = self._differing(bundle_id, sight, digests_of(bundle, begun))
        for piece in in_pieces(self._drafts(bundle_id, sight, differing), 1):
            for draft, digests, write_noted in piece:
                with self._transact() as ledger:
                    is_turn = _is_turn(ledger, bundle_id, begun)
                    if not is_turn:
                        write_noted(ledger)
                    elif not ledger.take_over(draft):
                        _mark(ledger, bundle_id, sight, digests)
                        write_noted(ledger)
                if not is_turn:
                    return False
        return True

    def _drafts(
        self, bundle_id: str, sight: Sight, differing: Iterator[tuple[str, Known[BlobRow]]]
    ) -> Iterator[tuple[Draft, Iterable[str], Callable[[Values], None]]]:
        """Yield drafts of what is to be written of some blobs each, these blobs, and who writes what is noted of them.

        They are made within the pauses.
        """
        while known := dict(islice(differing, _BLOBS_PER_TRANSACTION)):
            draft = self._store.draft()
            draft.know(BLOBS, known)
            write_noted = self._noted({digest: then.value for digest, then in known.items()})
            _mark(draft, bundle_id, sight, known)
            write_noted(draft)
            yield draft.finished(), known, write_noted

    def _differing(self, bundle_id: str, sight: Sight, digests: list[str]) -> Iterator[tuple[str, Known[BlobRow]]]:
        for batch in batches(digests):
            for digest, known in self._store.known(BLOBS, batch):
                if sight.holds(digest, known.value) != (bundle_id in known.value.holders):
                    yield digest, known


def _mark(values: Values, bundle_id: str, sight: Sight, digests: Iterable[str]) -> None:
    """Name a bundle as holder of those of `digests` that it holds, and of no other of them."""
    values.read(BLOBS, digests)
    for digest in digests:
        if row := values.blob(digest):
            values.put_blob(digest, row.held_by(bundle_id, holds=sight.holds(digest, row)))


def _is_turn(ledger: Ledger, bundle_id: str, begun: StampsRow) -> bool:
    known = ledger.stamps(bundle_id)
    return known is not None and known.turn == begun.turn
