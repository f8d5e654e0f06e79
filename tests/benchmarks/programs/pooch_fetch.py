"""``pooch_fetch.py URL DIGESTS FOLDER JOBS``: pooch, with the SHA-256 of each file known before."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pooch

url, digests, folder, jobs = sys.argv[1:]
registry = {name: digest for digest, name in (line.split() for line in Path(digests).read_text().splitlines())}
pooch.get_logger().setLevel("ERROR")
start = time.perf_counter()
shelf = pooch.create(path=folder, base_url=f"{url}/", registry=registry)
with ThreadPoolExecutor(int(jobs)) as pool:
    for _ in pool.map(shelf.fetch, registry):
        pass
print("inner", time.perf_counter() - start)
