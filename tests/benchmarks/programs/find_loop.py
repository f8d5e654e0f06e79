"""``find_loop.py CONFIG TRACKS``: Cache.find for each track, its bytes judged whole."""

import sys
import time
from pathlib import Path

from cachestore import Cache, Track, load_config

tracks = [Track(*track.split(":", 1)) for track in Path(sys.argv[2]).read_text().split()]
with Cache.open(load_config(Path(sys.argv[1]))) as cache:
    start = time.perf_counter()
    found = sum(cache.find(track) is not None for track in tracks)
    print("inner", time.perf_counter() - start)
assert found == len(tracks)
