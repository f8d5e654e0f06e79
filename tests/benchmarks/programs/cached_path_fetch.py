"""``cached_path_fetch.py URLS FOLDER JOBS``: cached_path, which asks HEAD before GET and does not hash."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cached_path import cached_path

urls, folder, jobs = Path(sys.argv[1]).read_text().split(), sys.argv[2], int(sys.argv[3])
start = time.perf_counter()
with ThreadPoolExecutor(jobs) as pool:
    for _ in pool.map(lambda url: cached_path(url, cache_dir=folder, quiet=True), urls):
        pass
print("inner", time.perf_counter() - start)
