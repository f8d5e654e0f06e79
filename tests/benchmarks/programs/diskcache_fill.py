"""``diskcache_fill.py FOLDER ENTRIES``: a diskcache with as many small values."""

import sys

import diskcache

with diskcache.Cache(sys.argv[1], eviction_policy="least-recently-used") as cache, cache.transact():
    for number in range(int(sys.argv[2])):
        cache.set(f"bench:t{number}", f"{number:0300}")
