"""The store against a model of it: whatever is done to it in whatever order, it finds what the model says."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle as Drawn
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from cachestore.errors import BlobDamaged
from cachestore.links import LinkMode
from cachestore.prune import Limits, apply, prune
from cachestore.rows import Bundle, BundleFile
from cachestore.store.writer import Store
from cachestore.track import Track
from cachestore.verify import repair
from tests.invariants import blobs_of, digest_of, faults, rows_of, totals
from tests.stores import etag, put, verify
from tests.tries import tries

if TYPE_CHECKING:
    from cachestore.entry import Entry

TRACKS = st.sampled_from("abcd")
VERSIONS = st.sampled_from("12")
# Equal ones for several tracks, and of one size, so that only the bytes tell them apart; 8 kB are two blocks.
BODIES = st.sampled_from([bytes([letter]) * 8192 for letter in b"xyz"])
DESTS = st.sampled_from(["ONE", "TWO"])


class StoreMachine(RuleBasedStateMachine):
    """`bodies` is what the store has to find, by track: the current version's bytes."""

    entries = Drawn("entries")

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.root = self.home / "store"
        self.store = Store.open(self.root)
        self.served: dict[str, set[bytes]] = {}
        self.current: dict[str, str] = {}  # the digest of a track's current version
        self.whole: set[str] = set()  # digests whose blob is there
        self.damaged: set[str] = set()
        self.linked = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.home)

    @rule(target=entries, track=TRACKS, version=VERSIONS, body=BODIES)
    def put(self, track: str, version: str, body: bytes) -> Entry:
        entry = put(self.store, track, body, version=etag(version))
        assert entry.digest == digest_of(body)
        self.served.setdefault(f"s:{track}", set()).add(body)
        self.current[track] = entry.digest
        self.whole.add(entry.digest)
        self.damaged.discard(entry.digest)
        return entry

    @rule()
    def find(self) -> None:
        for track in "abcd":
            found = self.store.find(Track("s", track))
            expected = self.current.get(track)
            is_hit = expected in self.whole and expected not in self.damaged
            assert (found and found.digest) == (expected if is_hit else None)

    @rule(entry=entries)
    def link(self, entry: Entry) -> None:
        """Link what may or may not be there: its bytes are right, or there is no link."""
        self.linked += 1
        dest = self.home / f"{self.linked}.wav"
        try:
            self.store.link(entry, dest, LinkMode.AUTO)
        except BlobDamaged:
            assert not dest.exists()
            assert entry.digest not in self.whole or entry.digest in self.damaged
            self.lose(entry.digest)
        else:
            assert digest_of(dest.read_bytes()) == entry.digest
            dest.unlink()

    @rule(entry=entries, dest=DESTS)
    def export(self, entry: Entry, dest: str) -> None:
        bundle = self.home / dest
        shutil.rmtree(bundle, ignore_errors=True)
        bundle.mkdir()
        try:
            mode = self.store.link(entry, bundle / "1.wav", LinkMode.AUTO)
        except BlobDamaged:
            self.lose(entry.digest)
            return
        self.store.register(Bundle(bundle, dest, time.time(), (BundleFile("1.wav", entry.digest, mode),)))

    @rule(dest=DESTS)
    def delete_bundle(self, dest: str) -> None:
        shutil.rmtree(self.home / dest, ignore_errors=True)

    @rule(entry=entries)
    def evict(self, entry: Entry) -> None:
        self.store.evict([entry.key])
        self.learn()

    @rule(entry=entries)
    def pin(self, entry: Entry) -> None:
        if self.store.kept([Track("s", entry.id)]).get(f"s:{entry.id}"):
            self.store.pin(Track("s", entry.id), pinned=True)

    @rule(blobs=st.integers(0, 2))
    def prune(self, blobs: int) -> None:
        """Only what is pinned or held is left above the bound, and the figures are those of the disk."""
        limits = Limits(blobs * 8192, max_age=None)
        plan = prune(self.store, limits, time.time())
        list(apply(self.store, plan))
        self.learn()
        rows = rows_of(self.root)
        assert totals(rows)["exclusive"] <= limits.max_size + plan.over_max_size

    @rule()
    def mend(self) -> None:
        list(repair(self.store, verify(self.store).problems))
        self.learn()

    @precondition(lambda self: self.whole)
    @rule(data=st.data(), restoring=st.booleans())
    def edit(self, data: st.DataObject, restoring: bool) -> None:
        digest = data.draw(st.sampled_from(sorted(self.whole)))
        path = blobs_of(self.root)[digest]
        info = path.stat()
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.write(b"EDITED")
        if restoring:
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
        self.damaged.add(digest)

    @precondition(lambda self: self.whole)
    @rule(data=st.data())
    def unlink(self, data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(sorted(self.whole)))
        blobs_of(self.root)[digest].unlink()
        self.lose(digest)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.root)

    @rule()
    def crash(self) -> None:
        """Forget all that was not written, as a killed process does."""
        self.store = Store.open(self.root)
        gc.collect()

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert faults(self.root, self.served, damaged=self.damaged & blobs_of(self.root).keys()) == []

    def lose(self, digest: str) -> None:
        self.whole.discard(digest)
        self.damaged.discard(digest)

    def learn(self) -> None:
        """Take over what was removed: never anything more than was there, and never a track's other version."""
        rows, blobs = rows_of(self.root), blobs_of(self.root)
        self.whole &= blobs.keys()
        self.damaged &= self.whole
        for track in list(self.current):
            kept = rows.get(f"t:s:{track}", {}).get("kept")
            if kept:
                self.current[track] = rows[f"e:s:{track}@{kept[0]}"]["digest"]
            else:
                del self.current[track]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # that is what a crash is
def test_the_store_is_what_its_model_says() -> None:
    run_state_machine_as_test(StoreMachine, settings=tries(10, 300, steps=40))
