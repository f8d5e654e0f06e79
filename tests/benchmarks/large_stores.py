"""How a store of many entries behaves: ``python tests/benchmarks/large_stores.py ENTRIES [FOLDER]``.

It fills a store with small files of their own, then runs commands on it, each in a process of its own, and prints the
seconds and CPU seconds that each took, and the most memory it had. Last, it evicts a tenth while another process
writes as an export does, and prints how long that one waited. FOLDER, where 6 kB an entry have to be free, is left as
it was; default: a temporary one.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cachestore.blobs import BlobDigest, Blobs
from cachestore.boot import boot_id
from cachestore.entry import Entry
from cachestore.index.writer import Index
from cachestore.root import create_root
from cachestore.rows import TrackRow
from cachestore.store.ledger import Ledger
from cachestore.store.publish import add_blob
from cachestore.store.writer import Store
from cachestore.track import Track
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

_PER_TRANSACTION = 2000
_YEAR = 365 * 86400.0
_BLOCK = 4096
_FINDS = 2000
_MIXES = (1, 1000)
_BETWEEN_LEASES = 0.005  # seconds


def fill(path: Path, entries: int) -> None:
    """Make a store of so many entries, used one after the other over the last year."""
    Store.open(path).close()
    root = create_root(path)
    index = Index(root.index)
    for first in range(0, entries, _PER_TRANSACTION):
        with index.transaction() as rows:
            ledger = Ledger(rows)
            for number in range(first, min(first + _PER_TRANSACTION, entries)):
                _add(ledger, Blobs(root.blobs), number, time.time() - _YEAR * (1 - number / entries))
            ledger.settle()
    index.close()


def _add(ledger: Ledger, blobs: Blobs, number: int, when: float) -> None:
    data = b"%020d" % number
    digest = BlobDigest()
    digest.update(data)
    place = blobs.path(digest.hexdigest())
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.write_bytes(data)
    place.chmod(0o444)
    version = Version(VersionKind.STRONG, f'"{number}"')
    entry = Entry(
        source="bench",
        id=f"t{number}",
        version=version,
        digest=digest.hexdigest(),
        size=len(data),
        media_type="audio/flac",
        ext="flac",
        label=f"Artist {number % 1000} - Song {number}",
        stored_at=when,
        validated_at=when,
        used_at=when,
    )
    ledger.put_entry(entry)
    ledger.put_track(entry.address, TrackRow((version.hex,)))
    add_blob(ledger, entry.digest, place.stat(), boot_id(), (entry.key,))


def finding(path: Path, entries: int) -> None:
    """Print what one `find` takes, of tracks that are there and of one that is not."""
    tracks = [Track("bench", f"t{random.randrange(max(entries, 1))}") for _ in range(_FINDS)]
    with Store.open(path) as store:
        for what, wanted in (("find", tracks if entries else []), ("find, a miss", [Track("bench", "none")] * _FINDS)):
            rounds = []
            for _ in range(5 if wanted else 0):
                start = time.perf_counter()
                for track in wanted:
                    store.find(track)
                rounds.append((time.perf_counter() - start) / _FINDS)
            if rounds:
                print(f"{what:35} {statistics.median(rounds) * 1e6:7.1f} us", flush=True)


def leasing(path: Path, begun: Event, ended: Event) -> None:
    """Take and end leases, as an export does for every track, and print how long that took."""
    waits: list[float] = []
    digests = [BlobDigest().hexdigest()]
    with Store.open(path) as store, store.run("export") as run:
        begun.set()
        while not ended.is_set():
            start = time.perf_counter()
            store.lease(run, digests)
            waits.append(time.perf_counter() - start)
            store.unlease(run, digests)
            time.sleep(_BETWEEN_LEASES)
    waits.sort()
    median, seldom, longest = (waits[int(share * (len(waits) - 1))] * 1e3 for share in (0.5, 0.999, 1))
    print(f"  {len(waits)} leases meanwhile: {median:.1f} ms, 0.1 % over {seldom:.0f} ms, longest {longest:.0f} ms")


def timed(folder: Path, command: str) -> None:
    """Run a command and print its seconds, its CPU seconds, the megabytes it had at most, and its exit code."""
    words = [sys.executable, "-m", "cachestore", "--config", str(folder / "config.toml"), *command.split()]
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall, cpu, most = time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    told = command.replace(f" {folder}/", " ")
    print(f"{told:35} {wall:7.2f} s {cpu:7.2f} s CPU {most:5.0f} MB, exit code {process.returncode}", flush=True)


def main(entries: int, folder: Path) -> None:
    """Fill a store below `folder` and print what commands cost."""
    root, apart = folder / "store", get_context("spawn")  # what is in a parent's memory would count as the commands'
    (folder / "config.toml").write_text(f'root = {json.dumps(str(root))}\nmin_free = 0\nmax_size = "1 TB"\n')
    for length in _MIXES:
        tracks = [{"source": "bench", "id": f"t{entries // 2 + number}"} for number in range(length)]
        (folder / f"{length}.json").write_text(json.dumps({"tracks": tracks}))
    for job in (fill, finding):
        start = time.perf_counter()
        process = apart.Process(target=job, args=(root, entries))
        process.start()
        process.join()
        if job is fill:
            print(f"{entries} entries, made in {time.perf_counter() - start:.0f} s", flush=True)
    bound = entries * _BLOCK * 99 // 100  # what is over a bound shrinks to nine tenths of it
    exports = (f"export --offline {folder}/{length}.json {folder}/DEST{length}" for length in _MIXES)
    for command in ("info", *exports, "ls", "ls --json", "verify --quick", f"prune --dry-run --max-size {bound}"):
        timed(folder, command)
    begun, ended = apart.Event(), apart.Event()
    other = apart.Process(target=leasing, args=(root, begun, ended))
    other.start()
    begun.wait()
    timed(folder, f"prune --max-size {bound}")
    ended.set()
    other.join()


if __name__ == "__main__":
    with TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as scratch:
        main(int(sys.argv[1]), Path(scratch))
