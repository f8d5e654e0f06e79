"""``cachestore_fetch.py CONFIG TRACKS JOBS``: what `cachestore fetch` does, called from Python."""

import sys
import time
from pathlib import Path

from cachestore import Cache, Track, load_config

config, tracks, jobs = Path(sys.argv[1]), Path(sys.argv[2]).read_text().split(), int(sys.argv[3])
start = time.perf_counter()
with Cache.open(load_config(config)) as cache:
    for result in cache.fetch([Track(*track.split(":", 1)) for track in tracks], jobs=jobs):
        assert result.entry.digest
print("inner", time.perf_counter() - start)
