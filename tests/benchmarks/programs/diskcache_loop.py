"""``diskcache_loop.py FOLDER KEYS``: diskcache's get, least recently used, which says nothing of any file."""

import sys
import time
from pathlib import Path

import diskcache

keys = Path(sys.argv[2]).read_text().split()
with diskcache.Cache(sys.argv[1], eviction_policy="least-recently-used") as cache:
    start = time.perf_counter()
    found = sum(cache.get(key) is not None for key in keys)
    print("inner", time.perf_counter() - start)
assert found == len(keys)
