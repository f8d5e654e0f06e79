"""How a store of many entries behaves: ``python tests/benchmarks/large_stores.py ENTRIES [FOLDER]``.

It fills a store with small files of their own, then runs commands on it, each in a process of its own, and prints how
long each took and the most memory it had. FOLDER, which needs 4 kB an entry, is made and removed; default: a temporary
one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from cachestore.blobs import BlobDigest, Blobs
from cachestore.boot import boot_id
from cachestore.entry import Entry
from cachestore.index.writer import Index
from cachestore.root import create_root
from cachestore.rows import TrackRow
from cachestore.store.ledger import Ledger
from cachestore.store.publish import add_blob
from cachestore.store.writer import Store
from cachestore.version import Version, VersionKind

_PER_TRANSACTION = 2000
_YEAR = 365 * 86400.0


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


def timed(folder: Path, *arguments: str) -> tuple[float, float, int]:
    """Run a command and return its seconds, the megabytes it had at most, and its exit code."""
    command = [sys.executable, "-m", "cachestore", "--config", str(folder / "config.toml"), *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - start, used.ru_maxrss / 1024, process.returncode


def main(entries: int, folder: Path) -> None:
    """Fill a store below `folder` and print what commands cost."""
    root = folder / "store"
    (folder / "config.toml").write_text(f'root = {json.dumps(str(root))}\nmin_free = 0\nmax_size = "1 TB"\n')
    (folder / "mix.json").write_text(json.dumps({"tracks": [{"source": "bench", "id": f"t{entries // 2}"}]}))
    start = time.perf_counter()
    filling = get_context("spawn").Process(target=fill, args=(root, entries))  # its memory would count as the commands'
    filling.start()
    filling.join()
    print(f"{entries} entries, made in {time.perf_counter() - start:.0f} s")
    nine_tenths = str(entries * 4096 * 9 // 10)
    for words in (
        "info",
        f"export --offline {folder}/mix.json {folder}/DEST",
        "ls --json",
        f"prune --dry-run --max-size {nine_tenths}",
        "verify --quick",
        f"prune --max-size {nine_tenths}",
        "info",
    ):
        seconds, megabytes, code = timed(folder, *words.split())
        print(f"{words.replace(str(folder), ''):45} {seconds:8.2f} s {megabytes:6.0f} MB  exit code {code}")


if __name__ == "__main__":
    with TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as scratch:
        main(int(sys.argv[1]), Path(scratch))
