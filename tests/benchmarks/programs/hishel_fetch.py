"""``hishel_fetch.py URLS FOLDER``: httpx with hishel's cache in SQLite, which one thread may use.

Answers are asked for again each time (Cache-Control: no-cache), so a second run asks conditional questions. That takes
``rfc``: without it hishel 2 gives what it has, and asks no server at all.
"""

import sys
import time
from pathlib import Path

import hishel
from hishel.httpx import CacheClient

urls, folder = Path(sys.argv[1]).read_text().split(), Path(sys.argv[2])
folder.mkdir(exist_ok=True)
start = time.perf_counter()
storage = hishel.SqliteStorage(database_path=folder / "hishel.db", max_size=None)
with CacheClient(storage=storage, rfc=True, headers={"Cache-Control": "no-cache"}) as client:
    for url in urls:
        with client.stream("GET", url) as response:
            response.raise_for_status()
            for _ in response.iter_raw():
                pass
            status = response.extensions["caching"]
            assert status["revalidated"] or not status["from_cache"]
print("inner", time.perf_counter() - start)
